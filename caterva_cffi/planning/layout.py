"""Where the chunks of a frame are: its header, its geometry, and the offsets of its chunks."""

from __future__ import annotations

import os
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.decoding import Place
from caterva_cffi.binding.kernel import Kernel, kernel_of
from caterva_cffi.errors import Cause, FormatError
from caterva_cffi.format.chunk_header import HEADER, cbytes_of, check_size, special_header
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.metalayers import decode_geometry
from caterva_cffi.format.offsets import chunk_file, special_of_offset
from caterva_cffi.format.trailer import TRAILER_MIN
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch
from caterva_cffi.steps import ChunkBytes, Range, Steps, exactly, run

__all__ = [
    "Chunks",
    "Files",
    "Layout",
    "first_steps",
    "geometry_of",
    "header_steps",
    "layout_steps",
    "offsets_steps",
    "slices",
    "whole_layout",
]

_MANY_EDGES = 4096

_NUMBERS = frozenset("biufc")

Files: TypeAlias = int | str
"""Files that the kernel reads: the descriptor of a frame's file, or the path of a directory."""


@dataclass(frozen=True)
class Chunks:
    """Where the chunks of an object are.

    Attributes
    ----------
    grid : Grid
    dtype : dtype
    offsets : ndarray of int64
        Where the chunks begin, in bytes of the object; in a sparse frame, numbers of files. A
        negative one stands for a chunk of one value.
    beginning : bytes
        The object's first bytes, as many as were read.
    chunks_end : int
        A byte that the chunks do not go beyond, if they are in one object.
    sparse : bool
        Whether each chunk is a file.
    """

    grid: Grid
    dtype: np.dtype[Any]
    offsets: npt.NDArray[np.int64]
    beginning: bytes | memoryview
    chunks_end: int
    sparse: bool

    @property
    def seen(self) -> Grid:
        """The grid of the items that boxes are given in; see `translated`."""
        return self.grid

    def translated(self, batch: Batch) -> Batch:
        """Return boxes of the grid, for boxes of items as they are seen from outside."""
        return batch

    @cached_property
    def kernel(self) -> Kernel:
        """A kernel for the grid."""
        return kernel_of(self.grid)

    def check(self, shape: tuple[int, ...], dtype: np.dtype[Any], checksums: bool) -> None:
        """Compare a frame with what is known of it beforehand.

        Parameters
        ----------
        shape : tuple of int
        dtype : dtype
        checksums : bool
            Whether its blocks have checksums.

        Raises
        ------
        FormatError
        """
        if (
            self.grid.shape != shape
            or self.grid.itemsize != dtype.itemsize
            # All writers name the types of numbers; of other items, some know only the size.
            or (self.dtype.kind != dtype.kind and {self.dtype.kind, dtype.kind} <= _NUMBERS)
        ):
            raise FormatError(
                f"the stored frame has shape {self.grid.shape} and dtype {self.dtype}; "
                f"the array's chunks have shape {shape} and dtype {dtype}",
                Cause("other-geometry", None, self.grid.shape, shape),
            )
        if self.sparse:
            message = "the stored frame is sparse: its chunks are elsewhere"
            raise FormatError(message, "other-geometry")
        if checksums and not self.grid.checksums:
            message = "the stored frame has no checksums, which the array's codec writes"
            raise FormatError(message, "no-checksums")

    def head_of(self, number: int) -> bytes | memoryview:
        """Return the first bytes of a stored chunk, as far as they are known."""
        return self.beginning[slice(*self.range_of(number))]

    @cached_property
    def _edges(self) -> npt.NDArray[np.int64] | list[int]:
        edges = np.append(self.offsets[self.offsets >= 0], self.chunks_end)
        edges.sort()
        # A list is faster to search, but takes five times the memory.
        return edges if len(edges) > _MANY_EDGES else edges.tolist()

    def range_of(self, number: int) -> Range:
        """Return where a chunk that is stored begins, and a byte that it does not go beyond.

        In a sparse frame it begins with its file.
        """
        if self.sparse:
            return 0, self.most
        offset = int(self.offsets[number])
        return offset, int(self._edges[bisect_right(self._edges, offset)])

    def in_file(self, number: int, files: Files, gap: int) -> list[ChunkBytes] | Place:
        """Return where a chunk is in a local file, or the chunk itself if it is one of one value.

        Parameters
        ----------
        number : int
        files : Files
        gap : int
            See `Place`.

        Raises
        ------
        FormatError
        """
        offset = int(self.offsets[number])
        if offset < 0:
            return [(0, self.special_chunk(special_of_offset(offset)))]
        start, stop = self.range_of(number)
        if isinstance(files, int):
            return None, files, start, stop, gap
        path = os.path.join(files, chunk_file(offset))
        return os.fsencode(path) + b"\0", -1, start, stop, gap

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
        start, end = self.range_of(number)
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
        rest = frame[slice(*self.range_of(number))]
        return rest[: check_size(rest, number)]


@dataclass(frozen=True)
class Layout(Chunks):
    """What a frame's header and offsets say.

    Attributes
    ----------
    header : FrameHeader
    """

    header: FrameHeader


def first_steps(first: int) -> Steps[bytes | memoryview]:
    """Read the first bytes of an object; fewer than asked for if it has no more.

    Raises
    ------
    FormatError
    """
    first = max(first, HEADER)
    [data] = yield [(0, first)]
    if len(data) > first:
        raise FormatError(
            f"{len(data)} bytes where {first} were asked for: ranges are ignored",
            Cause("ranges-ignored", None, len(data), first),
        )
    return data


def header_steps(data: bytes | memoryview) -> Steps[tuple[FrameHeader, bytes | memoryview]]:
    """Read the header of a frame.

    Parameters
    ----------
    data : bytes
        The frame's first bytes, as many as are known.

    Returns
    -------
    header : FrameHeader
    data : bytes
        The same, at least the whole header.

    Raises
    ------
    FormatError
    UnsupportedError
    """
    length = FrameHeader.length_of(bytes(data[:16]))
    if length > len(data):
        range_ = (len(data), length)
        [more] = yield [range_]
        data = bytes(data) + exactly(more, range_, "the frame's header")
    return FrameHeader.parse(bytes(data[:length])), data


def geometry_of(header: FrameHeader) -> tuple[Grid, np.dtype[Any]]:
    """Return what the metalayers of a frame say of its items, if its header agrees.

    Raises
    ------
    FormatError
    """
    grid, dtype = decode_geometry(header.metalayers, header.itemsize, header.nchunks)
    if header.nbytes != header.nchunks * header.chunksize:
        raise FormatError(f"{header.nbytes} bytes in chunks of {header.chunksize}")
    if header.nchunks and header.chunksize != grid.chunk_nbytes:
        raise FormatError(
            f"chunks of {header.chunksize} bytes; their shape needs {grid.chunk_nbytes}"
        )
    if header.nchunks and header.blocksize not in (0, grid.blocksize):
        raise FormatError(f"blocks of {header.blocksize} bytes; their shape needs {grid.blocksize}")
    return grid, dtype


def offsets_steps(header: FrameHeader, data: bytes | memoryview) -> Steps[npt.NDArray[np.int64]]:
    """Read where the chunks of a frame begin; see `Chunks`.

    Parameters
    ----------
    header : FrameHeader
    data : bytes
        The frame's first bytes, as many as are known.

    Raises
    ------
    FormatError
    """
    if not header.nchunks:
        return np.empty(0, np.int64)
    if _is_filled(header, data[header.header_len :]):
        return np.array([header.header_len], np.int64)
    # The trailer behind the offsets is not needed.
    range_ = header.offsets_range
    if range_[1] - range_[0] < HEADER:
        raise FormatError(f"{range_[1] - range_[0]} bytes for the offsets of the chunks")
    chunk = bytes(data[slice(*range_)])
    if range_[1] > len(data):
        range_ = (max(range_[0], len(data)), range_[1])
        [more] = yield [range_]
        chunk += exactly(more, range_, "the frame")
    return header.decode_offsets(chunk)


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
    start = yield from first_steps(first)
    if len(start) < max(first, HEADER):
        size = len(start)
    header, data = yield from header_steps(start)
    if size is not None and size != header.frame_len:
        raise FormatError(
            f"the frame has {size} bytes; its header says {header.frame_len}: "
            "it is cut off, or something was appended",
            Cause("cut-off", None, size, header.frame_len),
        )
    grid, dtype = geometry_of(header)
    offsets = yield from offsets_steps(header, data)
    end = header.header_len + header.cbytes
    return Layout(grid, dtype, offsets, data, end, header.sparse, header)


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
