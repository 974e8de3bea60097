"""Work that an event loop leaves to threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

__all__ = ["in_thread"]

_T = TypeVar("_T")

_SMALL = 64 * 1024
"""Work on fewer bytes takes less time than the way to a thread and back."""

_LARGE = 4 << 20
"""On this many bytes one call keeps all processors busy. More such calls at a time would only take
more memory, and compete for its pages."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def in_thread(nbytes: int, work: Callable[[], _T], *, waits: bool = False) -> _T:
    """Do work without holding up the event loop.

    Parameters
    ----------
    nbytes : int
        Bytes to encode or decode. Few are done right here; many in a thread, in turns.
    work : callable
    waits : bool
        Whether the work also waits for a file, which may be slow.
    """
    if nbytes <= _SMALL and not waits:
        return work()
    if nbytes < _LARGE:
        return await asyncio.to_thread(work)
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(1))
    async with turn:
        return await asyncio.to_thread(work)
