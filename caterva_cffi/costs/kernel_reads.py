"""The reads of local files that the kernel makes: what `_native/stored.c` and `decode_part.c` do.

They are those of one thread. Each further one that decodes blocks of a chunk reads its head, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import groupby
from operator import itemgetter

import numpy as np

from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.format.chunk_header import HEADER, cbytes_of, is_plain, special_of
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.steps import Range

__all__ = ["FileChunk", "Part", "kernel_reads", "reads_by_block"]

_RUN_BYTES, _FIRST_BYTES = 256 << 10, 16 << 10
_TASK_BYTES, _CACHE_LINE, _PARTS, _LARGE = 512 << 10, 64, 64, 32 << 10


@dataclass(frozen=True, eq=False)
class FileChunk:
    """A chunk in a file.

    Attributes
    ----------
    grid : Grid
    kernel : Kernel
    head : bytes
    room : int
        Bytes that the chunk may take.
    gap : int
        Bytes between two blocks that are rather read than left out.
    """

    grid: Grid
    kernel: Kernel
    head: bytes | memoryview
    room: int
    gap: int

    @cached_property
    def first_reads(self) -> list[int]:
        """The bytes of the reads that bring the head."""
        size = min(max(self.kernel.head, _FIRST_BYTES), self.room)
        reads = [size]
        while True:
            need, _ = self.kernel.plan(0, self.head[:size], [], 0)
            if need <= size:
                return reads
            reads.append(need - size)
            size = need

    @cached_property
    def has_blocks(self) -> bool:
        """Whether blocks are read one by one."""
        whole = len(self.head) == cbytes_of(self.head)
        return not special_of(self.head) and not whole

    @cached_property
    def edges(self) -> tuple[list[int], list[int]]:
        """Where each block begins and ends, in bytes of the chunk."""
        grid = self.grid
        if is_plain(self.head):
            starts = HEADER + np.arange(grid.nblocks, dtype=np.int64) * grid.blocksize
            return starts.tolist(), (starts + grid.blocksize).tolist()
        starts = np.frombuffer(self.head, "<i4", grid.nblocks, HEADER).astype(np.int64)
        edges = np.append(np.unique(starts), cbytes_of(self.head))
        return starts.tolist(), edges[np.searchsorted(edges, starts, "right")].tolist()

    def blocks(self, box: Box) -> tuple[list[int], int]:
        """Return the numbers of the blocks of a box, and how many are in a row of the last axis."""
        grid, along = self.grid, []
        for start, count, step, block in zip(*box, grid.blocks, strict=True):
            if count == 1 or step > block:
                along.append((start + np.arange(count) * step) // block)
            else:
                along.append(np.arange(start // block, (start + (count - 1) * step) // block + 1))
        counts = [-(-chunk // block) for chunk, block in zip(grid.chunks, grid.blocks, strict=True)]
        numbers = reduce(
            lambda before, each: np.add.outer(before * each[1], each[0]),
            zip(along, counts, strict=True),
            np.zeros((), np.int64),
        )
        return numbers.ravel().tolist(), len(along[-1]) if along else 1

    @property
    def _is_narrow(self) -> bool:
        return self.grid.ndim > 0 and self.grid.blocks[-1] * self.grid.itemsize < _CACHE_LINE

    def in_order(self, numbers: list[int], row: int) -> list[int]:
        """Return the blocks of a box in the order in which they are decoded."""
        are_many = 2 * len(numbers) > self.grid.nblocks
        are_large = cbytes_of(self.head) // self.grid.nblocks >= _LARGE
        if len(numbers) <= 2 or (are_many and are_large) or (self._is_narrow and row > 1):
            return numbers
        return sorted(numbers, key=self.edges[0].__getitem__)

    def task_blocks(self, row: int) -> int:
        """Return how many blocks a task decodes, for the blocks of a box along the last axis."""
        grid = self.grid
        most = _TASK_BYTES // grid.blocksize + 1
        if self._is_narrow:
            whole = -(-most // row) * row
            most = whole if whole * grid.blocksize <= 8 * _TASK_BYTES else most
        return most


Part = tuple[FileChunk, Box]


def kernel_reads(parts: Sequence[Part]) -> Iterator[int]:
    """Yield the bytes of each read of one call that decodes parts of chunks in files."""
    last: FileChunk | None = None
    for first in range(0, len(parts), _PARTS):
        task = parts[first : first + _PARTS]
        for chunk, same in groupby(task, itemgetter(0)):
            if chunk is not last:
                yield from chunk.first_reads
                run = (0, 0)
            last = chunk
            if not chunk.has_blocks:
                continue
            cut = [chunk.blocks(box) for _, box in same]
            for at in range(len(cut)):
                for start, stop in _runs(chunk, cut, at, run):
                    run = start, stop
                    yield stop - start


def _runs(
    chunk: FileChunk, cut: list[tuple[list[int], int]], box: int, run: Range
) -> Iterator[Range]:
    """Yield the runs of bytes that are read for a box; later boxes of the chunk may share them."""
    starts, stops = chunk.edges
    size, row = sum(chunk.first_reads), cut[box][1]
    numbers, most = chunk.in_order(*cut[box]), chunk.task_blocks(row)
    for at, number in enumerate(numbers):
        start, stop = starts[number], stops[number]
        if stop <= size or (run[0] <= start and stop <= run[1]):
            continue
        upto = min((at // most + 1) * most, len(numbers))
        later = [numbers[at + 1 : upto]]
        if upto == len(numbers):
            later += [following for following, _ in cut[box + 1 :]]
        run = start, _run_end(chunk, later, start, stop)
        yield run


def _run_end(chunk: FileChunk, later: list[list[int]], start: int, stop: int) -> int:
    starts, stops = chunk.edges
    for numbers in later:
        for number in numbers:
            begin, end = starts[number], stops[number]
            if begin < start or begin - stop > chunk.gap or end - start > _RUN_BYTES:
                return stop
            stop = max(stop, end)
    return stop


def reads_by_block(parts: Sequence[Part]) -> Iterator[int]:
    """Yield the same of a call that decodes block by block, in the order of the blocks.

    That is the order in which this package stores the blocks of compressed chunks. The kernel's
    reads of other chunks may be joined otherwise.
    """
    last: FileChunk | None = None
    run = (0, 0)
    for task in _tasks_by_block(parts):
        for chunk, uses in groupby(task, itemgetter(0)):
            if chunk is not last:
                yield from chunk.first_reads
                run = (0, 0)
            last = chunk
            if not chunk.has_blocks:
                continue
            (starts, stops), numbers = chunk.edges, [number for _, number in uses]
            for at, number in enumerate(numbers):
                start, stop = starts[number], stops[number]
                in_memory = stop <= sum(chunk.first_reads)
                if not in_memory and not (run[0] <= start and stop <= run[1]):
                    run = start, _run_end(chunk, [numbers[at + 1 :]], start, stop)
                    yield run[1] - run[0]


def _tasks_by_block(parts: Sequence[Part]) -> Iterator[list[tuple[FileChunk, int]]]:
    """Yield the uses of blocks of each task, all uses of a block in one."""
    task: list[tuple[FileChunk, int]] = []
    for chunk, same in groupby(parts, itemgetter(0)):
        numbers = [number for _, box in same for number in chunk.blocks(box)[0]]
        if chunk.has_blocks:
            numbers.sort(key=chunk.edges[0].__getitem__)
        for number, uses in groupby(numbers):
            if len(task) >= _TASK_BYTES // chunk.grid.blocksize + 1:
                yield task
                task = []
            task += [(chunk, number) for _ in uses]
    yield task
