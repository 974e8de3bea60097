"""Arrays as frames in memory, written in one go."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi._ffi import lib
from caterva_cffi.constructors import chunk_items
from caterva_cffi.dtypes import check_dtype
from caterva_cffi.frame import FrameHeader, write_seal
from caterva_cffi.grid import Grid
from caterva_cffi.kernel import kernel_of
from caterva_cffi.layout import encode_offsets
from caterva_cffi.metalayers import encode_geometry
from caterva_cffi.params import Compression
from caterva_cffi.schunk import SChunk

__all__ = ["encode_frame"]

_FLAGS = 31  # of a chunk: in its upper half the value that it repeats


@lru_cache(maxsize=256)  # the many chunks of a Zarr array begin alike
def _empty_frame(
    grid: Grid, dtype: np.dtype[Any], compression: Compression, meta: tuple[tuple[str, bytes], ...]
) -> bytes:
    """Return the frame of an array whose chunks are still to come."""
    layers = {**encode_geometry(grid, dtype, for_caterva=False), **dict(meta)}
    schunk = SChunk.create(compression, grid.itemsize, grid.blocksize, layers, contiguous=True)
    return bytes(schunk.to_buffer())


def encode_frame(
    items: npt.NDArray[Any],
    grid: Grid,
    compression: Compression,
    meta: Mapping[str, bytes] = {},
) -> memoryview:
    """Return the frame of an array.

    Chunks that are appended to a frame are copied into it. Here the first chunk, which is mostly
    the only one, is compressed where it stays, and its offset takes no bytes if it is. There is no
    metalayer `caterva`, which would say once more what `b2nd` does.

    Parameters
    ----------
    items : ndarray
        Of the grid's shape and item size, and any strides.
    grid : Grid
    compression : Compression
    meta : mapping of str to bytes
        Further metalayers.

    Returns
    -------
    memoryview
        Keeps the frame's memory alive.

    Raises
    ------
    ArgumentError
        For metalayers that do not fit.
    TypeError
        For dtypes that a frame cannot name.
    """
    dtype = check_dtype(items.dtype)
    frame = _empty_frame(grid, dtype, compression, tuple(meta.items()))
    if not grid.nchunks:
        return memoryview(frame)
    kernel, parameters = kernel_of(grid), compression.to_kernel()
    start = FrameHeader.length_of(frame)
    trailer = np.frombuffer(frame, np.uint8, offset=start)
    behind = grid.nchunks * 8 + lib.BLOSC2_MAX_OVERHEAD + len(trailer)
    memory = np.empty(start + kernel.bound + behind, np.uint8)
    memory[:start] = np.frombuffer(frame, np.uint8, start)
    offsets = np.empty(grid.nchunks, np.int64)
    parts, cbytes = [], 0
    for number, source in enumerate(chunk_items(items, grid)):
        dest = memory[start : start + kernel.bound] if cbytes == 0 else None
        chunk = kernel.encode(number, parameters, source, dest)
        special = int(chunk[_FLAGS]) >> 4 & lib.BLOSC2_SPECIAL_MASK
        if special:
            offsets[number] = (special << 56) - (1 << 63)
        else:
            offsets[number] = cbytes
            cbytes += len(chunk)
            parts.append(chunk)
    parts += [encode_offsets(offsets), trailer]
    size = start + cbytes + sum(map(len, parts[-2:]))
    for at, kind, value in (
        (16, ">q", size),
        (30, ">q", grid.nchunks * grid.chunk_nbytes),
        (39, ">q", cbytes),
        (58, ">i", grid.chunk_nbytes),
    ):
        struct.pack_into(kind, memory, at, value)
    write_seal(memoryview(memory[:start]), parts[-2], trailer)
    inside = len(parts[0]) if cbytes else 0
    if cbytes == inside:
        at = start + inside
        memory[at:size] = np.concatenate(parts[bool(cbytes) :])
        del parts, dest, chunk
        memory.resize(size, refcheck=False)  # gives back what was not needed
    else:
        memory = np.concatenate([memory[: start + inside], *parts[1:]])
    return memoryview(memory).toreadonly()
