"""Ranges of local files, read at their positions."""

from __future__ import annotations

import os

import numpy as np

from caterva_cffi import memory_pool
from caterva_cffi.steps import Range

__all__ = ["READ_FLAGS", "read_ranges"]

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
