"""Where the bytes of chunks come from: C memory, or positioned reads of what a box needs."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from operator import mul
from typing import Any, NamedTuple, Protocol

import numpy as np

from caterva_cffi.binding.kernel import Kernel, Piece
from caterva_cffi.engine.crowds import crowd_steps
from caterva_cffi.engine.decoding import Target, pieces
from caterva_cffi.errors import FormatError, StorageError
from caterva_cffi.format.frame import special_of_offset
from caterva_cffi.geometry.cutting import AT_ONCE, MANY, boxes_of, cut, is_crowd
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.chunk import chunk_steps
from caterva_cffi.planning.layout import (
    Layout,
    layout_steps,
    part_steps,
    slices,
    special_header,
    whole_layout,
)
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import Part, run
from caterva_cffi.storage.positioned_reads import open_to_read, read_ranges
from caterva_cffi.storage.stored import Stored, Version, stamp_of
from caterva_cffi.superchunk.schunk import SChunk

__all__ = [
    "DiskReader",
    "MemoryReader",
    "Reader",
    "check_geometry",
    "reader_of",
]

_GROUP_BYTES = 16 << 20
"""Stored bytes of the chunks that are read at a time, if they are not those of one chunk."""


class Reader(Protocol):
    """Reads boxes of an array from where its chunks are; the caller keeps writers away."""

    def check(self, grid: Grid) -> None:
        """Raise where what is stored now is of another geometry.

        Raises
        ------
        StorageError
        FormatError
        """

    def read(self, kernel: Kernel, grid: Grid, targets: Sequence[Target]) -> None:
        """Read boxes of the array; what is read of them all is of one state."""

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

    def read(self, kernel: Kernel, grid: Grid, targets: Sequence[Target]) -> None:
        """Read boxes of the array; see `Reader`."""
        ptr = self._schunk.ptr
        for box, dest, strides in targets:
            if grid.nchunks <= MANY or not is_crowd(grid, box):
                kernel.read(ptr, box, dest, strides)
            else:
                self._read_crowd(kernel, grid, box, dest, strides)

    def _read_crowd(
        self, kernel: Kernel, grid: Grid, box: Box, dest: int, strides: Sequence[int]
    ) -> None:
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
        kernel.decode([(number, [(0, chunk.size, chunk.pointer)], box, dest, strides)])


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
            self._check(self._layout_of(status, -1), grid)
            stored.check_unmarked(status)

    def _check(self, layout: Layout, grid: Grid) -> None:
        if self._stored.held and layout.grid != grid:
            # C-Blosc2 does not look whether its header was written.
            raise StorageError(f"{self._stored.path!r}: what was changed could not be written")
        check_geometry(self._stored, (layout.grid, layout.dtype), (grid, self._dtype))

    def _layout_of(self, status: os.stat_result, descriptor: int) -> Layout:
        """Return where the frame's chunks are, if that is still what it was, or read it anew.

        Parameters
        ----------
        status : os.stat_result
            Of the file with header and offsets.
        descriptor : int
            Of that file; -1 where it is not open.
        """
        version, known = stamp_of(status), self._known
        if known is not None and version == known[0]:
            return known[1]
        layout = self._read_layout(status, descriptor)
        self._known = None if version is None else (version, layout)
        return layout

    def _read_layout(self, status: os.stat_result, descriptor: int) -> Layout:
        stored = self._stored
        stored.check_unmarked(status)
        try:
            steps = layout_steps(get_read_policy("local").first, status.st_size)
            if descriptor >= 0:
                return run(steps, partial(read_ranges, descriptor))
            with open(stored.index, "rb", buffering=0) as file:
                return run(steps, partial(read_ranges, file.fileno()))
        except FormatError:
            stored.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise stored.unreadable(error) from error

    def read(self, kernel: Kernel, grid: Grid, targets: Sequence[Target]) -> None:
        """Read boxes of the array; see `Reader`."""
        with self._opened(grid) as frame:
            few: list[Target] = []
            for target in targets:
                if is_crowd(grid, target[0]):
                    self._read_crowd(frame, kernel, *target)
                else:
                    few.append(target)
            for group in _groups(frame.layout, grid, few):
                wanted: dict[int, list[Box]] = {}
                for cells, _ in group:
                    for number, part, _ in cells:
                        wanted.setdefault(number, []).append(part)
                parts = self._fetch(frame, kernel, wanted)
                boxes = [
                    (number, parts[number], part, dest, strides)
                    for cells, strides in group
                    for number, part, dest in cells
                ]
                kernel.decode(boxes)

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
        with self._opened(grid) as frame:
            parts = self._fetch(frame, kernel, {number: [box]})
            kernel.decode([(number, parts[number], box, dest, strides)])

    def _read_crowd(
        self, frame: _Opened, kernel: Kernel, box: Box, dest: int, strides: Sequence[int]
    ) -> None:
        def fetch(kernel: Kernel, number: int, box: Box) -> list[Piece]:
            return self._fetch(frame, kernel, {number: [box]})[number]

        steps = crowd_steps(
            frame.layout, kernel, box, dest, strides, get_read_policy("local"),
            fetch=fetch if self._stored.sparse else None,
        )  # fmt: skip
        run(steps, partial(read_ranges, frame.descriptor))

    @contextmanager
    def _opened(self, grid: Grid) -> Iterator[_Opened]:
        """Open the file while it is read.

        Raises
        ------
        StorageError
            For what somebody else changed meanwhile: what was read may be of several states.
        """
        stored = self._stored
        if stored.sparse:
            descriptor, status = -1, stored.status()
        else:
            descriptor, status = self._open()
        try:
            with self._noticing_changes(status):
                layout = self._layout_of(status, descriptor)
                self._check(layout, grid)
                yield _Opened(layout, descriptor)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    @contextmanager
    def _noticing_changes(self, status: os.stat_result) -> Iterator[None]:
        stored = self._stored
        try:
            yield
        except (FormatError, StorageError):
            stored.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise stored.unreadable(error) from error
        stored.check_unchanged(status)

    def _open(self) -> tuple[int, os.stat_result]:
        """Open the file of a contiguous frame; return its descriptor and its status."""
        stored = self._stored
        try:
            descriptor = open_to_read(stored.index)
        except OSError as error:
            stored.status()  # which would explain it
            raise stored.unreadable(error) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise stored.no_file()
        return descriptor, status

    def _fetch(
        self, frame: _Opened, kernel: Kernel, wanted: Mapping[int, list[Box]]
    ) -> dict[int, list[Piece]]:
        """Read what boxes of chunks need, by the chunks' numbers."""
        layout, policy = frame.layout, get_read_policy("local")
        if not self._stored.sparse:
            steps = part_steps(layout, kernel, wanted, policy)
            parts = run(steps, partial(read_ranges, frame.descriptor))
        else:
            parts = {n: self._fetch_file(layout, kernel, n, boxes) for n, boxes in wanted.items()}
        return {number: pieces(given) for number, given in parts.items()}

    def _fetch_file(
        self, layout: Layout, kernel: Kernel, number: int, boxes: list[Box]
    ) -> list[Part]:
        """Read what boxes of a chunk need that has a file of its own."""
        offset = int(layout.offsets[number])
        if offset < 0:
            return [(0, special_header(layout.grid, special_of_offset(offset)))]
        path = os.path.join(os.path.dirname(self._stored.index), f"{offset:08X}.chunk")
        try:
            with open(path, "rb", buffering=0) as file:
                where = (0, os.fstat(file.fileno()).st_size)
                steps = chunk_steps(kernel, number, where, b"", boxes, get_read_policy("local"))
                return run(steps, partial(read_ranges, file.fileno()))
        except OSError as error:
            raise StorageError(f"{path!r} cannot be read: {error.strerror or error}") from error


class _Opened(NamedTuple):
    """A frame that is being read: where its chunks are, and its file unless it is sparse."""

    layout: Layout
    descriptor: int


def _groups(
    layout: Layout, grid: Grid, targets: Sequence[Target]
) -> Iterator[list[tuple[list[tuple[int, Box, int]], Sequence[int]]]]:
    """Cut boxes at the borders of chunks; yield those together whose chunks store few bytes.

    Yields
    ------
    list of (cells, strides)
        Cells are the numbers of chunks, boxes of them, and the addresses of their destinations.
    """
    if len(targets) == 1:
        [(box, dest, strides)] = targets
        [first, *more] = islice(cut(grid, box), 2)
        if not more:  # as of small reads
            number, part, _ = first
            yield [([(number, part, dest)], strides)]
            return
    group: list[tuple[list[tuple[int, Box, int]], Sequence[int]]] = []
    costs: set[int] = set()
    left = _GROUP_BYTES
    for box, dest, strides in targets:
        cells: list[tuple[int, Box, int]] = []
        for number, part, position in cut(grid, box):
            if number not in costs:
                cost = layout.room(number)
                if costs and cost > left:
                    if cells:
                        group.append((cells, strides))
                    yield group
                    group, cells, costs, left = [], [], set(), _GROUP_BYTES
                costs.add(number)
                left -= cost
            cells.append((number, part, dest + sum(map(mul, position, strides))))
        if cells:
            group.append((cells, strides))
    if group:
        yield group


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
