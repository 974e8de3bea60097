"""Large memory that is used again.

The system clears each page that it gives, and gets a large array's pages back as soon as that is
freed: to clear them takes a third of the time in which large chunks are read and decoded one after
the other. Memory that is idle here is the system's to take back whenever it is short of it.
"""

from __future__ import annotations

import math
import mmap
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import allocate

__all__ = ["LEAST", "empty"]

LEAST = 4 << 20
"""Bytes; the allocator itself keeps less than that."""

_MOST = 64 << 20

_idle: deque[mmap.mmap] = deque(maxlen=4)
"""What nobody uses. Its methods are atomic: arrays may be freed by any thread, at any time."""

_may_be_kept = hasattr(mmap, "MADV_FREE")


def empty(shape: Sequence[int], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of undefined items, as `numpy.empty` does.

    Parameters
    ----------
    shape : sequence of int
    dtype : dtype
        Without Python objects.
    """
    dtype = np.dtype(dtype)
    nbytes = math.prod(shape) * dtype.itemsize
    if not LEAST <= nbytes <= _MOST or not _may_be_kept:
        return allocate(shape, dtype)
    memory = _take(nbytes) or _map(nbytes)
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, memory)  # the base of all its views
    finalize(array, _give, memory).atexit = False
    return array


def _take(nbytes: int) -> mmap.mmap | None:
    for _ in range(len(_idle)):
        try:
            memory = _idle.popleft()
        except IndexError:  # other threads were quicker
            break
        if nbytes <= len(memory) <= 2 * nbytes:
            return memory
        _idle.append(memory)
    return None


def _map(nbytes: int) -> mmap.mmap:
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # of systems without them
            memory.madvise(mmap.MADV_HUGEPAGE)  # as NumPy does
    return memory


def _give(memory: mmap.mmap) -> None:
    with suppress(OSError):  # systems that do not know it get the memory back
        memory.madvise(mmap.MADV_FREE)
        _idle.append(memory)
