"""Arrays as frames in memory, written in one go."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi._ffi import lib
from caterva_cffi.constructors import chunk_items, new_array
from caterva_cffi.dtypes import check_dtype
from caterva_cffi.frame import FrameHeader, write_seal
from caterva_cffi.layout import encode_offsets

__all__ = ["encode_frame"]

_FLAGS = 31  # of a chunk: in its upper half the value that it repeats


def encode_frame(items: npt.NDArray[Any], **kwargs: Any) -> memoryview:
    """Return the frame that `asarray(items, contiguous=True, **kwargs).to_cframe()` gives.

    Chunks that are appended to a frame are copied into it. Here the first chunk, which is mostly
    the only one, is compressed where it stays, and its offset takes no bytes if it is.

    Parameters
    ----------
    items : ndarray
        Of any strides.
    **kwargs
        As for `empty`, without those about storage.

    Returns
    -------
    memoryview
        Keeps the frame's memory alive.

    Raises
    ------
    ArgumentError, CapacityError, TypeError
        As for `empty`.
    """
    array, compression = new_array(
        items.shape, check_dtype(items.dtype), {**kwargs, "contiguous": True}
    )
    frame = array.to_cframe()  # without chunks: header and trailer
    grid, kernel, parameters = array._grid, array._kernel, compression.to_kernel()
    if not grid.nchunks:
        return frame
    start = FrameHeader.length_of(bytes(frame[:16]))
    trailer = np.frombuffer(frame[start:], np.uint8)
    behind = grid.nchunks * 8 + lib.BLOSC2_MAX_OVERHEAD + len(trailer)
    memory = np.empty(start + kernel.bound + behind, np.uint8)
    memory[:start] = np.frombuffer(frame[:start], np.uint8)
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
