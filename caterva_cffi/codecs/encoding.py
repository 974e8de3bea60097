"""Arrays encoded as frames in memory, in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caterva_cffi import memory_pool
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.kernel import Kernel, kernel_of
from caterva_cffi.binding.library import lib
from caterva_cffi.dtypes import check_dtype
from caterva_cffi.errors import Cause, FormatError
from caterva_cffi.format.chunk_header import SPECIALS, sizes_of, special_of
from caterva_cffi.format.frame_header import pack_header, set_sizes, write_seal
from caterva_cffi.format.metalayers import encode_geometry
from caterva_cffi.format.offsets import encode_offsets, offset_of_special
from caterva_cffi.format.trailer import TRAILER_MIN, empty_trailer
from caterva_cffi.geometry.grid import Grid, chunk_items

__all__ = ["encode_frame", "encode_frames", "frame_bound", "wrap_chunk"]


class _Ends(NamedTuple):
    """The parts that frames of the same geometry and compression have in common.

    Attributes
    ----------
    header : bytes
        Complete but for the sizes that depend on the compressed chunks.
    trailer : ndarray of uint8
    kernel : Kernel
    compression : cdata
        `Compression.to_kernel()`; the kernel only reads it.
    """

    header: bytes
    trailer: npt.NDArray[np.uint8]
    kernel: Kernel
    compression: Any

    @property
    def most(self) -> int:
        """The most bytes of a frame with one chunk."""
        behind = 8 + lib.BLOSC2_MAX_OVERHEAD + len(self.trailer)
        return len(self.header) + self.kernel.bound + int(behind)

    def place(self, memory: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Write the header to a frame's memory; return where the only chunk is to be compressed."""
        start = len(self.header)
        memory.data[:start] = self.header
        return memory[start : start + self.kernel.bound]

    def complete(
        self, memory: npt.NDArray[np.uint8], chunk: npt.NDArray[np.uint8], checksums: bool
    ) -> int:
        """Write what is behind the chunk, and the sizes; return how many bytes the frame has."""
        special = special_of(chunk)
        cbytes = 0 if special else len(chunk)
        offsets = encode_offsets([offset_of_special(special) if special else 0])
        at = len(self.header) + cbytes
        size = at + len(offsets) + len(self.trailer)
        memory[at:size] = np.concatenate([offsets, self.trailer])
        self.write_sizes(memory[:size], cbytes, offsets, checksums)
        return size

    def write_sizes(
        self,
        frame: npt.NDArray[np.uint8],
        cbytes: int,
        offsets: npt.NDArray[np.uint8],
        checksums: bool,
    ) -> None:
        """Write the frame's sizes, and the checksum of what is around its chunks."""
        set_sizes(frame, frame_len=len(frame), cbytes=cbytes)
        if checksums:
            write_seal(memoryview(frame[: len(self.header)]), offsets, self.trailer)


@lru_cache(maxsize=256)  # all chunks of a Zarr array begin and end alike
def _ends(
    grid: Grid, dtype: np.dtype[Any], compression: Compression, meta: tuple[tuple[str, bytes], ...]
) -> _Ends:
    layers = {**encode_geometry(grid, dtype, for_caterva=False), **dict(meta)}
    header = pack_header(compression, grid.itemsize, grid.blocksize, layers)
    if grid.nchunks:
        set_sizes(header, frame_len=0, cbytes=0, chunksize=grid.chunk_nbytes, nchunks=grid.nchunks)
    else:
        set_sizes(header, frame_len=len(header) + TRAILER_MIN, cbytes=0)
    trailer = np.frombuffer(empty_trailer(), np.uint8)
    return _Ends(bytes(header), trailer, kernel_of(grid), compression.to_kernel())


def encode_frame(
    items: npt.NDArray[Any],
    grid: Grid,
    compression: Compression,
    meta: Mapping[str, bytes] = {},
) -> memoryview:
    """Return the frame of an array.

    Mostly there is one chunk. The first chunk is compressed right where it stays in the frame, and
    if it is the only one, its offset takes no bytes. There is no metalayer `caterva`: it would only
    repeat `b2nd`.

    Parameters
    ----------
    items : ndarray
        Of the grid's shape and item size, with any strides.
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
    ends = _ends(grid, check_dtype(items.dtype), compression, tuple(meta.items()))
    if not grid.nchunks:
        return memoryview(ends.header + ends.trailer.tobytes())
    if grid.nchunks == 1:
        memory = np.empty(ends.most, np.uint8)
        chunk = ends.kernel.encode(0, ends.compression, items, ends.place(memory))
        size = ends.complete(memory, chunk, grid.checksums)
        del chunk
        memory.resize(size, refcheck=False)  # frees what was not needed
        return memoryview(memory).toreadonly()
    offsets, parts, cbytes = [], [np.frombuffer(ends.header, np.uint8)], 0
    for number, source in enumerate(chunk_items(items, grid)):
        chunk = ends.kernel.encode(number, ends.compression, source)
        special = special_of(chunk)
        if special:
            offsets.append(offset_of_special(special))
        else:
            offsets.append(cbytes)
            cbytes += len(chunk)
            parts.append(chunk)
    stored_offsets = encode_offsets(offsets)
    memory = np.concatenate([*parts, stored_offsets, ends.trailer])
    ends.write_sizes(memory, cbytes, stored_offsets, grid.checksums)
    return memoryview(memory).toreadonly()


def frame_bound(grid: Grid, dtype: np.dtype[Any], compression: Compression) -> int:
    """Return the most bytes of the frame of an array of one chunk."""
    return _ends(grid, check_dtype(dtype), compression, ()).most


def encode_frames(
    arrays: Sequence[npt.NDArray[Any]], grid: Grid, compression: Compression
) -> list[memoryview]:
    """Return the frames of arrays, compressed by one call.

    All of them lie in the same memory, which is used again when the last of them is gone.

    Parameters
    ----------
    arrays : sequence of ndarray
        Of one dtype, and as for `encode_frame`.
    grid : Grid
        Of one chunk.
    compression : Compression
    """
    ends = _ends(grid, check_dtype(arrays[0].dtype), compression, ())
    rooms = memory_pool.empty((len(arrays), ends.most), np.uint8)
    chunks = ends.kernel.encode_many(ends.compression, arrays, [ends.place(m) for m in rooms])
    frames = []
    for memory, chunk in zip(rooms, chunks, strict=True):
        size = ends.complete(memory, chunk, grid.checksums)
        frames.append(memoryview(memory[:size]).toreadonly())
    return frames


def wrap_chunk(
    chunk: Any, grid: Grid, dtype: np.dtype[Any], compression: Compression
) -> npt.NDArray[np.uint8]:
    """Return the frame of an array whose only chunk was compressed before, and stays as it is.

    Parameters
    ----------
    chunk : buffer
        As C-Blosc2 stores it, with checksums of its blocks if the grid has them.
    grid : Grid
        Of one chunk.
    dtype : dtype
        To name in the frame.
    compression : Compression
        To name in the frame's header.

    Raises
    ------
    FormatError
        For a chunk of other sizes than the grid's.
    """
    nbytes, blocksize, cbytes = sizes_of(chunk)
    if (nbytes, blocksize, cbytes) != (grid.chunk_nbytes, grid.blocksize, len(chunk)):
        raise FormatError(
            f"a chunk of {cbytes} bytes, here {len(chunk)}, that decodes to {nbytes} in blocks of "
            f"{blocksize}; expected {grid.chunk_nbytes} in blocks of {grid.blocksize}",
            Cause("other-geometry", None, nbytes, grid.chunk_nbytes),
        )
    ends = _ends(grid, check_dtype(dtype), compression, ())
    special = special_of(chunk)
    if special in SPECIALS:
        offset, stored = offset_of_special(special), np.empty(0, np.uint8)
    else:
        offset, stored = 0, np.frombuffer(chunk, np.uint8)
    offsets = encode_offsets([offset])
    start = len(ends.header)
    sizes = [start, len(stored), len(offsets), len(ends.trailer)]
    frame = np.empty(sum(sizes), np.uint8)
    frame.data[:start] = ends.header
    np.concatenate([stored, offsets, ends.trailer], out=frame[start:])
    set_sizes(frame, frame_len=len(frame), cbytes=len(stored))
    if grid.checksums:
        write_seal(memoryview(frame[:start]), offsets, ends.trailer)
    return frame
