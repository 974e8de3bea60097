"""Which bytes of a frame to read, in which order. Nothing here does input or output.

Reading is a generator of *steps*: it yields ranges of bytes, is sent what they hold, and returns
what was wanted. Whoever runs it reads from memory, from a file or from a store, at once or
asynchronously; all of them share the planning.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, TypeAlias, TypeVar

from caterva_cffi.errors import FormatError
from caterva_cffi.grid import Grid
from caterva_cffi.kernel import Kernel
from caterva_cffi.policy import ReadPolicy
from caterva_cffi.selection import Box, spans

__all__ = [
    "HEADER",
    "WHOLE",
    "MissingError",
    "Part",
    "Range",
    "Steps",
    "by_chunk",
    "chunk_steps",
    "cut",
    "exactly",
    "run",
    "run_async",
    "together",
    "touched_share",
]

HEADER = 32
"""Bytes of a chunk's header."""


class MissingError(KeyError):
    """There is no such object: what the answer to steps raises."""


_OFFSET = 4
_FLAGS, _PLAIN = 2, 0x02

Range: TypeAlias = tuple[int, int]
"""First byte, and the first one behind."""

WHOLE: Range = (0, sys.maxsize)
"""All of an object, however long it is."""

Part: TypeAlias = tuple[int, bytes | memoryview]
"""Where bytes of a chunk begin, and the bytes."""

_T = TypeVar("_T")
_K = TypeVar("_K")
_A = TypeVar("_A")

Steps: TypeAlias = Generator[list[Range], Sequence[bytes | memoryview], _T]
"""Yields ranges and is sent their bytes, of which some lack only where the object ends."""


def run(steps: Generator[_A, Any, _T], answer: Callable[[_A], Any]) -> _T:
    """Run steps to their result, giving them the answers to what they ask for, or its error."""
    try:
        asked = next(steps)
        while True:
            try:
                got = answer(asked)
            except BaseException as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(got)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run_async(steps: Generator[_A, Any, _T], answer: Callable[[_A], Awaitable[Any]]) -> _T:
    """Run steps to their result, awaiting the answers to what they ask for; see `run`."""
    try:
        asked = next(steps)
        while True:
            try:
                got = await answer(asked)
            except BaseException as error:
                asked = steps.throw(error)
            else:
                asked = steps.send(got)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def together(many: dict[_K, Steps[_T]]) -> Steps[dict[_K, _T]]:
    """Run several steps side by side, so that each round asks for the ranges of all."""
    results: dict[_K, _T] = {}
    asked: dict[_K, list[Range]] = {}

    def advance(key: _K, data: Sequence[bytes | memoryview] | None) -> None:
        try:
            # `send(None)` begins.
            asked[key] = many[key].send(data)  # type: ignore[arg-type]
        except StopIteration as stop:
            asked.pop(key, None)
            results[key] = stop.value

    for key in many:
        advance(key, None)
    while asked:
        got = iter((yield [part for ranges in asked.values() for part in ranges]))
        for key, ranges in list(asked.items()):
            advance(key, [next(got) for _ in ranges])
    return results


def exactly(data: bytes | memoryview, part: Range, what: str) -> bytes | memoryview:
    """Return what a range holds, if that is all of it.

    Raises
    ------
    FormatError
        For fewer bytes, or more.
    """
    if len(data) != part[1] - part[0]:
        raise FormatError(
            f"{len(data)} bytes where {part[1] - part[0]} were expected, "
            f"from byte {part[0]} to {part[1]}: {what} is cut off, or was changed meanwhile"
        )
    return data


def cut(grid: Grid, box: Box) -> Iterator[tuple[int, Box, tuple[int, ...]]]:
    """Cut a box of an array into boxes of its chunks.

    Yields
    ------
    number : int
        Which chunk it is.
    part : Box
        In items of the chunk.
    position : tuple of int
        Where the part's first item is among those of the box.
    """
    for places in product(*map(spans, *box, grid.chunks)):
        at, start, count, position = zip(*places, strict=True) if places else ((),) * 4
        yield grid.chunk_number(at), (start, count, box[2]), position


def by_chunk(grid: Grid, boxes: Iterable[Box]) -> dict[int, list[Box]]:
    """Cut boxes of an array into boxes of its chunks, by the chunks' numbers."""
    parts: dict[int, list[Box]] = {}
    for box in boxes:
        for number, part, _ in cut(grid, box):
            parts.setdefault(number, []).append(part)
    return parts


def touched_share(grid: Grid, boxes: Iterable[Box]) -> float:
    """Return about which share of an array's blocks boxes have items in; at most 1."""
    touched, shape = 0, grid.shape
    for box in boxes:
        n = 1
        for start, count, step, block in zip(*box, grid.blocks, strict=True):
            span = (start + (count - 1) * step) // block - start // block + 1
            n *= max(min(span, count), 0)
        touched += n
    blocks = (-(-length // block) for length, block in zip(shape, grid.blocks, strict=True))
    return min(touched / max(math.prod(blocks), 1), 1.0)


def chunk_steps(
    kernel: Kernel,
    number: int,
    where: Range,
    head: bytes | memoryview,
    boxes: Sequence[Box],
    policy: ReadPolicy,
    may_change: bool = False,
) -> Steps[list[Part]]:
    """Read what boxes of a chunk need: first where its blocks are, then the blocks.

    Parameters
    ----------
    kernel : Kernel
    number : int
        Which chunk it is, for errors.
    where : Range
        Where the chunk begins, and what its end cannot be behind.
    head : bytes
        The chunk's first bytes, as many as are known.
    boxes : sequence of Box
        In items of the chunk.
    policy : ReadPolicy
    may_change : bool
        Whether the chunk may be replaced while it is read. Compressed blocks show that: they end
        where their streams do. Blocks that are stored as they are show nothing, so that the chunk's
        beginning is read once more beside them.

    Returns
    -------
    list of Part
        The first one holds header, block offsets and dictionary.

    Raises
    ------
    FormatError
        For a chunk that is damaged, or that reaches behind its end.
    """
    base, end = where
    what = f"chunk {number}"
    usual = min(kernel.head, end - base)
    if len(head) < usual:
        part = (base + len(head), base + usual)
        [more] = yield [part]
        head = bytes(head) + exactly(more, part, what)
    while True:
        need, ranges = kernel.plan(number, head, boxes, policy.gap)
        if base + need > end or (ranges and base + ranges[-1][1] > end):
            reach = max(need, ranges[-1][1] if ranges else 0)
            raise FormatError(f"{what} reaches byte {base + reach}; its place ends at {end}")
        if need <= len(head):
            break
        part = (base + len(head), base + need)
        [more] = yield [part]
        head = bytes(head) + exactly(more, part, what)
    if not ranges:
        return [(0, head[:need])]
    cbytes = int.from_bytes(head[12:16], "little")
    if sum(stop - start for start, stop in ranges) > policy.whole * (cbytes - need):
        ranges = [(need, min(cbytes, end - base))]
    parts: list[Part] = [(0, head[:need])]
    known = len(head)
    parts += [(start, head[start:stop]) for start, stop in ranges if stop <= known]
    ranges = [part for part in ranges if part[1] > known]
    if ranges:
        # Reading a few known bytes again costs less than joining, if it is not more than all.
        again = known + sum(stop - start for start, stop in ranges) <= cbytes
        asked = [(start if again else max(start, known), stop) for start, stop in ranges]
        unsure = may_change and bool(head[_FLAGS] & _PLAIN)
        places = [(base + start, base + stop) for start, stop in asked]
        got = yield [*places, (base, base + need)] if unsure else places
        if unsure and bytes(got[-1]) != head[:need]:
            raise FormatError(f"{what} was changed meanwhile")
        for (start, _), (first, stop), data in zip(ranges, asked, got, strict=False):
            data = exactly(data, (base + first, base + stop), what)
            parts.append((start, data if first == start else bytes(head[start:]) + data))
    return parts
