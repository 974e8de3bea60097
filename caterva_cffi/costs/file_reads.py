"""What it costs to read frames in local files: heads are read, and the kernel's reads foretold."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import itemgetter

from caterva_cffi.binding.decoding import Place
from caterva_cffi.binding.kernel import Kernel, kernel_of
from caterva_cffi.costs.foretold import Foretold
from caterva_cffi.costs.kernel_reads import FileChunk, Part, kernel_reads, reads_by_block
from caterva_cffi.costs.tally import Begin, Tally
from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.many_chunks import ManyChunks
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.cache import Known
from caterva_cffi.planning.chunk import chunk_steps
from caterva_cffi.planning.frame import Frame, Heads
from caterva_cffi.planning.layout import Layout, layout_steps
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy
from caterva_cffi.steps import ChunkBytes, Range, run
from caterva_cffi.storage.positioned_reads import READ_FLAGS, read_ranges
from caterva_cffi.storage.stored import settled_version_of

__all__ = ["Call", "object_in_file", "tally_file", "tally_layout"]


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
def object_in_file(tally: Tally, path: str, key: Hashable, cache: Foretold) -> Iterator[Frame]:
    """Open the frame in a file that anybody may replace; count the reads of what is not known.

    Parameters
    ----------
    tally : Tally
    path : str
    key : hashable
        The file's name in the cache of layouts.
    cache : Foretold
        What is known; the layout is added.

    Raises
    ------
    FormatError, UnsupportedError, OSError
    """
    descriptor = os.open(path, READ_FLAGS)
    try:
        status = os.fstat(descriptor)
        version = settled_version_of(status)
        known = cache.get(key, version)
        if known is None:
            read = _tally_layout(tally, descriptor, status.st_size)
            known = Known(read, {}, Heads(0))
            cache.put(key, version, known)
        layout = known.layout
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
        if not isinstance(group, ManyChunks):
            boxes = list(group.boxes)
            tally.chunks.update((name, number) for number, _ in boxes)
            call = Call(tally, by_block=getattr(group, "by_block", True))
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
    by_block : bool
        See `Batch`.
    """

    def __init__(self, tally: Tally, *, by_block: bool = False) -> None:
        self._tally = tally
        self._reads = reads_by_block if by_block else kernel_reads
        self._parts: dict[Kernel, list[tuple[int, Part]]] = {}

    def add(self, frame: Frame, boxes: Iterable[tuple[int, Box]]) -> None:
        """Add boxes of chunks of a frame.

        Raises
        ------
        FormatError, OSError
        """
        wanted: dict[int, list[Box]] = {}
        for number, box in boxes:
            wanted.setdefault(number, []).append(box)
        for number, mine in wanted.items():
            chunk = chunk_in_file(frame, number)
            if isinstance(chunk, FileChunk):
                self._tally.decode(frame.layout.grid, mine, chunk.head)
                parts = self._parts.setdefault(frame.kernel, [])
                parts.extend((number, (chunk, box)) for box in mine)

    def end(self) -> None:
        """Count the reads."""
        for parts in self._parts.values():
            parts.sort(key=itemgetter(0))
            reads = list(self._reads([part for _, part in parts]))
            self._tally.ask(reads)
            self._tally.held = max(self._tally.held, max(reads, default=0))
        self._parts, self._tally.rounds = {}, 0
