"""Where the bytes of chunks come from: C memory, or positioned reads of what a box needs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import mul
from typing import Any, Protocol

import numpy as np

from caterva_cffi.binding.buffers import pointer
from caterva_cffi.binding.kernel import Kernel, Piece
from caterva_cffi.engine.crowds import crowd_steps
from caterva_cffi.errors import FormatError, StorageError
from caterva_cffi.format.frame import special_of_offset
from caterva_cffi.geometry.cutting import AT_ONCE, MANY, boxes_of, cut, is_crowd
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.chunk import chunk_steps
from caterva_cffi.planning.layout import (
    Layout,
    layout_steps,
    slices,
    special_header,
    whole_layout,
)
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import Part, Range, run
from caterva_cffi.storage.positioned_reads import open_to_read, read_ranges
from caterva_cffi.storage.stored import Stored, Version, stamp_of
from caterva_cffi.superchunk.schunk import SChunk

__all__ = [
    "DiskReader",
    "MemoryReader",
    "PartsReader",
    "Reader",
    "check_geometry",
    "pieces",
    "reader_of",
    "stamp_of",
]


class Reader(Protocol):
    """Reads boxes of an array from where its chunks are; the caller keeps writers away."""

    def check(self, grid: Grid) -> None:
        """Raise where what is stored now is of another geometry.

        Raises
        ------
        StorageError
        FormatError
        """

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

    def check(self, grid: Grid) -> None:
        """Do nothing; see `Reader`."""

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array; see `Reader`."""
        if grid.nchunks <= MANY or not is_crowd(grid, box):
            kernel.read(self._schunk.ptr, box, dest, strides)
            return
        frame = self._schunk.frame()
        # C-Blosc2 decodes some offsets anew for each chunk; to decode all takes a while too.
        if frame is not None and math.prod(box[1]) > grid.nchunks // 1024:
            policy, layout = get_read_policy("local"), whole_layout(frame)
            run(crowd_steps(layout, kernel, box, dest, strides, policy), partial(slices, frame))
            return
        for part, position in boxes_of(grid, box, AT_ONCE):
            place = dest + sum(map(mul, position, strides))
            kernel.read(self._schunk.ptr, part, place, strides)

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


def reader_of(schunk: SChunk, dtype: np.dtype[Any]) -> Reader:
    """Return the reader for where the super-chunk of an array is stored."""
    return MemoryReader(schunk) if schunk.stored is None else DiskReader(schunk.stored, dtype)


class DiskReader:
    """Reads the chunks of a frame in a file, or in a sparse directory.

    What it knows of the frame is checked against the file's time of change before each read, so
    that another handle's changes are seen.

    Parameters
    ----------
    stored : Stored
    dtype : dtype
        Of the array.
    """

    def __init__(self, stored: Stored, dtype: np.dtype[Any]) -> None:
        self._stored = stored
        self._dtype = dtype
        self._known: tuple[Version, Layout] | None = None

    def check(self, grid: Grid) -> None:
        """Raise where what is stored now is of another geometry; see `Reader`."""
        stored = self._stored
        if not stored.held:  # otherwise the geometry is changing
            status = stored.status()
            self._check(self._layout_of(status), grid)
            stored.check_unmarked(status)

    def _check(self, layout: Layout, grid: Grid) -> None:
        if self._stored.held and layout.grid != grid:
            # C-Blosc2 does not look whether its header was written.
            raise StorageError(f"{self._stored.path!r}: what was changed could not be written")
        check_geometry(self._stored, (layout.grid, layout.dtype), (grid, self._dtype))

    def _layout_of(self, status: os.stat_result) -> Layout:
        """Return where the frame's chunks are, if that is still what it was, or read it anew."""
        version, known = stamp_of(status), self._known
        if known is not None and version == known[0]:
            return known[1]
        layout = self._read_layout(status)
        self._known = None if version is None else (version, layout)
        return layout

    def _read_layout(self, status: os.stat_result) -> Layout:
        stored = self._stored
        stored.check_unmarked(status)
        try:
            with open(stored.index, "rb", buffering=0) as file:
                steps = layout_steps(get_read_policy("local").first, status.st_size)
                return run(steps, partial(read_ranges, file.fileno()))
        except FormatError:
            stored.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise stored.unreadable(error) from error

    def read(self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Read a box of the array; see `Reader`."""
        with self._opened(grid) as fetch:
            if is_crowd(grid, box):
                self._read_crowd(fetch, kernel, box, dest, strides)
                return
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

    def _read_crowd(
        self,
        fetch: partial[list[Piece]],
        kernel: Kernel,
        box: Box,
        dest: int,
        strides: Sequence[int],
    ) -> None:
        layout, descriptor = fetch.args
        steps = crowd_steps(
            layout, kernel, box, dest, strides, get_read_policy("local"),
            fetch=fetch if self._stored.sparse else None,
        )  # fmt: skip
        run(steps, partial(read_ranges, descriptor))

    @contextmanager
    def _opened(self, grid: Grid) -> Iterator[partial[list[Piece]]]:
        """Open the file, and give a function that reads what a box of a chunk needs.

        Raises
        ------
        StorageError
            For what somebody else changed meanwhile: what was read may be of several states.
        """
        stored = self._stored
        status = stored.status()
        layout = self._layout_of(status)
        self._check(layout, grid)
        descriptor = -1 if stored.sparse else self._open()
        try:
            yield partial(self._fetch, layout, descriptor)
        except (FormatError, StorageError):
            stored.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise stored.unreadable(error) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        stored.check_unchanged(status)

    def _open(self) -> int:
        try:
            return open_to_read(self._stored.index)
        except OSError as error:
            raise self._stored.unreadable(error) from error

    def _fetch(
        self, layout: Layout, descriptor: int, kernel: Kernel, number: int, box: Box
    ) -> list[Piece]:
        offset = int(layout.offsets[number])
        if offset < 0:
            return pieces([(0, special_header(layout.grid, special_of_offset(offset)))])
        if not self._stored.sparse:
            where = (offset, layout.end_of(number))
            return pieces(_run_chunk(kernel, number, where, box, descriptor))
        folder = os.path.dirname(self._stored.index)
        path = os.path.join(folder, f"{offset:08X}.chunk")
        try:
            with open(path, "rb") as file:
                where = (0, os.fstat(file.fileno()).st_size)
                return pieces(_run_chunk(kernel, number, where, box, file.fileno()))
        except OSError as error:
            raise StorageError(f"{path!r} cannot be read: {error.strerror or error}") from error


def check_geometry(
    stored: Stored, found: tuple[Grid, np.dtype[Any]], expected: tuple[Grid, np.dtype[Any]]
) -> None:
    """Raise where what is stored is of another geometry than an array.

    Raises
    ------
    StorageError
    """
    (grid, dtype), (old_grid, old_dtype) = found, expected
    if grid is old_grid and dtype == old_dtype:
        return
    for name, now, before in (
        ("shape", grid.shape, old_grid.shape),
        ("dtype", dtype, old_dtype),
        ("partition", (grid.chunks, grid.blocks), (old_grid.chunks, old_grid.blocks)),
        ("geometry", grid, old_grid),
    ):
        if now != before:
            raise StorageError(
                f"{stored.path!r} has {name} {now} now instead of {before}: something else "
                "changed it; open it again"
            )


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
