"""Reads that are only counted: the planner runs as ever, but of chunks only the heads are read.

Heads are read first. Then the steps of the real read run on a hollow object, which has these bytes
where they are stored, and zeros elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.binding.library import lib
from caterva_cffi.costs.hollow import Hollow
from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.groups import Groups
from caterva_cffi.engine.many_chunks import ManyChunks
from caterva_cffi.engine.objects import ObjectRead
from caterva_cffi.errors import UnsupportedError
from caterva_cffi.format.chunk_header import (
    HEADER,
    SPECIALS,
    filters_of,
    is_plain,
    sizes_of,
    special_of,
)
from caterva_cffi.geometry.cutting import blocks_in, distinct_blocks
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.cache import recording
from caterva_cffi.planning.foreign import Foreign
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import Layout
from caterva_cffi.steps import Asked, MissingError, Range, Steps, Work, run

__all__ = [
    "Begin",
    "Merge",
    "Tally",
    "dry_steps",
    "frame_steps",
    "hollow_steps",
    "object_steps",
    "tally_frame",
]

Begin: TypeAlias = Callable[[], Iterable[Batch]]
"""Cuts a selection into batches, as often as it is called."""

Merge: TypeAlias = Callable[[Sequence[Range]], Sequence[Range]]
"""Gives the requests that are made for ranges."""


@dataclass
class Tally:
    """What a read costs, as far as it was counted.

    Attributes
    ----------
    chunks : set
        Those in which items are wanted, by any names.
    nblocks, ndecoded : int
        Blocks that are decoded, and the items in them.
    requests, nbytes : int
        Reads of files or requests to stores, and the bytes that these give.
    rounds : int
        Requests of one round do not wait for each other.
    held : int
        The most compressed bytes that are in memory at a time.
    boxes : int
        The most bytes of items that wait beside the result, to be put into it.
    blocks : tuple of int or None
        Shape of the blocks, where chunks of others have their own.
    """

    chunks: set[Hashable] = field(default_factory=set)
    nblocks: int = 0
    ndecoded: int = 0
    requests: int = 0
    nbytes: int = 0
    rounds: int = 0
    held: int = 0
    boxes: int = 0
    blocks: tuple[int, ...] | None = None

    def decode(self, grid: Grid, boxes: Sequence[Box], head: bytes | memoryview | None) -> None:
        """Count the blocks that are decoded for boxes of a chunk, whose head may be known."""
        if len(boxes) == 1:
            count = blocks_in(boxes[0], grid.blocks)
        else:  # each block is decoded once
            count = len(distinct_blocks(grid, boxes))
        if head is not None:
            if special_of(head):
                return
            if not is_plain(head) and (
                sizes_of(head)[1] != grid.blocksize or lib.BLOSC_DELTA in filters_of(head)
            ):
                count = grid.nblocks  # none can be decoded alone
        self.nblocks += count
        self.ndecoded += count * (grid.blocksize // grid.itemsize)

    def decode_foreign(
        self, layout: Foreign, boxes: Sequence[Box], head: bytes | memoryview
    ) -> None:
        """Count the blocks that are decoded for boxes of a chunk of others, each of them once."""
        self.blocks = self.blocks or layout.seen_blocks
        if special_of(head):
            return
        grid = layout.grid
        numbers = distinct_blocks(grid, boxes)
        if lib.BLOSC_DELTA in filters_of(head) and not is_plain(head):
            numbers = np.arange(grid.nblocks)
        self.nblocks += len(numbers)
        nbytes = len(numbers) * grid.blocksize
        if grid.cut and grid.nblocks - 1 in numbers:
            nbytes -= -grid.chunksize % grid.blocksize
        self.ndecoded += nbytes // layout.items.itemsize

    def ask(self, sizes: Sequence[int]) -> None:
        """Count the requests of a round, by the bytes that they give."""
        self.rounds += bool(sizes)
        self.requests += len(sizes)
        self.nbytes += sum(sizes)

    def add(self, others: Iterable[Tally]) -> None:
        """Count reads that are made side by side, after those that were counted before."""
        some = list(others)
        for other in some:
            self.chunks |= other.chunks
            self.nblocks += other.nblocks
            self.ndecoded += other.ndecoded
            self.blocks = self.blocks or other.blocks
            self.requests += other.requests
            self.nbytes += other.nbytes
        self.rounds += max((other.rounds for other in some), default=0)
        self.held = max(self.held, sum(other.held for other in some))


class _Heads(NamedTuple):
    """The heads of chunks, by where they are stored: those that were read, and assumed ones."""

    known: dict[Range, bytes]
    assumed: dict[Range, bytes]


def frame_steps(tally: Tally, frame: Frame, begin: Begin, name: Hashable = None) -> Steps[_Heads]:
    """Read the heads of chunks in which items are wanted, and count chunks and blocks.

    Small chunks are read whole, whatever their heads say: any heads are assumed for them.
    """
    found = _Heads({}, {})
    layout = frame.layout
    for group in groups(frame, begin()):
        wanted = _wanted(group)
        tally.chunks.update((name, number) for number in wanted)
        if isinstance(group, ManyChunks):
            for number, boxes in wanted.items():
                if layout.offsets[number] >= 0:
                    tally.decode(layout.grid, boxes, None)
                    start, _ = layout.range_of(number)
                    found.assumed[start, start + HEADER] = layout.special_chunk(SPECIALS[0])
            continue
        heads = yield from frame.head_steps(wanted)
        for number, head in heads.items():
            if isinstance(layout, Foreign):
                tally.decode_foreign(layout, wanted[number], head)
            else:
                tally.decode(layout.grid, wanted[number], head)
            if layout.offsets[number] >= 0:
                start, _ = layout.range_of(number)
                found.known[start, start + len(head)] = bytes(head)
    return found


def _wanted(group: Groups) -> dict[int, list[Box]]:
    wanted: dict[int, list[Box]] = {}
    for number, box in group.boxes:
        wanted.setdefault(number, []).append(box)
    return wanted


def tally_frame(
    tally: Tally,
    frame: Frame,
    begin: Begin,
    fetch: Callable[[list[Range]], Any],
    merge: Merge,
) -> None:
    """Count what reading batches of a frame by steps costs.

    Parameters
    ----------
    tally : Tally
    frame : Frame
        Its heads are those that the read would know; more are added.
    begin : Begin
    fetch : callable
        Gives the bytes of ranges.
    merge : Merge
    """
    before = 0
    bare = replace(frame, heads=None)
    hollow = Hollow(frame.layout.chunks_end, *run(frame_steps(tally, bare, begin), fetch))

    def answer(ranges: list[Range]) -> list[memoryview]:
        tally.ask([stop - start for start, stop in merge(ranges)])
        return list(map(hollow.read, ranges))

    for group in groups(frame, begin()):
        first = tally.nbytes
        run(group.steps(), answer)
        # While a group is decoded, the next one is read.
        tally.held, before = max(tally.held, before + tally.nbytes - first), tally.nbytes - first


def hollow_steps(
    read: ObjectRead[Any], key: Hashable, size: int | None = None
) -> Generator[Asked, Any, tuple[Tally, Hollow]]:
    """Read the layout and the heads of an object, count chunks and blocks; see `object_steps`.

    Parameters
    ----------
    read : ObjectRead
        Its cache is `Foretold`.
    key : hashable
    size : int, optional
        Bytes of the object; by default those of its frame.
    """
    seen: dict[Range, bytes] = {}
    layout = yield from recording(read.find(read.first, None), seen)
    read.check(layout)
    if size is None:
        if not isinstance(layout, Layout):
            raise UnsupportedError(
                "chunks that are no frames of this package cannot be explained", "cost-unknown"
            )
        size = layout.header.frame_len
    frame = Frame(layout, kernel_of(layout.grid), read.policy)
    tally = Tally()
    heads = yield from frame_steps(tally, frame, lambda: read.wanted.begin(layout)[1])
    known = read.cache.get(key, None)
    evidence = set() if known is None else known.evidence.keys()
    again = evidence - seen.keys()  # another policy may have read more of the beginning
    if again:
        ranges = sorted(again)
        seen.update(zip(ranges, map(bytes, (yield ranges)), strict=True))
    return tally, Hollow(size, {**seen, **heads.known}, heads.assumed)


def dry_steps(read: ObjectRead[Any], key: Hashable) -> Generator[list[Range], Any, None]:
    """Ask for what a read of an object asks for, and decode nothing; see `object_steps`."""
    steps = read.steps(key, None)
    answer = None
    with suppress(StopIteration):
        while True:
            asked = steps.send(answer)
            answer = None if isinstance(asked, Work) else (yield asked)


def object_steps(
    read: ObjectRead[Any], key: Hashable, merge: Merge = list
) -> Generator[Asked, Any, Tally]:
    """Count what it costs to read by steps what is wanted of an object; see `ObjectRead.steps`.

    Parameters
    ----------
    read : ObjectRead
        Its cache is `Foretold`.
    key : hashable
        The object's name in the cache of layouts.
    merge : Merge
    """
    try:
        tally, hollow = yield from hollow_steps(read, key)
    except MissingError:
        return Tally({key}, requests=1, rounds=1)

    def answer(asked: list[Range]) -> list[memoryview]:
        tally.ask([len(hollow.read(range_)) for range_ in merge(asked)])
        return list(map(hollow.read, asked))

    run(dry_steps(read, key), answer)
    tally.chunks, tally.held = {key}, tally.nbytes
    return tally
