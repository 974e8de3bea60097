"""Large memory that is used again.

The system clears each page that it gives, and takes the pages of a large array back when the array
is freed. When large chunks are read and decoded one after the other, that takes a third of the
time. So memory is kept here for the next array. The system may take it back whenever it is short.
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

__all__ = ["LEAST", "empty"]

LEAST = 4 << 20
"""The fewest bytes to keep; smaller memory is kept by the allocator itself."""

_MOST = 260 << 20
"""The most bytes to keep, in one array or in several: four chunks of 64 MiB, and what frames have
around them."""

_idle: deque[mmap.mmap] = deque(maxlen=4)
"""Memory that nobody uses. A deque is atomic: any thread may free an array at any time."""

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
        return np.ndarray(shape, dtype)  # not `numpy.empty`; see `dtypes.allocate`
    memory = _take(nbytes) or _map(nbytes)
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, memory)  # all views keep it alive
    finalize(array, _give, memory).atexit = False
    return array


def _take(nbytes: int) -> mmap.mmap | None:
    for _ in range(len(_idle)):
        try:
            memory = _idle.popleft()
        except IndexError:  # another thread took it
            break
        if nbytes <= len(memory) <= 2 * nbytes:
            return memory
        _idle.append(memory)
    return None


def _map(nbytes: int) -> mmap.mmap:
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # some systems have none
            memory.madvise(mmap.MADV_HUGEPAGE)  # as NumPy does
    return memory


def _give(memory: mmap.mmap) -> None:
    with suppress(OSError):  # if a system does not know MADV_FREE, the memory is freed
        memory.madvise(mmap.MADV_FREE)
        _idle.append(memory)
    with suppress(IndexError):  # if another thread took some
        while sum(map(len, tuple(_idle))) > _MOST:
            _idle.popleft()
