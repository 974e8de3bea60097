"""New arrays and their chunks: what all constructors share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.chunked import ChunkedItems
from caterva_cffi.binding.compression import Compression
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause
from caterva_cffi.format.metalayers import OWN, encode_geometry
from caterva_cffi.geometry.grid import Grid, chunk_items, default_partition, growing
from caterva_cffi.keywords import check_keywords, without_ignored
from caterva_cffi.superchunk.schunk import SChunk
from caterva_cffi.superchunk.user_metalayers import VLMeta

__all__ = ["encode_items", "filled", "new_items"]


_COMPRESSION = {
    "codec", "clevel", "filters", "filtersmeta", "nthreads", "usedict", "splitmode", "codec_meta"
}  # fmt: skip


_STORAGE = {"chunks", "blocks", "checksum", "urlpath", "contiguous", "memframe", "meta", "mode"}


_KNOWN = _COMPRESSION | _STORAGE


def new_items(
    shape: Sequence[int] | int, dtype: np.dtype[Any], kwargs: Mapping[str, Any]
) -> tuple[ChunkedItems, Compression]:
    """Return the items of a new array; its chunks must be appended yet."""
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
        raise ArgumentTypeError(
            f"meta is {type(given_meta).__name__}; expected a mapping of str to bytes",
            Cause("wrong-type", "meta", type(given_meta).__name__, "a mapping"),
        )
    meta = {
        (name.decode(errors="surrogateescape") if isinstance(name, bytes) else name): content
        for name, content in given_meta.items()
    }
    if meta.keys() & OWN:
        names = ", ".join(map(repr, sorted(OWN)))
        raise ArgumentError(
            f"metalayers {names} belong to the array itself",
            Cause("own-metalayer", "meta", sorted(meta.keys() & OWN)),
        )
    schunk = SChunk.create(
        compression,
        dtype.itemsize,
        grid.blocksize,
        {**encode_geometry(grid, dtype), **meta},
        contiguous=bool(kwargs.get("contiguous")) or bool(kwargs.get("memframe")),
        urlpath=kwargs.get("urlpath"),
        mode=kwargs.get("mode", "x"),
    )
    items = ChunkedItems(schunk, grid, dtype, compression.nthreads)
    items.partition = partition
    return items, compression


def filled(
    items: ChunkedItems, chunks: Iterable[Any], vlmeta: Mapping[str, bytes] = {}
) -> ChunkedItems:
    """Append chunks to a new array; return its items, at its place on the disk."""
    with items.schunk.discarded_on_error():
        VLMeta(items.schunk).update(vlmeta)
        items.schunk.fill(chunks, items.grid.nchunks)
    if items.schunk.path is not None:
        items.set_schunk(items.schunk.complete())
    return items


def encode_items(
    values: npt.NDArray[Any],
    dtype: np.dtype[Any],
    kwargs: Mapping[str, Any],
    vlmeta: Mapping[str, bytes] = {},
) -> ChunkedItems:
    """Return the items of a new array that has these values."""
    items, compression = new_items(values.shape, dtype, kwargs)
    grid, kernel, parameters = items.grid, items.kernel, compression.to_kernel()
    chunks = (
        kernel.encode(number, parameters, part)
        for number, part in enumerate(chunk_items(values, grid))
    )
    return filled(items, chunks, vlmeta)
