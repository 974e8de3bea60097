"""Ranges of local files, read at their positions."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from caterva_cffi import memory_pool
from caterva_cffi.steps import Asked, Range, Work, run

__all__ = ["READ_FLAGS", "read_ranges", "read_twice"]

_T = TypeVar("_T")

READ_FLAGS: int = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""For `os.open`. A path may lead to a pipe, which is opened without waiting for its writer."""


def read_ranges(descriptor: int, ranges: list[Range]) -> list[bytes | memoryview]:
    """Read ranges of a file; where the file ends, a range lacks bytes."""
    return [_read_at(descriptor, start, stop - start) for start, stop in ranges]


def _read_at(descriptor: int, position: int, size: int) -> bytes | memoryview:
    """Return bytes of a file; fewer only where the file ends."""
    if size >= memory_pool.LEAST and hasattr(os, "preadv"):
        return _read_into(memory_pool.empty((size,), np.uint8).data, descriptor, position)
    data = os.pread(descriptor, size, position)
    while 0 < len(data) < size:
        more = os.pread(descriptor, size - len(data), position + len(data))
        if not more:
            break
        data += more
    return data


def _read_into(dest: memoryview, descriptor: int, position: int) -> memoryview:
    """Fill memory with bytes of a file; return the part that was filled."""
    done = 0
    while done < len(dest):
        count = os.preadv(descriptor, [dest[done:]], position + done)
        if not count:
            break
        done += count
    return dest[:done]


def read_twice(descriptor: int, steps: Generator[Asked, Any, _T]) -> tuple[_T, bool]:
    """Run steps on a file whose times may stand still.

    Returns
    -------
    result : object
    changed : bool
        Whether the file was changed meanwhile: what was read is read once more, and compared.
    """
    seen: list[Range] = []
    sums: list[int] = []

    def answer(asked: Asked) -> Any:
        if isinstance(asked, Work):
            return asked.action()
        found = read_ranges(descriptor, asked)
        seen.extend(asked)
        sums.extend(map(crc32, found))
        return found

    result = run(steps, answer)
    # Read all ranges once more: if their bytes are equal, they were there in between, too.
    changed = len(seen) > 1 and any(
        crc32(data) != before
        for range_, before in zip(seen, sums, strict=True)
        for data in read_ranges(descriptor, [range_])
    )
    return result, changed
