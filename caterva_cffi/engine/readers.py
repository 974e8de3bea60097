"""Readers of an array's boxes: from a super-chunk in memory, or from a file or a directory."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterable
from functools import partial
from operator import mul
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.crops import SomeParts, can_be_cut, decode_parts, parts_at_once
from caterva_cffi.engine.groups import Group
from caterva_cffi.engine.reading import read, read_memory
from caterva_cffi.errors import Cause, FormatError, StorageError
from caterva_cffi.geometry.crops import CropBoxes
from caterva_cffi.geometry.cutting import AT_ONCE, MANY, boxes_of, has_many_chunks
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import Files, Layout, layout_steps, whole_layout
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import Range, run
from caterva_cffi.storage.positioned_reads import READ_FLAGS, read_ranges
from caterva_cffi.storage.stored import Stored, Version, settled_version_of
from caterva_cffi.superchunk.schunk import SChunk

__all__ = [
    "DiskReader",
    "MemoryReader",
    "Reader",
    "check_geometry",
    "reader_of",
]


class Reader(Protocol):
    """Reads boxes of an array; meanwhile the caller keeps writers away."""

    def check(self, grid: Grid) -> None:
        """Raise if the stored array has another geometry now.

        Raises
        ------
        StorageError
        FormatError
        """

    def read(self, kernel: Kernel, grid: Grid, batches: Iterable[Batch]) -> None:
        """Read boxes of the array, all of one state."""

    def read_chunk(
        self, kernel: Kernel, grid: Grid, number: int, box: Box, dest: npt.NDArray[Any]
    ) -> None:
        """Read a box of a chunk; the box may reach beyond the array's shape."""


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

    def read(self, kernel: Kernel, grid: Grid, batches: Iterable[Batch]) -> None:
        """Read boxes of the array; see `Reader`."""
        ptr = self._schunk.ptr
        for batch in batches:
            boxes = batch.boxes
            if isinstance(boxes, CropBoxes) and can_be_cut(boxes, grid):
                self._read_crops(kernel, grid, boxes)
            else:
                for box, dest in boxes:
                    if not dest.size:
                        continue
                    if grid.nchunks <= MANY or not has_many_chunks(grid, box):
                        kernel.read(ptr, box, address(dest), dest.strides)
                    else:
                        self._read_many_chunks(kernel, grid, box, dest)
            if batch.then is not None:
                batch.then()

    def _read_many_chunks(
        self, kernel: Kernel, grid: Grid, box: Box, dest: npt.NDArray[Any]
    ) -> None:
        frame = self._schunk.frame()
        # C-Blosc2 decodes some offsets anew for each chunk. For many, decode all of them once.
        if frame is not None and math.prod(box[1]) > grid.nchunks // 1024:
            read_memory(frame, whole_layout(frame), kernel, [Batch([(box, dest)])])
            return
        for part, position in boxes_of(grid, box, AT_ONCE):
            to = address(dest) + sum(map(mul, position, dest.strides))
            kernel.read(self._schunk.ptr, part, to, dest.strides)

    def _read_crops(self, kernel: Kernel, grid: Grid, boxes: CropBoxes) -> None:
        for parts in parts_at_once(grid, boxes):
            chunks = {number: self._schunk.chunk(number) for number in set(parts.numbers.tolist())}
            located = {n: [(0, chunk.size, chunk.pointer)] for n, chunk in chunks.items()}
            decode_parts(kernel, [SomeParts(parts, located.__getitem__, boxes.dest)])

    def read_chunk(
        self, kernel: Kernel, grid: Grid, number: int, box: Box, dest: npt.NDArray[Any]
    ) -> None:
        """Read a box of a chunk; see `Reader`."""
        chunk = self._schunk.chunk(number)
        piece = (0, chunk.size, chunk.pointer)
        kernel.decode([(number, [piece], box, address(dest), dest.strides)])


def reader_of(schunk: SChunk, dtype: np.dtype[Any]) -> Reader:
    """Return a reader for the super-chunk of an array."""
    return MemoryReader(schunk) if schunk.stored is None else DiskReader(schunk.stored, dtype)


class DiskReader:
    """Reads the chunks of a frame in a file, or in a sparse directory.

    It keeps the layout of the frame. Before each read it compares the file's time of change, so
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
        """Raise if the stored array has another geometry now; see `Reader`."""
        stored = self._stored
        if not stored.held:  # else the geometry is just changing
            status = stored.status()
            self._check(self._layout_of(status, None), grid)
            stored.check_unmarked(status)

    def _check(self, layout: Layout, grid: Grid) -> None:
        if self._stored.held and layout.grid != grid:
            # C-Blosc2 does not notice if its header could not be written.
            raise StorageError(
                f"{self._stored.path!r}: what was changed could not be written", "unwritable"
            )
        check_geometry(self._stored, (layout.grid, layout.dtype), (grid, self._dtype))

    def _layout_of(self, status: os.stat_result, descriptor: int | None) -> Layout:
        """Return the layout that is kept, if the file has not changed, or read it anew.

        Parameters
        ----------
        status : os.stat_result
            Of the file that holds header and offsets.
        descriptor : int or None
            Of that file, if it is open.
        """
        version, known = settled_version_of(status), self._known
        if known is not None and version == known[0]:
            return known[1]
        layout = self._read_layout(status, descriptor)
        self._known = None if version is None else (version, layout)
        return layout

    def _read_layout(self, status: os.stat_result, descriptor: int | None) -> Layout:
        stored = self._stored
        stored.check_unmarked(status)
        try:
            steps = layout_steps(get_read_policy("local").first, status.st_size)
            if descriptor is not None:
                return run(steps, partial(read_ranges, descriptor))
            with open(stored.index, "rb", buffering=0) as file:
                return run(steps, partial(read_ranges, file.fileno()))
        except FormatError:
            stored.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise stored.unreadable(error) from error

    def read(self, kernel: Kernel, grid: Grid, batches: Iterable[Batch]) -> None:
        """Read boxes of the array; see `Reader`."""
        self._use(kernel, grid, lambda frame: read(groups(frame, batches), _answers(frame)))

    def read_chunk(
        self, kernel: Kernel, grid: Grid, number: int, box: Box, dest: npt.NDArray[Any]
    ) -> None:
        """Read a box of a chunk; see `Reader`."""

        def read_one(frame: Frame) -> None:
            group = Group(frame)
            group.add(number, box, address(dest), dest.strides, dest)
            group.decode()

        self._use(kernel, grid, read_one)

    def look(self, kernel: Kernel, grid: Grid, action: Callable[[Frame, str, bool], None]) -> None:
        """Do something with the frame, and remember nothing of it.

        Parameters
        ----------
        kernel : Kernel
        grid : Grid
        action : callable
            Gets the frame while its file is open, the path of the file that has its layout, and
            whether a read would know the layout.
        """
        known = self._known

        def looking(frame: Frame) -> None:
            action(frame, self._stored.index, known is not None and known is self._known)

        try:
            self._use(kernel, grid, looking)
        finally:
            self._known = known

    def _use(self, kernel: Kernel, grid: Grid, action: Callable[[Frame], None]) -> None:
        """Do something with the frame, while its file is open.

        Raises
        ------
        StorageError
            If somebody else changed it meanwhile: the items may be of several states.
        """
        stored = self._stored
        if stored.sparse:
            files: Files = os.path.dirname(stored.index)
            self._use_unchanged(kernel, grid, action, stored.status(), files)
            return
        descriptor, status = self._open()
        try:
            self._use_unchanged(kernel, grid, action, status, descriptor)
        finally:
            os.close(descriptor)

    def _use_unchanged(
        self,
        kernel: Kernel,
        grid: Grid,
        action: Callable[[Frame], None],
        status: os.stat_result,
        files: Files,
    ) -> None:
        stored, before = self._stored, self._known
        try:
            layout = self._layout_of(status, files if isinstance(files, int) else None)
            self._check(layout, grid)
            action(Frame(layout, kernel, get_read_policy("local"), files=files))
        except (FormatError, StorageError):
            stored.check_unchanged(status)  # which would explain it
            raise
        except OSError as error:
            raise stored.unreadable(error) from error
        # If the layout was kept, the version is settled: any change of the file shows in its times.
        # A change of a sparse array may so far have written other files only: look for its mark.
        known = before is not None and before is self._known
        stored.check_unchanged(status, is_settled=known and not stored.sparse)

    def _open(self) -> tuple[int, os.stat_result]:
        """Open the file of a contiguous frame; return its descriptor and its status."""
        stored = self._stored
        try:
            descriptor = os.open(stored.index, READ_FLAGS)
        except OSError as error:
            stored.status()  # which would explain it
            raise stored.unreadable(error) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise stored.no_file()
        return descriptor, status


def _answers(frame: Frame) -> Callable[[list[Range]], list[bytes | memoryview]]:
    return partial(read_ranges, cast("int", frame.files))


def check_geometry(
    stored: Stored, found: tuple[Grid, np.dtype[Any]], expected: tuple[Grid, np.dtype[Any]]
) -> None:
    """Raise if what is stored has another geometry than expected.

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
                "changed it; open it again",
                Cause("changed-elsewhere", name, now, before),
            )
