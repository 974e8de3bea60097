"""Where the bytes of chunks come from: C memory, or positioned reads of what a box needs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from operator import mul
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi._ffi import check, ffi, lib
from caterva_cffi.errors import FormatError, StorageError
from caterva_cffi.frame import FrameHeader, special_of_offset
from caterva_cffi.grid import Grid
from caterva_cffi.kernel import Kernel, Piece
from caterva_cffi.metalayers import decode_geometry
from caterva_cffi.plan import HEADER, MERGE_GAP, ChunkHeader, block_ranges, merge, touched_blocks
from caterva_cffi.schunk import SChunk
from caterva_cffi.selection import Box, spans

__all__ = ["DiskReader", "MemoryReader", "Reader", "chunk_pieces", "reader_of"]

_FIRST_READ = 4096  # most frame headers fit
_RACY = 50_000_000  # nanoseconds in which a file's time of change may stand still

Fetch: TypeAlias = Callable[[int, int], bytes]
"""Returns the bytes of a chunk from a start to a stop; fewer only where the chunk's file ends."""


_Layout: TypeAlias = tuple[FrameHeader, Grid, npt.NDArray[np.int64]]


class Reader(Protocol):
    """Reads boxes of an array from where its chunks are; the caller keeps writers away."""

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array.

        Parameters
        ----------
        kernel : Kernel
        grid : Grid
        box : Box
        dest : int
            Address of the first item's destination.
        strides : sequence of int
            Bytes between items of the destination.
        """

    def read_chunk(
        self,
        kernel: Kernel,
        grid: Grid,
        number: int,
        box: Box,
        dest: int,
        strides: Sequence[int],
    ) -> None:
        """Read a box of a chunk, which may reach beyond the array's shape."""


class MemoryReader:
    """Reads a super-chunk in memory.

    Parameters
    ----------
    schunk : SChunk
    """

    def __init__(self, schunk: SChunk) -> None:
        self._schunk = schunk

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array; see `Reader`."""
        kernel.read(self._schunk.ptr, box, dest, strides)

    def read_chunk(
        self,
        kernel: Kernel,
        grid: Grid,
        number: int,
        box: Box,
        dest: int,
        strides: Sequence[int],
    ) -> None:
        """Read a box of a chunk; see `Reader`."""
        chunk = self._schunk.chunk(number)
        kernel.decode(number, [(0, chunk.size, chunk.pointer)], box, dest, strides)


def reader_of(schunk: SChunk) -> Reader:
    """Return the reader for where a super-chunk is stored."""
    return MemoryReader(schunk) if schunk.path is None else DiskReader(schunk, schunk.path)


def chunk_pieces(fetch: Fetch, grid: Grid, box: Box) -> list[tuple[int, bytes]]:
    """Read what a box of a chunk needs.

    Parameters
    ----------
    fetch : Fetch
    grid : Grid
    box : Box

    Returns
    -------
    list of (int, bytes)
        Where in the chunk they begin, and the bytes; the first are header and offsets.

    Raises
    ------
    FormatError
        For a chunk that is damaged or shorter than it says.
    """
    body = HEADER + 4 * grid.nblocks
    head = fetch(0, body)
    header = ChunkHeader.parse(head)
    if header.special:
        return [(0, _whole(fetch, head, min(header.cbytes, HEADER + grid.itemsize)))]
    if not header.in_blocks or header.blocksize != grid.blocksize:
        return [(0, _whole(fetch, head, header.cbytes))]
    if header.plain:
        body = HEADER
    elif header.has_dictionary:
        size = int.from_bytes(fetch(body, body + 4), "little", signed=True)
        if not 0 <= size <= header.cbytes - body - 4:
            raise FormatError(f"a dictionary of {size} bytes in a chunk of {header.cbytes}")
        head += fetch(body, body + 4 + size)
        body += 4 + size
    blocks = touched_blocks(grid, *box)
    if 2 * blocks.size > grid.nblocks:
        # One read of all costs less than many of the most.
        parts = [(body, header.cbytes)]
    elif header.plain:
        starts = HEADER + blocks * grid.blocksize
        parts = merge(np.stack([starts, starts + grid.blocksize], axis=1), MERGE_GAP)
    else:
        offsets = np.frombuffer(head, "<i4", grid.nblocks, HEADER)
        parts = merge(block_ranges(header, offsets, body, blocks), MERGE_GAP)
    return [(0, head[:body]), *((first, fetch(first, stop)) for first, stop in parts)]


def _whole(fetch: Fetch, head: bytes, size: int) -> bytes:
    """Return the first bytes of a chunk, of which `head` is read already."""
    return head[:size] if size <= len(head) else head + fetch(len(head), size)


class DiskReader:
    """Reads the chunks of a frame in a file, or in a sparse directory.

    What it knows of the frame is checked against the file's time of change before each read, so
    that another handle's changes are seen.

    Parameters
    ----------
    schunk : SChunk
        Whose changes are noticed even where the file's time stands still.
    path : str
    """

    def __init__(self, schunk: SChunk, path: str) -> None:
        self._schunk = schunk
        self._path = path
        self._sparse = os.path.isdir(path)
        self._index = os.path.join(path, "chunks.b2frame") if self._sparse else path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._layout: _Layout | None = None

    def layout(self) -> _Layout:
        """Return the frame's header, geometry and chunk offsets, as they are on disk now.

        Raises
        ------
        StorageError
            For a file that is gone or cannot be read.
        FormatError
        """
        try:
            status = os.stat(self._index)
        except OSError as error:
            raise StorageError(f"{self._path!r} cannot be read: {error.strerror}") from error
        stamp = (self._schunk.changes, status.st_ino, status.st_size, status.st_mtime_ns)
        with self._lock:
            if stamp != self._stamp or self._layout is None:
                with open(self._index, "rb") as file:
                    self._layout = _read_layout(file.fileno())
                is_old = time.time_ns() - status.st_mtime_ns > _RACY
                self._stamp = stamp if is_old else None
            return self._layout

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array; see `Reader`."""
        steps = box[2]
        with self._opened(grid) as fetch_parts:
            for places in product(*map(spans, *box, grid.chunks)):
                at, start, count, position = zip(*places, strict=True) if places else ((),) * 4
                number, part = grid.chunk_number(at), (start, count, steps)
                place = dest + sum(map(mul, position, strides))
                kernel.decode(number, _pieces(fetch_parts(number, part)), part, place, strides)

    def read_chunk(
        self,
        kernel: Kernel,
        grid: Grid,
        number: int,
        box: Box,
        dest: int,
        strides: Sequence[int],
    ) -> None:
        """Read a box of a chunk; see `Reader`."""
        with self._opened(grid) as fetch_parts:
            kernel.decode(number, _pieces(fetch_parts(number, box)), box, dest, strides)

    @contextmanager
    def _opened(self, grid: Grid) -> Iterator[Callable[[int, Box], list[tuple[int, bytes]]]]:
        """Open the file, and give a function that reads what a box of a chunk needs."""
        header, stored, offsets = self.layout()
        if stored != grid:
            raise StorageError(
                f"{self._path!r} has shape {stored.shape} now instead of {grid.shape}: "
                "something else changed it; open it again"
            )
        descriptor = -1 if self._sparse else os.open(self._path, os.O_RDONLY | _O_BINARY)
        try:
            yield lambda number, box: self._chunk_parts(
                header, int(offsets[number]), descriptor, grid, box
            )
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _chunk_parts(
        self, header: FrameHeader, offset: int, descriptor: int, grid: Grid, box: Box
    ) -> list[tuple[int, bytes]]:
        if offset < 0:
            return [(0, _special_header(grid, special_of_offset(offset)))]
        if not self._sparse:
            return chunk_pieces(_fetcher(descriptor, offset), grid, box)
        path = os.path.join(self._path, f"{offset:08X}.chunk")
        try:
            with open(path, "rb") as file:
                return chunk_pieces(_fetcher(file.fileno(), 0), grid, box)
        except OSError as error:
            raise StorageError(f"{path!r} cannot be read: {error.strerror or error}") from error


def _pieces(parts: list[tuple[int, bytes]]) -> list[Piece]:
    """Return parts of a chunk as the kernel takes them, alive as long as they are."""
    return [(at, len(data), ffi.from_buffer("uint8_t[]", data)) for at, data in parts]


_O_BINARY: int = getattr(os, "O_BINARY", 0)


def _fetcher(descriptor: int, base: int) -> Fetch:
    def fetch(start: int, stop: int) -> bytes:
        return _read_at(descriptor, base + start, stop - start)

    return fetch


def _read_at(descriptor: int, position: int, size: int) -> bytes:
    """Return bytes of a file; fewer only where it ends."""
    data = os.pread(descriptor, size, position)
    while 0 < len(data) < size:
        more = os.pread(descriptor, size - len(data), position + len(data))
        if not more:
            break
        data += more
    return data


def _read_layout(descriptor: int) -> _Layout:
    """Read a frame's header and the offsets of its chunks."""
    data = _read_at(descriptor, 0, _FIRST_READ)
    length = FrameHeader.length_of(data)
    if length > len(data):
        data += _read_at(descriptor, len(data), length - len(data))
    header = FrameHeader.parse(data)
    grid, _ = decode_geometry(header.metalayers, header.itemsize, header.nchunks)
    if not header.nchunks:
        return header, grid, np.empty(0, np.int64)
    start = _read_at(descriptor, header.offsets_at, HEADER)
    size = ChunkHeader.parse(start).cbytes
    if header.offsets_at + size > os.fstat(descriptor).st_size:
        raise FormatError(f"an offsets chunk of {size} bytes reaches beyond the file's end")
    chunk = start + _read_at(descriptor, header.offsets_at + HEADER, size - HEADER)
    return header, grid, header.parse_offsets(_decode_plain(chunk, 8 * header.nchunks))


def _decode_plain(chunk: bytes, nbytes: int) -> npt.NDArray[np.uint8]:
    """Decode a chunk that is no N-d array: the offsets."""
    header = ChunkHeader.parse(chunk)
    codec, flags = chunk[2] >> 5, chunk[31]
    if header.nbytes != nbytes or header.cbytes != len(chunk):
        raise FormatError(
            f"an offsets chunk of {header.cbytes} bytes for {header.nbytes}; "
            f"expected {len(chunk)} for {nbytes}"
        )
    if codec > 4 or flags & 0x88 or chunk[30] or max(chunk[16:22]) > 4:
        raise FormatError("an offsets chunk with a codec, filter or flag that it cannot have")
    decoded = np.empty(nbytes, np.uint8)
    context = ffi.gc(
        lib.blosc2_create_dctx(ffi.new("blosc2_dparams *", {"nthreads": 1})[0]),
        lib.blosc2_free_ctx,
    )
    size = lib.blosc2_decompress_ctx(
        context, chunk, len(chunk), ffi.from_buffer(decoded), decoded.nbytes
    )
    if check(size, "reading the offsets of the chunks") != nbytes:
        raise FormatError(f"the offsets of the chunks have {size} bytes; expected {nbytes}")
    return decoded


def _special_header(grid: Grid, special: int) -> bytes:
    """Return the header of a chunk in which every item is the same."""
    header = bytearray(HEADER)
    header[0:4] = bytes([5, 1, 0x05, min(grid.itemsize, 255)])
    header[4:16] = np.array([grid.chunk_nbytes, grid.blocksize, HEADER], "<i4").tobytes()
    header[31] = special << 4
    return bytes(header)
