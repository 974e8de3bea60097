"""A lock that many readers share and one writer has alone."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from weakref import WeakSet

from caterva_cffi.errors import BusyError

__all__ = ["ReadWriteLock"]


class _Reading:
    """The context in which a lock is read. A generator would take as long as a small read does.

    A reader first says that it reads, and then looks for writers. A writer first says that it
    waits, and then looks for readers. So if both come at once, at least one sees the other. Readers
    need no mutex for this, as long as the interpreter's lock puts the steps of threads in an order.
    """

    __slots__ = ("_lock",)

    def __init__(self, lock: ReadWriteLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        lock, me = self._lock, threading.get_ident()
        readers = lock._readers
        depth = readers[me] = readers.get(me, 0) + 1
        if (lock._queue or lock._writer is not None) and depth == 1:
            lock._read_in_turn(me)

    def __exit__(self, *exc: object) -> None:
        lock, me = self._lock, threading.get_ident()
        readers = lock._readers
        if readers.get(me, 1) > 1:  # 1: after a fork no reader is known
            readers[me] -= 1  # it must never be missing in between, or a writer would come in
            return
        readers.pop(me, None)
        if lock._queue:
            with lock._mutex:
                lock._condition.notify_all()


class _OrderedReading(_Reading):
    """The same for an interpreter without such a lock.

    Writers look for readers while they hold the mutex. A reader passes through the mutex after it
    said that it reads: either the writer has seen it by then, or it sees the writer.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        lock, me = self._lock, threading.get_ident()
        readers = lock._readers
        depth = readers[me] = readers.get(me, 0) + 1
        with lock._mutex:
            waiting = bool(lock._queue) or lock._writer is not None
        if waiting and depth == 1:
            lock._read_in_turn(me)

    def __exit__(self, *exc: object) -> None:
        lock, me = self._lock, threading.get_ident()
        readers = lock._readers
        depth = readers.get(me, 1) - 1
        if depth:
            readers[me] = depth
        else:
            readers.pop(me, None)
            with lock._mutex:
                lock._condition.notify_all()


def _is_ordered() -> bool:
    """Whether the interpreter lets only one thread run at a time."""
    is_gil_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return is_gil_enabled()


class ReadWriteLock:
    """Many readers or one writer, in the order in which they came, so that none waits for ever.

    A thread that reads may read again inside. A thread that writes may not enter again, unless it
    is in `open_to_itself`. A fork waits until other threads are done; in the child, the lock is
    free.

    A signal's handler, or the finalizer of an object, may run between any two steps of its thread,
    even inside this lock. Inside a change the package itself never asks for the lock; so whoever
    does is such a handler, and gets `BusyError`.
    """

    def __init__(self) -> None:
        self._reading = (_Reading if _is_ordered() else _OrderedReading)(self)
        self._free()
        _locks.add(self)

    def _free(self) -> None:
        self._mutex = threading.RLock()
        self._condition = threading.Condition(self._mutex)
        self._queue: deque[object] = deque()
        self._readers: dict[int, int] = {}
        self._waiting: set[int] = set()
        self._writer: int | None = None
        self._depth = 0
        self._may_read = self._may_write = False  # the writer's own thread, once more

    def _wait(self, me: int, free: Callable[[], bool], enter: Callable[[], None]) -> None:
        """Wait for this thread's turn and a free lock, then enter; an interrupt gives it up."""
        if me in self._waiting:  # a handler: its thread's own turn comes first
            raise BusyError(_BUSY)
        turn = object()
        self._waiting.add(me)
        self._queue.append(turn)
        self._condition.notify_all()  # a handler may have interrupted its thread just before this
        try:
            while self._queue[0] is not turn or not free():
                self._condition.wait()
            enter()
        finally:
            self._queue.remove(turn)
            self._waiting.discard(me)
            self._condition.notify_all()

    def _read_in_turn(self, me: int) -> None:
        """Stop reading, and read when all who came before are done."""
        if self._writer == me:
            if self._may_read:
                return
            del self._readers[me]
            raise BusyError(_BUSY)
        with self._mutex:
            del self._readers[me]
            self._condition.notify_all()
            self._wait(me, lambda: self._writer is None, lambda: self._readers.update({me: 1}))

    def _is_free(self) -> bool:
        return self._writer is None and not self._readers

    def _write(self, me: int) -> None:
        self._writer = me

    def is_read_here(self) -> bool:
        """Whether this thread reads, and so cannot write."""
        me = threading.get_ident()
        return me in self._readers and self._writer != me

    def is_changed_here(self) -> bool:
        """Whether this thread writes."""
        return self._writer == threading.get_ident()

    def is_used_here(self) -> bool:
        """Whether this thread reads or writes."""
        me = threading.get_ident()
        return me in self._readers or self._writer == me

    def reading(self) -> _Reading:
        """Hold off writers of other threads."""
        return self._reading

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold off all other threads.

        Raises
        ------
        BusyError
            If this thread reads, or writes already.
        """
        me = threading.get_ident()
        if me in self._readers:
            raise BusyError("a thread that reads an array cannot change it")
        if self._writer == me and not self._may_write:
            raise BusyError(_BUSY)
        with self._held(), self._letting(read=False, write=False):
            yield

    def open_to_itself(self, *, write: bool) -> AbstractContextManager[None]:
        """Let the thread that writes enter again, to read or also to write.

        That is for code of others that uses the array meanwhile.
        """
        return self._letting(read=True, write=write)

    @contextmanager
    def _letting(self, *, read: bool, write: bool) -> Iterator[None]:
        before = self._may_read, self._may_write
        self._may_read, self._may_write = read, write
        try:
            yield
        finally:
            self._may_read, self._may_write = before

    @contextmanager
    def _held(self) -> Iterator[None]:
        me = threading.get_ident()
        with self._condition:
            if self._writer != me:
                self._wait(me, self._is_free, lambda: self._write(me))
            self._depth += 1
        try:
            yield
        finally:
            with self._condition:
                if self._writer == me:  # else this is a child, where nobody holds it
                    self._depth -= 1
                    if not self._depth:
                        self._writer = None
                        self._condition.notify_all()


_BUSY = "the array is being used by its own thread, which a handler interrupts"

_locks: WeakSet[ReadWriteLock] = WeakSet()
_forking = threading.local()


def _all_locks() -> list[ReadWriteLock]:
    while True:
        try:
            return list(_locks)
        except RuntimeError:  # another thread made a lock meanwhile
            continue


def _before_fork() -> None:
    me = threading.get_ident()
    _forking.held = ExitStack()
    for lock in _all_locks():
        if me not in lock._waiting:  # else a handler forks while its thread waits
            reads = me in lock._readers and lock._writer != me
            _forking.held.enter_context(lock.reading() if reads else lock._held())


def _after_fork_in_parent() -> None:
    _forking.held.close()


def _after_fork_in_child() -> None:
    for lock in _all_locks():
        lock._free()
    # Generators that hold locks end here. Before, another thread could have had the mutex.
    _forking.held.pop_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
