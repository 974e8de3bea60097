"""Work of an event loop in threads beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakKeyDictionary

__all__ = ["in_thread"]

_T = TypeVar("_T")

_SMALL = 64 * 1024
"""Bytes that take less time than the way to a thread and back."""

_LARGE = 4 << 20
"""Bytes on which one call keeps all processors busy. Several such calls at a time would only hold
more memory, and fight for its pages."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def in_thread(nbytes: int, work: Callable[[], _T], *, waits: bool = False) -> _T:
    """Do work without holding up the event loop.

    Parameters
    ----------
    nbytes : int
        Bytes to encode or decode: little is done at once, much in turns.
    work : callable
    waits : bool
        Whether it also waits for a file, which may be slow.
    """
    if nbytes <= _SMALL and not waits:
        return work()
    if nbytes < _LARGE:
        return await asyncio.to_thread(work)
    turn = _turns.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(1))
    async with turn:
        return await asyncio.to_thread(work)
