"""Ranges of local files, read at their positions."""

from __future__ import annotations

import os

import numpy as np

from caterva_cffi import memory_pool
from caterva_cffi.steps import Range

__all__ = ["open_to_read", "read_ranges"]


_FLAGS: int = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def open_to_read(path: str) -> int:
    """Return a descriptor of a file; the caller closes it.

    The path may lead to something that is no regular file. A pipe is opened without waiting for its
    writer.

    Raises
    ------
    OSError
    """
    return os.open(path, os.O_RDONLY | _FLAGS)


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
