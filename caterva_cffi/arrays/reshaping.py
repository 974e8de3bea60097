"""Changes of an array's shape, in place: by whole chunks if possible, else by moving items.

Chunks are stored in the order of the chunk grid. So when a dimension other than the first grows or
shrinks, chunks are inserted or deleted between others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.chunked import ChunkedItems
from caterva_cffi.binding.buffers import byte_view
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.encoding import special_chunk
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.errors import ArgumentError, Cause, SelectionError
from caterva_cffi.format.metalayers import B2ND, CATERVA, OWN, encode_geometry, with_shape
from caterva_cffi.format.seal import LAYER, OPEN_SEAL
from caterva_cffi.geometry.grid import CHUNK_BYTES, Grid, Partition, chunk_items, growing
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.superchunk.schunk import SChunk
from caterva_cffi.superchunk.user_metalayers import (
    VLMeta,
    contents_of,
    replace_metalayer,
    variable_contents_of,
)

__all__ = ["delete", "insert", "resize", "squeeze"]

_MANY_CHUNKS = 4
"""More than this many times the default number of chunks are too many."""


def _beyond(at: Sequence[int], chunk_grid: Sequence[int]) -> bool:
    return any(position >= length for position, length in zip(at, chunk_grid, strict=True))


def resize(array: ChunkedItems, newshape: Sequence[int]) -> None:
    """Change the shape; items keep their positions, new ones are zeros."""
    with array.schunk.lock.writing():
        _suit(array, newshape)
        with array.change() as ptr, array.schunk.whole_change():
            _resize(array, ptr, newshape)


def _suit(array: ChunkedItems, newshape: Sequence[int]) -> None:
    """If a small array was made without `chunks`, choose its partition anew for its new shape.

    Otherwise an array that grows from a few items would keep chunks of a few items. The caller
    holds the lock.
    """
    if array.partition is not None and array.grid.nbytes <= CHUNK_BYTES:
        old = array.schunk
        new = _suited(array, newshape, array.partition)
        if new is not None:
            array.set_schunk(new.successor(old))


def _suited(array: ChunkedItems, newshape: Sequence[int], partition: Partition) -> SChunk | None:
    """Return a super-chunk that has superseded the array's; None if there is nothing to do."""
    with array.change() as ptr:
        old = array.grid
        if len(newshape) != old.ndim:
            return None
        chunks, blocks = partition(growing(newshape), old.itemsize)
        grown = Grid(tuple(newshape), chunks, blocks, old.itemsize, old.checksums)
        as_it_is = math.prod(
            -(-n // max(chunk, 1)) for n, chunk in zip(grown.shape, old.chunks, strict=True)
        )
        if as_it_is <= _MANY_CHUNKS * grown.nchunks:
            return None
        new = replace(grown, shape=old.shape)
        kernel, parameters = Kernel(new), Compression.of(ptr).to_kernel()
        items = array.get(normalize(..., old.shape))
        parts = enumerate(chunk_items(items, new))
        return _rebuilt(array, new, (kernel.encode(k, parameters, part) for k, part in parts))


def _resize(array: ChunkedItems, ptr: Any, newshape: Sequence[int]) -> None:
    """Change the shape, for a caller who changes the array."""
    old = array.grid
    if len(newshape) != old.ndim:
        raise ArgumentError(
            f"new shape {tuple(newshape)} for {old.ndim} dimensions",
            Cause("wrong-ndim", "newshape", len(newshape), old.ndim),
        )
    new = replace(old, shape=tuple(newshape))
    compression = Compression.of(ptr)
    _clear_growth(array, new, compression)
    for at in reversed(list(old.all_chunks())):
        if _beyond(at, new.chunk_grid):
            array.schunk.delete_chunk(old.chunk_number(at))
    zeros = special_chunk(compression, new, None) if new.nchunks else b""
    for number, at in enumerate(new.all_chunks()):
        if _beyond(at, old.chunk_grid):
            if number == ptr.nchunks:
                array.schunk.append_chunk(zeros)
            else:
                array.schunk.insert_chunk(number, zeros)
    before = contents_of(ptr)
    if LAYER in before:
        replace_metalayer(array.schunk, ptr, LAYER, OPEN_SEAL)
    for name in (CATERVA, B2ND):
        if name in before:
            replace_metalayer(array.schunk, ptr, name, with_shape(before[name], new.shape))
    array.set_grid(new)


def _clear_growth(array: ChunkedItems, new: Grid, compression: Compression) -> None:
    """Zero the padding that will become visible: an earlier shrinking left items in it."""
    old = array.grid
    parameters = compression.to_kernel()
    for at in old.all_chunks():
        if _beyond(at, new.chunk_grid):
            continue
        before, after = old.chunk_extent(at), new.chunk_extent(at)
        if all(now <= then for now, then in zip(after, before, strict=True)):
            continue
        number = old.chunk_number(at)
        items = np.empty(after, f"V{old.itemsize}")
        array.decode_chunk(number, items)
        cleared = np.zeros_like(items)
        kept = tuple(slice(min(now, then)) for now, then in zip(after, before, strict=True))
        cleared[kept] = items[kept]
        if not np.array_equal(byte_view(cleared), byte_view(items)):
            chunk = array.kernel.encode(number, parameters, cleared)
            array.schunk.update_chunk(number, chunk)


def _check_axis(array: ChunkedItems, axis: int) -> int:
    ndim = array.current_grid.ndim
    if not -ndim <= axis < ndim:
        raise SelectionError(
            f"axis {axis} is out of bounds for {ndim} dimensions",
            Cause("out-of-bounds", "axis", axis, ndim),
        )
    return axis % ndim


def _along(axis: int, start: int, stop: int) -> tuple[Any, ...]:
    return (*(slice(None),) * axis, slice(start, stop))


def _read(array: ChunkedItems, axis: int, start: int, stop: int) -> npt.NDArray[Any]:
    return array.get(normalize(_along(axis, start, stop), array.grid.shape))


def _write(array: ChunkedItems, axis: int, start: int, stop: int, values: npt.NDArray[Any]) -> None:
    array.assign(normalize(_along(axis, start, stop), array.grid.shape), values)


def _slabs(array: ChunkedItems, axis: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield runs of at most a chunk's length; so it takes little memory to move items."""
    step = max(array.grid.chunks[axis], 1)
    for first in range(start, stop, step):
        yield first, min(first + step, stop)


def _with_length(shape: tuple[int, ...], axis: int, length: int) -> tuple[int, ...]:
    return (*shape[:axis], length, *shape[axis + 1 :])


def insert(array: ChunkedItems, index: int | None, values: npt.NDArray[Any], axis: int) -> None:
    """Insert items before a position of a dimension; None is its end."""
    axis = _check_axis(array, axis)
    with array.schunk.lock.writing():
        array.check_stored()
        shape = array.grid.shape
        length = shape[axis]
        start = length if index is None else index + length if index < 0 else index
        if not 0 <= start <= length:
            raise SelectionError(
                f"index {index} is out of bounds for axis {axis} of length {length}",
                Cause("out-of-bounds", "index", index, length),
            )
        if values.ndim != len(shape) or values.shape != _with_length(
            shape, axis, values.shape[axis]
        ):
            raise ArgumentError(
                f"values of shape {values.shape} for an array of shape {shape}; "
                f"only the length along axis {axis} may differ",
                Cause("wrong-shape", "values", values.shape, shape),
            )
        count = values.shape[axis]
        grown = _with_length(shape, axis, length + count)
        _suit(array, grown)
        with array.change() as ptr, array.schunk.whole_change():
            _resize(array, ptr, grown)
            for first, last in reversed(list(_slabs(array, axis, start, length))):
                moved = _read(array, axis, first, last)
                _write(array, axis, first + count, last + count, moved)
            _write(array, axis, start, start + count, values)


def delete(array: ChunkedItems, start: int, count: int, axis: int) -> None:
    """Delete `count` items along a dimension from `start` on."""
    axis = _check_axis(array, axis)
    with array.changing() as ptr, array.schunk.whole_change():
        shape = array.grid.shape
        length = shape[axis]
        first = start + length if start < 0 else start
        if first < 0 or count < 0 or first + count > length:
            raise SelectionError(
                f"{count} items from {start} on are out of bounds for axis {axis} "
                f"of length {length}",
                Cause("out-of-bounds", "start", start, length),
            )
        for begin, end in _slabs(array, axis, first + count, length):
            moved = _read(array, axis, begin, end)
            _write(array, axis, begin - count, end - count, moved)
        _resize(array, ptr, _with_length(shape, axis, length - count))


def squeeze(array: ChunkedItems) -> None:
    """Remove dimensions of length 1."""
    with array.schunk.lock.writing():  # hold it until the new super-chunk is there
        old = array.schunk
        new = _squeezed(array)
        if new is not None:
            array.set_schunk(new.successor(old))
            array.partition = None  # it was for the old number of dimensions


def _squeezed(array: ChunkedItems) -> SChunk | None:
    """Return a super-chunk that has superseded the array's; None if there is nothing to do."""
    with array.change() as ptr:
        old = array.grid
        kept = [d for d, length in enumerate(old.shape) if length != 1]

        def pick(lengths: Sequence[int]) -> tuple[int, ...]:
            return tuple(lengths[d] for d in kept)

        if len(kept) == old.ndim:
            return None
        new = replace(old, shape=pick(old.shape), chunks=pick(old.chunks), blocks=pick(old.blocks))
        if all(old.chunks[d] == 1 for d in range(old.ndim) if d not in kept):
            return _rebuilt(array, new, (array.chunk_bytes(n) for n in range(old.nchunks)))
        # Along a dropped dimension, a chunk is longer than the array: decode and encode it.
        kernel, parameters = Kernel(new), Compression.of(ptr).to_kernel()

        def encoded() -> Iterator[npt.NDArray[np.uint8]]:
            for at in old.all_chunks():
                number = old.chunk_number(at)
                items = np.empty(old.chunk_extent(at), f"V{old.itemsize}")
                array.decode_chunk(number, items)
                yield kernel.encode(number, parameters, items.reshape(pick(items.shape)))

        return _rebuilt(array, new, encoded())


def _rebuilt(array: ChunkedItems, grid: Grid, chunks: Iterator[Any]) -> SChunk:
    """Return a new super-chunk for another geometry: its metalayers have other lengths."""
    old = array.schunk
    user_meta = {n: content for n, content in old.metalayers().items() if n not in OWN}
    schunk = SChunk.create(
        Compression.of(old.ptr),
        grid.itemsize,
        grid.blocksize,
        {**encode_geometry(grid, array.dtype), **user_meta},
        contiguous=old.contiguous,
        urlpath=None if old.stored is None else old.stored.real,
        mode="w",
    )
    with schunk.discarded_on_error():
        VLMeta(schunk).update(variable_contents_of(old.ptr))
        schunk.fill(chunks, grid.nchunks)
        schunk.supersede(old)
    return schunk
