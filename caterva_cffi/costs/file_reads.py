"""The reads of local files that the kernel makes: what `_native/stored.c` and `decode_part.c` do.

They are those of one thread. Each further one that decodes blocks of a chunk reads its head, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from itertools import groupby
from operator import itemgetter

import numpy as np

from caterva_cffi.binding.kernel import Kernel, Place, kernel_of
from caterva_cffi.costs.tally import Begin, Tally
from caterva_cffi.engine.crowds import Crowd
from caterva_cffi.engine.groups import groups
from caterva_cffi.format.chunk_header import HEADER, cbytes_of, is_plain, special_of
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.index_arrays import Batch
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning import cache
from caterva_cffi.planning.chunk import chunk_steps
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import Layout, layout_steps
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy
from caterva_cffi.steps import ChunkBytes, Range, run
from caterva_cffi.storage.positioned_reads import READ_FLAGS, read_ranges
from caterva_cffi.storage.stored import stamp_of

__all__ = ["Call", "object_in_file", "tally_file", "tally_layout"]

_RUN_BYTES, _FIRST_BYTES = 256 << 10, 16 << 10
_SLAB_BYTES, _CACHE_LINE, _PARTS, _LARGE = 512 << 10, 64, 64, 32 << 10


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

    def slab(self, row: int) -> int:
        """Return how many blocks a task decodes, for the blocks of a box along the last axis."""
        grid = self.grid
        slab = _SLAB_BYTES // grid.blocksize + 1
        if self._is_narrow:
            whole = -(-slab // row) * row
            slab = whole if whole * grid.blocksize <= 8 * _SLAB_BYTES else slab
        return slab


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
    chunk: FileChunk, cut: list[tuple[list[int], int]], at: int, run: Range
) -> Iterator[Range]:
    """Yield the runs of bytes that are read for a box; later boxes of the chunk may share them."""
    starts, stops = chunk.edges
    size, row = sum(chunk.first_reads), cut[at][1]
    numbers, slab = chunk.in_order(*cut[at]), chunk.slab(row)
    for place, number in enumerate(numbers):
        start, stop = starts[number], stops[number]
        if stop <= size or (run[0] <= start and stop <= run[1]):
            continue
        upto = min((place // slab + 1) * slab, len(numbers))
        later = [numbers[place + 1 : upto]]
        if upto == len(numbers):
            later += [following for following, _ in cut[at + 1 :]]
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


# --- frames in files ------------------------------------------------------------------------------
def chunk_in_file(frame: Frame, number: int) -> FileChunk | list[ChunkBytes]:
    """Read the head of a chunk in a file; return the chunk itself if it is one of one value.

    Raises
    ------
    FormatError, OSError
    """
    place = frame.in_file(number)
    if isinstance(place, list):
        return place
    return _with_descriptor(place, partial(_read_head, frame, number, place))


def _with_descriptor(place: Place, action: Callable[[int], FileChunk]) -> FileChunk:
    path, descriptor, *_ = place
    if path is None:
        return action(descriptor)
    descriptor = os.open(path[:-1], READ_FLAGS)
    try:
        return action(descriptor)
    finally:
        os.close(descriptor)


def _read_head(frame: Frame, number: int, place: Place, descriptor: int) -> FileChunk:
    path, _, start, stop, gap = place
    if path is not None:
        stop = min(stop, os.fstat(descriptor).st_size)
    # A gap of 0 reads no more than the head, even of a small chunk.
    policy = ReadPolicy(first=0, gap=0, whole=1)
    steps = chunk_steps(frame.kernel, number, (start, stop), b"", [], policy)
    [(_, head)] = run(steps, partial(read_ranges, descriptor))
    return FileChunk(frame.layout.grid, frame.kernel, head, stop - start, gap)


def tally_layout(tally: Tally, path: str) -> Layout:
    """Count the reads of the layout of the frame in a file, and return it."""
    with open(path, "rb", buffering=0) as file:
        return _tally_layout(tally, file.fileno(), os.fstat(file.fileno()).st_size)


def _tally_layout(tally: Tally, descriptor: int, size: int) -> Layout:
    def answer(ranges: list[Range]) -> list[bytes | memoryview]:
        found = read_ranges(descriptor, ranges)
        sizes = list(map(len, found))
        # One more read shows that a file ends there.
        short = [0 for n, (start, stop) in zip(sizes, ranges, strict=True) if 0 < n < stop - start]
        tally.ask(sizes + short)
        return found

    return run(layout_steps(get_read_policy("local").first, size), answer)


@contextmanager
def object_in_file(tally: Tally, path: str, key: Hashable) -> Iterator[Frame]:
    """Open the frame in a file that anybody may replace; count the reads of what is not known.

    Raises
    ------
    FormatError, UnsupportedError, OSError
    """
    descriptor = os.open(path, READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        known = cache.shared.get(key, stamp_of(status))
        size = status.st_size
        layout = _tally_layout(tally, descriptor, size) if known is None else known.layout
        yield Frame(layout, kernel_of(layout.grid), get_read_policy("local"), files=descriptor)
    finally:
        os.close(descriptor)


def tally_file(tally: Tally, frame: Frame, begin: Begin, name: Hashable = None) -> None:
    """Count what it costs to read batches of a frame in a file, whose layout is known.

    Raises
    ------
    FormatError, OSError
    """
    for group in groups(frame, begin()):
        if not isinstance(group, Crowd):
            boxes = list(group.boxes)
            tally.chunks.update((name, number) for number, _ in boxes)
            call = Call(tally)
            call.add(frame, boxes)
            call.end()
            continue
        for number, box in group.boxes:
            tally.chunks.add((name, number))
            if frame.layout.offsets[number] >= 0:
                tally.decode(frame.layout.grid, [box], None)
        tally.ask([stop - start for start, stop in next(group.steps(), [])])
    tally.rounds = 0


def boxes_of_frame(frame: Frame, batches: Iterable[Batch]) -> Iterator[tuple[int, Box]]:
    """Yield the boxes of a frame's chunks that batches are read from, with the chunks' numbers."""
    for batch in batches:
        for box, dest in batch.boxes:
            if dest.size:
                yield from ((number, part) for number, part, _ in cut(frame.layout.grid, box))


class Call:
    """One call of the kernel, which decodes boxes of chunks in files, and is only counted.

    Parameters
    ----------
    tally : Tally
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._parts: dict[Kernel, list[tuple[int, Part]]] = {}

    def add(self, frame: Frame, boxes: Iterable[tuple[int, Box]]) -> None:
        """Add boxes of chunks of a frame.

        Raises
        ------
        FormatError, OSError
        """
        chunks: dict[int, FileChunk | list[ChunkBytes]] = {}
        for number, box in boxes:
            if number not in chunks:
                chunks[number] = chunk_in_file(frame, number)
            chunk = chunks[number]
            if isinstance(chunk, FileChunk):
                self._tally.decode(frame.layout.grid, [box], chunk.head)
                self._parts.setdefault(frame.kernel, []).append((number, (chunk, box)))

    def end(self) -> None:
        """Count the reads."""
        for parts in self._parts.values():
            parts.sort(key=itemgetter(0))
            reads = list(kernel_reads([part for _, part in parts]))
            self._tally.ask(reads)
            self._tally.held = max(self._tally.held, max(reads, default=0))
        self._parts, self._tally.rounds = {}, 0
