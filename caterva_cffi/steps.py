"""Reading as steps: generators that ask for ranges of bytes, and that anybody can run.

Such a generator yields ranges, is sent their bytes, and returns its result. Whoever runs it reads
from memory, from a file or from a store, synchronously or asynchronously. So all of them share the
planning.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from caterva_cffi.errors import Cause, FormatError

__all__ = [
    "WHOLE",
    "Asked",
    "ChunkBytes",
    "MissingError",
    "Range",
    "Steps",
    "Work",
    "exactly",
    "run",
    "run_async",
    "together",
]


_T = TypeVar("_T")


_K = TypeVar("_K")


_A = TypeVar("_A")


Range: TypeAlias = tuple[int, int]
"""First byte, and the first one behind."""


WHOLE: Range = (0, sys.maxsize)
"""All of an object, however long it is."""


ChunkBytes: TypeAlias = tuple[int, bytes | memoryview]
"""Some bytes of a chunk: their start in the chunk, and the bytes."""


Steps: TypeAlias = Generator[list[Range], Sequence[bytes | memoryview], _T]
"""Yields ranges and is sent their bytes: fewer than asked for only where the object ends."""


@dataclass(frozen=True)
class Work:
    """Work that steps leave to whoever runs them, best done in a thread of its own.

    Attributes
    ----------
    nbytes : int
        Bytes that it reads and writes.
    action : callable
        Gives the result.
    """

    nbytes: int
    action: Callable[[], Any]


Asked: TypeAlias = list[Range] | Work
"""What steps that also decode ask for: ranges of an object, or the result of work."""


class MissingError(KeyError):
    """There is no such object: raised by whoever answers steps."""


def run(steps: Generator[_A, Any, _T], answer: Callable[[_A], Any]) -> _T:
    """Run steps to their result; send them answers, or throw the error of an answer into them."""
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
    """Run steps to their result, and await the answers; see `run`."""
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
    if len(many) == 1:
        [(only, steps)] = many.items()
        return {only: (yield from steps)}
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
        got = iter((yield [range_ for ranges in asked.values() for range_ in ranges]))
        for key, ranges in list(asked.items()):
            advance(key, [next(got) for _ in ranges])
    return results


def exactly(data: bytes | memoryview, range_: Range, what: str) -> bytes | memoryview:
    """Return the bytes of a range, if there are as many as its length.

    Raises
    ------
    FormatError
        For fewer bytes, or more.
    """
    if len(data) != range_[1] - range_[0]:
        raise FormatError(
            f"{len(data)} bytes where {range_[1] - range_[0]} were expected, "
            f"from byte {range_[0]} to {range_[1]}: {what} is cut off, or was changed meanwhile",
            Cause("cut-off", None, len(data), range_[1] - range_[0]),
        )
    return data
