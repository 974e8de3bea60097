"""Where the bytes of chunks come from: C memory, or positioned reads of what a box needs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import mul
from typing import Protocol

import numpy as np

from caterva_cffi import recycling
from caterva_cffi.buffers import pointer
from caterva_cffi.errors import FormatError, StorageError
from caterva_cffi.frame import special_of_offset
from caterva_cffi.grid import Grid
from caterva_cffi.kernel import Kernel, Piece
from caterva_cffi.layout import Layout, layout_steps, special_header
from caterva_cffi.plan import Part, Range, chunk_steps, cut, run
from caterva_cffi.policy import get_read_policy
from caterva_cffi.schunk import SChunk
from caterva_cffi.selection import Box

__all__ = [
    "DiskReader",
    "MemoryReader",
    "PartsReader",
    "Reader",
    "pieces",
    "read_ranges",
    "reader_of",
    "stamp_of",
]

_RACY = 50_000_000  # nanoseconds in which a file's time of change may stand still


def stamp_of(status: os.stat_result) -> tuple[int, ...] | None:
    """Return what differs once a file was changed; None while its times may stand still."""
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) <= _RACY:
        return None
    return _version_of(status)


def _version_of(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


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
        self._stamp: tuple[int, tuple[int, ...]] | None = None
        self._layout: Layout | None = None

    def layout(self) -> Layout:
        """Return where the frame's chunks are, as they are on disk now.

        Raises
        ------
        StorageError
            For a file that is gone or cannot be read.
        FormatError
        """
        return self._layout_of(self._status())

    def _status(self) -> os.stat_result:
        try:
            return os.stat(self._index)
        except OSError as error:
            raise StorageError(f"{self._path!r} cannot be read: {error.strerror}") from error

    def _layout_of(self, status: os.stat_result) -> Layout:
        unchanged = stamp_of(status)
        stamp = None if unchanged is None else (self._schunk.changes, unchanged)
        with self._lock:
            if stamp is None or stamp != self._stamp or self._layout is None:
                self._schunk.check_whole()
                with open(self._index, "rb") as file:
                    read = partial(read_ranges, file.fileno())
                    self._layout = run(
                        layout_steps(get_read_policy("local").first, status.st_size), read
                    )
                self._stamp = stamp
            return self._layout

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array; see `Reader`."""
        with self._opened(grid) as fetch:
            for number, part, position in cut(grid, box):
                place = dest + sum(map(mul, position, strides))
                kernel.decode(number, fetch(kernel, number, part), part, place, strides)

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
        with self._opened(grid) as fetch:
            kernel.decode(number, fetch(kernel, number, box), box, dest, strides)

    @contextmanager
    def _opened(self, grid: Grid) -> Iterator[Callable[[Kernel, int, Box], list[Piece]]]:
        """Open the file, and give a function that reads what a box of a chunk needs.

        Raises
        ------
        StorageError
            For what somebody else changed meanwhile: what was read may be of several states.
        """
        status = self._status()
        layout = self._layout_of(status)
        if layout.grid != grid:
            raise StorageError(
                f"{self._path!r} has shape {layout.grid.shape} now instead of {grid.shape}: "
                "something else changed it; open it again"
            )
        descriptor = -1 if self._sparse else os.open(self._path, os.O_RDONLY | _O_BINARY)
        try:
            yield partial(self._fetch, layout, descriptor)
        except FormatError:
            self._check_unchanged(status)  # which would explain it
            raise
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        self._check_unchanged(status)

    def _check_unchanged(self, status: os.stat_result) -> None:
        if _version_of(self._status()) != _version_of(status):
            raise StorageError(f"{self._path!r} was changed while it was read; read it again")
        self._schunk.check_whole()

    def _fetch(
        self, layout: Layout, descriptor: int, kernel: Kernel, number: int, box: Box
    ) -> list[Piece]:
        offset = int(layout.offsets[number])
        if offset < 0:
            return pieces([(0, special_header(layout.grid, special_of_offset(offset)))])
        if not self._sparse:
            where = (offset, layout.end_of(number))
            return pieces(_run_chunk(kernel, number, where, box, descriptor))
        path = os.path.join(self._path, f"{offset:08X}.chunk")
        try:
            with open(path, "rb") as file:
                where = (0, os.fstat(file.fileno()).st_size)
                return pieces(_run_chunk(kernel, number, where, box, file.fileno()))
        except OSError as error:
            raise StorageError(f"{path!r} cannot be read: {error.strerror or error}") from error


def _run_chunk(kernel: Kernel, number: int, where: Range, box: Box, descriptor: int) -> list[Part]:
    steps = chunk_steps(kernel, number, where, b"", [box], get_read_policy("local"))
    return run(steps, partial(read_ranges, descriptor))


class PartsReader:
    """Reads the parts of chunks that were fetched for a selection.

    Parameters
    ----------
    parts : mapping of int to list of Part
        By the chunks' numbers.
    """

    def __init__(self, parts: Mapping[int, list[Part]]) -> None:
        self._pieces = {number: pieces(given) for number, given in parts.items()}

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array; see `Reader`."""
        for number, part, position in cut(grid, box):
            place = dest + sum(map(mul, position, strides))
            kernel.decode(number, self._pieces[number], part, place, strides)


def pieces(parts: list[Part]) -> list[Piece]:
    """Return parts of a chunk as the kernel takes them, alive as long as they are."""
    return [(at, len(data), pointer(data)) for at, data in parts]


_O_BINARY: int = getattr(os, "O_BINARY", 0)


def read_ranges(descriptor: int, ranges: list[Range]) -> list[bytes | memoryview]:
    """Read ranges of a file; one that is cut off lacks bytes."""
    return [_read_at(descriptor, start, stop - start) for start, stop in ranges]


def _read_at(descriptor: int, position: int, size: int) -> bytes | memoryview:
    """Return bytes of a file; fewer only where it ends."""
    if size >= recycling.LEAST and hasattr(os, "preadv"):
        return _read_into(recycling.empty((size,), np.uint8).data, descriptor, position)
    data = os.pread(descriptor, size, position)
    while 0 < len(data) < size:
        more = os.pread(descriptor, size - len(data), position + len(data))
        if not more:
            break
        data += more
    return data


def _read_into(dest: memoryview, descriptor: int, position: int) -> memoryview:
    """Fill memory with bytes of a file; return what of it was filled."""
    done = 0
    while done < len(dest):
        count = os.preadv(descriptor, [dest[done:]], position + done)
        if not count:
            break
        done += count
    return dest[:done]
