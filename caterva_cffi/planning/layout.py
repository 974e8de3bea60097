"""Where the chunks of a frame are: its header, its geometry, and the offsets of its chunks."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import FormatError
from caterva_cffi.format.chunk_header import HEADER, cbytes_of, check_size, special_header
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.metalayers import decode_geometry
from caterva_cffi.format.offsets import special_of_offset
from caterva_cffi.format.trailer import TRAILER_MIN
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.steps import ChunkBytes, Range, Steps, exactly, run

__all__ = ["Layout", "layout_steps", "slices", "whole_layout"]

_MANY_EDGES = 4096


@dataclass(frozen=True)
class Layout:
    """What a frame's header and offsets say.

    Attributes
    ----------
    header : FrameHeader
    grid : Grid
    dtype : dtype
    offsets : ndarray of int64
        Where the chunks begin, in bytes of the frame; in a sparse frame, numbers of files. A
        negative one stands for a chunk of one value.
    beginning : bytes
        The frame's first bytes, as many as were read.
    """

    header: FrameHeader
    grid: Grid
    dtype: np.dtype[Any]
    offsets: npt.NDArray[np.int64]
    beginning: bytes | memoryview

    @property
    def chunks_end(self) -> int:
        """The first byte behind the chunks of a contiguous frame."""
        return self.header.header_len + self.header.cbytes

    @cached_property
    def _edges(self) -> npt.NDArray[np.int64] | list[int]:
        edges = np.append(self.offsets[self.offsets >= 0], self.chunks_end)
        edges.sort()
        # A list is faster to search, but takes five times the memory.
        return edges if len(edges) > _MANY_EDGES else edges.tolist()

    def place(self, number: int) -> Range:
        """Return where a chunk that is stored begins, and a byte that it does not go beyond.

        In a sparse frame it begins with its file.
        """
        if self.header.sparse:
            return 0, self.most
        offset = int(self.offsets[number])
        return offset, int(self._edges[bisect_right(self._edges, offset)])

    @property
    def most(self) -> int:
        """The most bytes of a chunk, whoever wrote it, and a few more."""
        return 2 * (HEADER + self.grid.chunk_nbytes) + 16 * self.grid.nblocks

    def ends_of(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return, for chunks that begin at offsets, bytes that they do not go beyond."""
        edges = np.asarray(self._edges, np.int64)
        return edges[np.searchsorted(edges, offsets, "right")]

    def room(self, number: int) -> int:
        """Return the most bytes that a chunk may take where it is stored, and a few more."""
        if self.offsets[number] < 0:
            return HEADER
        start, end = self.place(number)
        # After a chunk was changed, the next one may begin far behind its end.
        return min(end - start, self.grid.chunk_nbytes + HEADER + 16 * self.grid.nblocks)

    def special_chunk(self, special: int) -> bytes:
        """Return a chunk in which every item is the same; see `special_header`."""
        grid = self.grid
        return special_header(grid.chunk_nbytes, grid.blocksize, grid.itemsize, special)

    def whole_chunk(self, number: int, frame: bytes | memoryview) -> list[ChunkBytes]:
        """Return the bytes of any chunk of a frame in memory.

        Raises
        ------
        FormatError
            For a chunk that reaches behind its place.
        """
        offset = int(self.offsets[number])
        if offset < 0:
            return [(0, self.special_chunk(special_of_offset(offset)))]
        return [(0, self.stored_chunk(number, frame))]

    def stored_chunk(self, number: int, frame: bytes | memoryview) -> bytes | memoryview:
        """Return the bytes of a chunk that is stored in a frame in memory.

        Raises
        ------
        FormatError
            For a chunk that reaches behind its place.
        """
        rest = frame[slice(*self.place(number))]
        return rest[: check_size(rest, number)]


def layout_steps(first: int, size: int | None = None) -> Steps[Layout]:
    """Read a frame's layout.

    Parameters
    ----------
    first : int
        Bytes to read at once. Bytes behind the header, of the first chunk, are kept for later.
    size : int, optional
        Bytes that are stored, if known.

    Raises
    ------
    FormatError
        For a frame that is damaged, or longer or shorter than its header says.
    UnsupportedError
    """
    first = max(first, HEADER)
    [data] = yield [(0, first)]
    if len(data) > first:
        raise FormatError(f"{len(data)} bytes where {first} were asked for: ranges are ignored")
    if len(data) < first:
        size = len(data)
    length = FrameHeader.length_of(bytes(data[:16]))
    if length > len(data):
        part = (len(data), length)
        [more] = yield [part]
        data = bytes(data) + exactly(more, part, "the frame's header")
    header = FrameHeader.parse(bytes(data[:length]))
    if size is not None and size != header.frame_len:
        raise FormatError(
            f"the frame has {size} bytes; its header says {header.frame_len}: "
            "it is cut off, or something was appended"
        )
    grid, dtype = decode_geometry(header.metalayers, header.itemsize, header.nchunks)
    if header.nchunks and header.chunksize != grid.chunk_nbytes:
        raise FormatError(
            f"chunks of {header.chunksize} bytes; their shape needs {grid.chunk_nbytes}"
        )
    if header.nchunks and header.blocksize not in (0, grid.blocksize):
        raise FormatError(f"blocks of {header.blocksize} bytes; their shape needs {grid.blocksize}")
    if not header.nchunks:
        return Layout(header, grid, dtype, np.empty(0, np.int64), data)
    if _is_filled(header, data[length:]):
        return Layout(header, grid, dtype, np.array([length], np.int64), data)
    # The trailer behind the offsets is not needed.
    part = header.offsets_range
    if part[1] - part[0] < HEADER:
        raise FormatError(f"{part[1] - part[0]} bytes for the offsets of the chunks")
    chunk = bytes(data[slice(*part)])
    if part[1] > len(data):
        part = (max(part[0], len(data)), part[1])
        [more] = yield [part]
        chunk += exactly(more, part, "the frame")
    offsets = header.decode_offsets(chunk)
    return Layout(header, grid, dtype, offsets, data)


def slices(frame: bytes | memoryview, ranges: list[Range]) -> list[bytes | memoryview]:
    """Return ranges of a frame in memory: the answer to steps."""
    return [frame[start:stop] for start, stop in ranges]


def whole_layout(frame: bytes | memoryview) -> Layout:
    """Return the layout of a frame in memory."""
    return run(layout_steps(len(frame), len(frame)), partial(slices, memoryview(frame)))


def _is_filled(header: FrameHeader, chunk: bytes | memoryview) -> bool:
    """Whether the only chunk of a frame is known to begin right behind the header.

    It is not enough that its bytes would fill the frame: the chunk may have been deleted, or
    replaced by zeros. But if the frame's length leaves room for the shortest offsets chunk only,
    the offset is 0; see `encode_offsets`.
    """
    return (
        header.nchunks == 1
        and not header.sparse
        and not header.variable
        and header.frame_len - header.offsets_at == HEADER + TRAILER_MIN
        and len(chunk) >= HEADER
        and cbytes_of(chunk) == header.cbytes
    )
