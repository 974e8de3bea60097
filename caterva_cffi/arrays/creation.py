"""New arrays and their chunks: what all constructors share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Compression
from caterva_cffi.errors import ArgumentError
from caterva_cffi.format.metalayers import OWN, encode_geometry
from caterva_cffi.geometry.grid import Grid, chunk_items, default_partition, growing
from caterva_cffi.keywords import check_keywords, without_ignored
from caterva_cffi.superchunk.schunk import SChunk

if TYPE_CHECKING:
    from caterva_cffi.arrays.ndarray import NDArray


__all__ = ["encode_array", "filled", "new_array"]


_COMPRESSION = {
    "codec", "clevel", "filters", "filtersmeta", "nthreads", "usedict", "splitmode", "codec_meta"
}  # fmt: skip


_STORAGE = {"chunks", "blocks", "checksum", "urlpath", "contiguous", "memframe", "meta", "mode"}


_KNOWN = _COMPRESSION | _STORAGE


def new_array(
    cls: type[NDArray], shape: Sequence[int] | int, dtype: np.dtype[Any], kwargs: Mapping[str, Any]
) -> tuple[NDArray, Compression]:
    """Return a new array of a class; its chunks must be appended yet."""
    if not kwargs.keys() <= _KNOWN:
        kwargs = without_ignored(kwargs)
        check_keywords(kwargs, _KNOWN | {"dtype"})
    lengths = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    given = {name: value for name, value in kwargs.items() if name in _COMPRESSION}
    compression = Compression(**given)
    chunks, blocks = kwargs.get("chunks"), kwargs.get("blocks")
    partition = partial(default_partition, blocks=blocks) if chunks is None else None
    if chunks is None or blocks is None:
        chunks, blocks = default_partition(growing(lengths), dtype.itemsize, chunks, blocks)
    grid = Grid(lengths, chunks, blocks, dtype.itemsize, bool(kwargs.get("checksum")))
    given_meta = kwargs.get("meta") or {}
    if not isinstance(given_meta, Mapping):
        raise TypeError(f"meta is {type(given_meta).__name__}; expected a mapping of str to bytes")
    meta = {
        (name.decode(errors="surrogateescape") if isinstance(name, bytes) else name): content
        for name, content in given_meta.items()
    }
    if meta.keys() & OWN:
        names = ", ".join(map(repr, sorted(OWN)))
        raise ArgumentError(f"metalayers {names} belong to the array itself")
    schunk = SChunk.create(
        compression,
        dtype.itemsize,
        grid.blocksize,
        {**encode_geometry(grid, dtype), **meta},
        contiguous=bool(kwargs.get("contiguous")) or bool(kwargs.get("memframe")),
        urlpath=kwargs.get("urlpath"),
        mode=kwargs.get("mode", "x"),
    )
    array = cls._new(schunk, grid, dtype, compression.nthreads)
    array._partition = partition
    return array, compression


def filled(array: NDArray, chunks: Iterable[Any], vlmeta: Mapping[str, bytes] = {}) -> NDArray:
    """Append chunks to a new array; return it at its place on the disk."""
    with array.schunk.discarded_on_error():
        array.vlmeta.update(vlmeta)
        array.schunk.fill(chunks, array._grid.nchunks)
    if array.urlpath is not None:
        array._set_schunk(array.schunk.complete())
    return array


def encode_array(
    cls: type[NDArray],
    items: npt.NDArray[Any],
    dtype: np.dtype[Any],
    kwargs: Mapping[str, Any],
    vlmeta: Mapping[str, bytes] = {},
) -> NDArray:
    """Return a new array of a class, with the given items."""
    array, compression = new_array(cls, items.shape, dtype, kwargs)
    grid, kernel, parameters = array._grid, array._kernel, compression.to_kernel()
    chunks = (
        kernel.encode(number, parameters, part)
        for number, part in enumerate(chunk_items(items, grid))
    )
    return filled(array, chunks, vlmeta)
