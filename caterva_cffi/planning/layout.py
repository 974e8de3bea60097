"""Where the chunks of a frame are: its header, its geometry, and the offsets of its chunks."""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.compression import Codec, Compression
from caterva_cffi.binding.kernel import special_chunk
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.errors import FormatError, StorageError
from caterva_cffi.format.frame import (
    TRAILER_MIN,
    UNQUESTIONED,
    FrameHeader,
    check_byte_chunk,
    special_of_offset,
)
from caterva_cffi.format.metalayers import decode_geometry
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.planning.chunk import HEADER
from caterva_cffi.steps import Part, Range, Steps, exactly, run

__all__ = [
    "CHUNK_FILE",
    "Layout",
    "check_stored",
    "decode_plain",
    "encode_offsets",
    "layout_steps",
    "read_offsets_chunk",
    "slices",
    "special_header",
    "whole_layout",
]

_MANY_EDGES = 4096

_OFFSETS = Compression(codec=Codec.BLOSCLZ)


CHUNK_FILE = 1 << 40
"""Addresses for each file of a sparse frame, which is more than a chunk can have bytes."""


@dataclass(frozen=True)
class Layout:
    """What a frame's beginning and its offsets say.

    Attributes
    ----------
    header : FrameHeader
    grid : Grid
    dtype : dtype
    offsets : ndarray of int64
        Where the chunks begin, in bytes of the frame; numbers of files in a sparse one. Negative
        ones are chunks of one value.
    head : bytes
        The frame's first bytes, as many as were read.
    """

    header: FrameHeader
    grid: Grid
    dtype: np.dtype[Any]
    offsets: npt.NDArray[np.int64]
    head: bytes | memoryview

    @property
    def chunks_end(self) -> int:
        """The first byte behind the chunks of a contiguous frame."""
        return self.header.header_len + self.header.cbytes

    @cached_property
    def _edges(self) -> npt.NDArray[np.int64] | list[int]:
        edges = np.append(self.offsets[self.offsets >= 0], self.chunks_end)
        edges.sort()
        # A list is faster to look into, and takes five times the memory.
        return edges if len(edges) > _MANY_EDGES else edges.tolist()

    def place(self, number: int) -> Range:
        """Return where a chunk with bytes of its own begins, and which byte it ends before or at.

        In a sparse frame, `CHUNK_FILE` addresses belong to each file.
        """
        offset = int(self.offsets[number])
        if self.header.sparse:
            return offset * CHUNK_FILE, offset * CHUNK_FILE + self.most
        return offset, int(self._edges[bisect_right(self._edges, offset)])

    @property
    def most(self) -> int:
        """Bytes of a chunk of any writer, and a few more."""
        return 2 * (HEADER + self.grid.chunk_nbytes) + 16 * self.grid.nblocks

    def ends_of(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return what the ends of chunks that begin at offsets cannot be behind."""
        edges = np.asarray(self._edges, np.int64)
        return edges[np.searchsorted(edges, offsets, "right")]

    def room(self, number: int) -> int:
        """Return how many bytes are stored of a chunk at most, and a few more."""
        if self.offsets[number] < 0:
            return HEADER
        start, end = self.place(number)
        # Where a chunk was changed, the next one may be far behind it.
        return min(end - start, self.grid.chunk_nbytes + HEADER + 16 * self.grid.nblocks)

    def whole_chunk(self, number: int, frame: bytes | memoryview) -> list[Part]:
        """Return the bytes of a chunk of a frame in memory.

        Raises
        ------
        FormatError
            For a chunk that reaches behind its place.
        """
        offset = int(self.offsets[number])
        if offset < 0:
            return [(0, special_header(self.grid, special_of_offset(offset)))]
        return [(0, self.stored_chunk(number, frame))]

    def stored_chunk(self, number: int, frame: bytes | memoryview) -> bytes | memoryview:
        """Return the bytes of a chunk of a frame in memory, which has bytes of its own.

        Raises
        ------
        FormatError
            For a chunk that reaches behind its place.
        """
        rest = frame[slice(*self.place(number))]
        size = struct.unpack_from("<i", rest, 12)[0] if len(rest) >= HEADER else -1
        if not HEADER <= size <= len(rest):
            raise FormatError(f"chunk {number} has {size} bytes; there are {len(rest)}")
        return rest[:size]


def layout_steps(first: int, size: int | None = None) -> Steps[Layout]:
    """Read a frame's layout.

    Parameters
    ----------
    first : int
        Bytes to read at once. Those of the chunk behind the header are kept for later.
    size : int, optional
        Bytes of the frame as it is stored, where that is known.

    Raises
    ------
    FormatError
        For a frame that is damaged, or longer or shorter than it says.
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
    # The trailer lies behind, and says nothing that is needed.
    bound = HEADER + 8 * header.nchunks + lib.BLOSC2_MAX_OVERHEAD
    stop = min(header.offsets_at + bound, header.frame_len)
    part = (header.offsets_at, stop)
    if part[1] - part[0] < HEADER:
        raise FormatError(f"{part[1] - part[0]} bytes for the offsets of the chunks")
    chunk = bytes(data[part[0] : stop])
    if stop > len(data):
        part = (max(part[0], len(data)), stop)
        [more] = yield [part]
        chunk += exactly(more, part, "the frame")
    offsets = header.parse_offsets(_decode_offsets(header, chunk))
    return Layout(header, grid, dtype, offsets, data)


def slices(frame: bytes | memoryview, ranges: list[Range]) -> list[bytes | memoryview]:
    """Return ranges of a frame in memory: what steps that read it ask for."""
    return [frame[start:stop] for start, stop in ranges]


def whole_layout(frame: bytes | memoryview) -> Layout:
    """Return the layout of a frame in memory."""
    return run(layout_steps(len(frame), len(frame)), partial(slices, memoryview(frame)))


def _is_filled(header: FrameHeader, chunk: bytes | memoryview) -> bool:
    """Whether the only chunk of a frame is known to begin behind the header.

    That it would fill the frame is not enough: it may have been deleted, or replaced by zeros. But
    where the frame's length leaves no more room for the offset than a chunk without bytes takes,
    the offset is 0; see `encode_offsets`.
    """
    return (
        header.nchunks == 1
        and not header.sparse
        and not header.variable
        and header.frame_len - header.offsets_at == HEADER + TRAILER_MIN
        and len(chunk) >= HEADER
        and struct.unpack_from("<i", chunk, 12)[0] == header.cbytes
    )


def decode_plain(chunk: bytes, nbytes: int | None, what: str) -> npt.NDArray[np.uint8]:
    """Decode a chunk that is no N-d array, from bytes that may go on behind it.

    Parameters
    ----------
    chunk : bytes
    nbytes : int or None
        How many bytes it has to decode to; None for as many as it says.
    what : str
        What it holds, for errors.

    Raises
    ------
    FormatError
    """
    check_byte_chunk(chunk, what)
    stored, _, cbytes = struct.unpack_from("<iii", chunk, 4)
    nbytes = stored if nbytes is None else nbytes
    if stored != nbytes or nbytes < 0 or not HEADER <= cbytes <= len(chunk):
        raise FormatError(
            f"{what}: a chunk of {cbytes} bytes for {stored}; "
            f"expected at most {len(chunk)} for {nbytes}"
        )
    decoded = np.empty(nbytes, np.uint8)
    context = ffi.gc(
        lib.blosc2_create_dctx(ffi.new("blosc2_dparams *", {"nthreads": 1})[0]),
        lib.blosc2_free_ctx,
    )
    size = lib.blosc2_decompress_ctx(
        context, chunk, cbytes, ffi.from_buffer(decoded), decoded.nbytes
    )
    if check(size, f"reading {what}") != nbytes:
        raise FormatError(f"{what}: {size} bytes came; expected {nbytes}")
    return decoded


def _decode_offsets(header: FrameHeader, chunk: bytes) -> npt.NDArray[np.uint8]:
    """Decode the chunk of offsets, from bytes that may go on behind it."""
    if header.seal is not None and len(chunk) >= HEADER:
        header.seal.check_offsets(chunk[: struct.unpack_from("<i", chunk, 12)[0]])
    return decode_plain(chunk, 8 * header.nchunks, "the offsets of the chunks")


def read_offsets_chunk(header: FrameHeader, read: Callable[[int, int], bytes], size: int) -> bytes:
    """Read the chunk of the offsets of a frame's chunks, and what may be behind it.

    Parameters
    ----------
    header : FrameHeader
        Of a frame with chunks.
    read : callable
        Returns the frame's bytes from a position to another; fewer where it ends.
    size : int
        Bytes of the frame.

    """
    at = header.offsets_at
    stop = min(at + HEADER + 8 * header.nchunks + lib.BLOSC2_MAX_OVERHEAD, size)
    return read(at, stop) if at < stop else b""


def check_stored(read: Callable[[int, int], bytes], size: int, path: str) -> None:
    """Refuse a frame on disk that C-Blosc2 must not open.

    It decodes the offsets, and looks at each block of the first chunk: as many as that says.

    Parameters
    ----------
    read : callable
        Returns the frame's bytes from a position to another; fewer where it ends.
    size : int
        Bytes of the frame.
    path : str
        Of the directory, if the frame is sparse.

    Raises
    ------
    FormatError, UnsupportedError
    StorageError
        For a directory whose first chunk cannot be read.
    """
    header = FrameHeader.parse(read(0, min(FrameHeader.length_of(read(0, 16)), size)))
    if not header.nbytes:
        return
    if not header.chunksize:
        raise FormatError(f"{header.nbytes} bytes in chunks of 0")
    chunk = read_offsets_chunk(header, read, size)
    first = int(header.parse_offsets(_decode_offsets(header, chunk))[0])
    if first < 0:
        return
    if header.sparse:
        name = os.path.join(path, f"{first:08X}.chunk")
        try:
            with open(name, "rb") as file:
                start, first, size = file.read(HEADER), 0, os.fstat(file.fileno()).st_size
        except (FileNotFoundError, NotADirectoryError):
            raise FormatError(f"{name!r}, the first chunk, is missing") from None
        except OSError as error:
            raise StorageError(f"{name!r} cannot be read: {error.strerror or error}") from error
    else:
        start = read(first, first + HEADER)
    if len(start) < HEADER:
        raise FormatError(f"the first chunk has {len(start)} bytes")
    nbytes, _, cbytes = struct.unpack_from("<iii", start, 4)
    plain, special = start[2] & 0x02, start[31] >> 4 & 7
    if not HEADER <= cbytes <= size - first or (
        plain and not special and cbytes != HEADER + nbytes
    ):
        raise FormatError(f"the first chunk says that it has {cbytes} bytes for {nbytes}")
    if nbytes != header.chunksize:
        raise FormatError(
            f"the first chunk says that it decodes to {nbytes} bytes; the header says "
            f"{header.chunksize}"
        )


def encode_offsets(offsets: Sequence[int]) -> npt.NDArray[np.uint8]:
    """Return the chunk of offsets, which count from the end of the frame's header."""
    if not any(offsets):
        # C-Blosc2 would store the 0. Without it a frame's length says that there is no other one.
        return _only_offset()
    source = np.array(offsets, "<i8")
    chunk = np.empty(source.nbytes + lib.BLOSC2_MAX_OVERHEAD, np.uint8)
    # Larger blocks than C-Blosc2's would make less of many chunks of zeros than readers believe.
    cparams = _OFFSETS.to_cparams(8, 16 * 1024 if source.nbytes > UNQUESTIONED else 0)
    context = ffi.gc(lib.blosc2_create_cctx(cparams[0]), lib.blosc2_free_ctx)
    size = lib.blosc2_compress_ctx(
        context, ffi.from_buffer(source), source.nbytes, ffi.from_buffer(chunk), chunk.nbytes
    )
    return chunk[: check(size, "compressing the offsets of the chunks")]


@lru_cache(maxsize=1)
def _only_offset() -> npt.NDArray[np.uint8]:
    chunk = special_chunk(_OFFSETS, Grid((1,), (1,), (1,), 8), None)
    chunk.flags.writeable = False
    return chunk


def special_header(grid: Grid, special: int) -> bytes:
    """Return the header of a chunk in which every item is the same."""
    header = bytearray(HEADER)
    header[0:4] = bytes([5, 1, 0x05, min(grid.itemsize, 255)])
    header[4:16] = struct.pack("<iii", grid.chunk_nbytes, grid.blocksize, HEADER)
    header[31] = special << 4
    return bytes(header)
