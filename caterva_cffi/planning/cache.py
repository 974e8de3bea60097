"""Layouts of stored objects, kept for the next read of the same object.

They are never used without a check. Where the storage tells whether an object changed (a file's
inode, size and times), that is compared. Elsewhere the same bytes are asked for again, together
with the blocks that they point to. That takes one round of requests instead of two. If the bytes
differ, all is read anew.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from caterva_cffi.errors import wrong_value
from caterva_cffi.planning.frame import Heads
from caterva_cffi.planning.layout import Chunks
from caterva_cffi.steps import Asked, Range, Steps, Work

__all__ = [
    "Cache",
    "ChangedError",
    "Known",
    "asking_again",
    "get_cache_size",
    "recording",
    "set_cache_size",
    "shared",
]

_T = TypeVar("_T")

_OVERHEAD = 2048
"""Bytes that the Python objects of an entry take."""


@dataclass(frozen=True)
class Known:
    """What is known of a frame.

    Attributes
    ----------
    layout : Chunks
    evidence : dict of Range to bytes
        The bytes from which the layout was parsed.
    heads : Heads
        The heads of its chunks.
    """

    layout: Chunks
    evidence: dict[Range, bytes]
    heads: Heads

    @property
    def nbytes(self) -> int:
        """About how many bytes it takes to keep this."""
        read = sum(map(len, self.evidence.values())) + self.heads.nbytes
        return _OVERHEAD + read + self.layout.offsets.nbytes


class Cache:
    """What is known of objects; the ones that were used last are kept.

    After a fork the child begins with nothing: another thread may have been changing the cache.

    Parameters
    ----------
    nbytes : int
        The most bytes to keep.
    """

    def __init__(self, nbytes: int) -> None:
        self._most = nbytes
        self._clear()
        _caches.add(self)

    def _clear(self) -> None:
        self._lock = threading.RLock()
        self._is_used = False
        self._used = 0
        self._entries: OrderedDict[Hashable, tuple[Hashable, Known, int]] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """The most bytes to keep."""
        return self._most

    def resize(self, nbytes: int) -> None:
        """Set the most bytes to keep."""
        self._most = nbytes
        with self._use() as is_free:
            if is_free:
                self._shrink()

    @contextmanager
    def _use(self) -> Iterator[bool]:
        """Hold off other threads; give False in a signal's handler that interrupts a use."""
        with self._lock:
            is_free, self._is_used = not self._is_used, True
            try:
                yield is_free
            finally:
                self._is_used = not is_free

    def get(self, key: Hashable, version: Hashable) -> Known | None:
        """Return what is known of an object, if its version is still the same.

        Parameters
        ----------
        key : hashable
            The object's name.
        version : hashable or None
            Differs once the object has changed. None if nothing tells a change.
        """
        with self._lock:
            if self._is_used:  # see `_use`, of which each small read would pay the calls
                return None
            entry = self._entries.get(key)
            if entry is None or entry[0] != version:
                return None
            self._is_used = True
            try:
                self._entries.move_to_end(key)
            finally:
                self._is_used = False
            return entry[1]

    def put(self, key: Hashable, version: Hashable, known: Known) -> None:
        """Keep what is known of an object; see `get`."""
        with self._use() as is_free:
            if is_free:
                self._drop(key)
                size = known.nbytes
                self._entries[key] = (version, known, size)
                self._used += size
                self._shrink()

    def drop(self, key: Hashable) -> None:
        """Forget an object."""
        with self._use() as is_free:
            if is_free:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._used -= entry[2]

    def _shrink(self) -> None:
        while self._used > self._most:
            self._drop(next(iter(self._entries)))


_caches: WeakSet[Cache] = WeakSet()


def _clear_all() -> None:
    for cache in _caches:
        cache._clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clear_all)

shared = Cache(16 << 20)
"""The cache of all Zarr arrays of this process."""


def get_cache_size() -> int:
    """Return how many bytes of the beginnings of Zarr chunks are kept at most."""
    return shared.nbytes


def set_cache_size(nbytes: int) -> int:
    """Set how many bytes of the beginnings of Zarr chunks are kept at most.

    Parameters
    ----------
    nbytes : int
        0 keeps nothing.

    Returns
    -------
    int
        The number before.

    Raises
    ------
    ArgumentError
    """
    if isinstance(nbytes, bool) or not isinstance(nbytes, int) or nbytes < 0:
        raise wrong_value("nbytes", nbytes, "the bytes of the cache, at least 0")
    before = shared.nbytes
    shared.resize(nbytes)
    return before


def recording(steps: Steps[_T], seen: dict[Range, bytes]) -> Steps[_T]:
    """Run steps, and keep copies of the bytes that they read."""
    try:
        ranges = next(steps)
        while True:
            data = [bytes(each) for each in (yield ranges)]
            seen.update(zip(ranges, data, strict=True))
            ranges = steps.send(data)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


class ChangedError(Exception):
    """What the cache knew of an object is not true any more."""


def asking_again(
    steps: Generator[Asked, Any, _T], unsure: dict[Range, bytes]
) -> Generator[Asked, Any, _T]:
    """Run steps, and read again the cached bytes that they rely on, along with what they ask for.

    Parameters
    ----------
    steps : generator
    unsure : dict of Range to bytes
        The cached bytes; the steps may add some.

    Raises
    ------
    ChangedError
        If other bytes are there, or if anything failed before all of them were read again.
    """
    try:
        asked = next(steps)
        while True:
            if isinstance(asked, Work):
                asked = steps.send((yield asked))
                continue
            believed = dict(unsure)
            answer = yield [*asked, *believed]
            _compare(believed, answer[len(asked) :])
            for range_ in believed:
                del unsure[range_]
            asked = steps.send(answer[: len(asked)])
    except StopIteration as stop:
        if unsure:
            _compare(unsure, (yield list(unsure)))
        return stop.value  # type: ignore[no-any-return]
    except Exception as error:
        # If the object became shorter, a range may be gone: that is a change too.
        raise ChangedError from error


def _compare(believed: dict[Range, bytes], data: Sequence[bytes | memoryview]) -> None:
    if any(found != known for found, known in zip(data, believed.values(), strict=True)):
        raise ChangedError
