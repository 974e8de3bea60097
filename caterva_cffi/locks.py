"""A lock that many readers share and one writer has alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ReadWriteLock"]


class ReadWriteLock:
    """Many readers or one writer; a thread that writes may read and write again inside."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._readers = 0
        self._writer: int | None = None
        self._depth = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold off writers of other threads."""
        me = threading.get_ident()
        with self._condition:
            own = self._writer == me
            if not own:
                while self._writer is not None:
                    self._condition.wait()
                self._readers += 1
        try:
            yield
        finally:
            if not own:
                with self._condition:
                    self._readers -= 1
                    if not self._readers:
                        self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold off all other threads."""
        me = threading.get_ident()
        with self._condition:
            if self._writer != me:
                while self._writer is not None or self._readers:
                    self._condition.wait()
                self._writer = me
            self._depth += 1
        try:
            yield
        finally:
            with self._condition:
                self._depth -= 1
                if not self._depth:
                    self._writer = None
                    self._condition.notify_all()
