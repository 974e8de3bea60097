"""What the beginnings of stored chunks said, kept for the next read of them.

It is never believed unseen. Where the storage tells whether an object changed (a file's inode, size
and times), that is compared. Elsewhere the same bytes are asked for again, together with the blocks
that they point to: one round of requests instead of two, and bytes that differ are read anew.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar
from weakref import WeakSet

from caterva_cffi.errors import ArgumentError, CatervaError
from caterva_cffi.steps import WHOLE, Range, Steps

__all__ = ["Cache", "Known", "get_cache_size", "remembering", "set_cache_size", "shared"]

_T = TypeVar("_T")

Known: TypeAlias = Mapping[Range, bytes]
"""Bytes of an object by where they are."""


class Cache:
    """Bytes of the beginnings of objects; those that were used last are kept.

    A process that was forked begins with nothing: another thread may have been at work.

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
        self._entries: OrderedDict[Hashable, tuple[Hashable, dict[Range, bytes]]] = OrderedDict()

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
        """Hold off other threads; give False in a handler that interrupts a use by its thread."""
        with self._lock:
            is_free, self._is_used = not self._is_used, True
            try:
                yield is_free
            finally:
                self._is_used = not is_free

    def get(self, key: Hashable, stamp: Hashable) -> Known:
        """Return what is known of an object, if its stamp is still the same."""
        with self._use() as is_free:
            entry = self._entries.get(key) if is_free else None
            if entry is None or entry[0] != stamp:
                return {}
            self._entries.move_to_end(key)
            return dict(entry[1])

    def put(self, key: Hashable, stamp: Hashable, known: Known) -> None:
        """Keep what is known of an object."""
        with self._use() as is_free:
            if is_free:
                self._drop(key)
                self._entries[key] = (stamp, dict(known))
                self._used += _size(known)
                self._shrink()

    def steps(
        self, begin: Callable[[], Steps[_T]], key: Hashable, stamp: Hashable | None
    ) -> Steps[_T]:
        """Run steps that read an object, with what is known of it.

        Parameters
        ----------
        begin : callable
            Gives the steps.
        key : hashable
            The object's name.
        stamp : hashable or None
            Is another one once the object has changed; None where nothing tells.
        """
        if not self._most:
            return begin()
        known, trusted = self.get(key, stamp), stamp is not None
        return remembering(begin, known, trusted, lambda found: self.put(key, stamp, found))

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._used -= _size(entry[1])

    def _shrink(self) -> None:
        while self._used > self._most:
            self._drop(next(iter(self._entries)))


_caches: WeakSet[Cache] = WeakSet()


def _clear_all() -> None:
    for cache in _caches:
        cache._clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clear_all)

_OVERHEAD = 512
"""Bytes of an entry beside its bytes."""


def _size(known: Known) -> int:
    return _OVERHEAD + sum(map(len, known.values()))


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
        raise ArgumentError(f"the cache's size is {nbytes!r}; expected bytes of at least 0")
    before = shared.nbytes
    shared.resize(nbytes)
    return before


def remembering(
    begin: Callable[[], Steps[_T]], known: Known, trusted: bool, keep: Callable[[Known], None]
) -> Steps[_T]:
    """Run steps, whose first ranges may be known already.

    Parameters
    ----------
    begin : callable
        Gives the steps, perhaps twice.
    known : mapping of Range to bytes
    trusted : bool
        Whether the object is known not to have changed. Otherwise all that was used of `known` is
        read again before the steps end; where it differs, they begin anew without it.
    keep : callable
        Gets what was read before the last round, which brings the blocks; nothing, where what was
        known turned out to be wrong.
    """
    steps = begin()
    seen: dict[Range, bytes] = {}
    unsure: list[Range] = []
    last: tuple[list[Range], Sequence[bytes | memoryview]] = ([], [])
    used = False
    try:
        ranges = next(steps)
        while True:
            if all(part in known for part in ranges):
                got: Sequence[bytes | memoryview] = [known[part] for part in ranges]
                seen.update((part, known[part]) for part in ranges)
                used = True
                if not trusted:
                    unsure.extend(ranges)
            else:
                seen.update((part, bytes(data)) for part, data in zip(*last, strict=True))
                try:
                    answer = yield [*ranges, *unsure]
                except Exception as error:
                    if used:  # an object that became shorter may lack what is asked for
                        break
                    ranges = steps.throw(error)
                    continue
                got, again = answer[: len(ranges)], answer[len(ranges) :]
                if not _same(known, unsure, again):
                    break
                unsure = []
                last = (ranges, got)
            ranges = steps.send(got)
    except StopIteration as stop:
        if not unsure or (yield from _is_unchanged(known, unsure)):
            seen.pop(WHOLE, None)
            keep(seen)
            return stop.value  # type: ignore[no-any-return]
    except CatervaError:
        if not unsure:
            raise
    # What is known contradicts the rest: the object is another one by now.
    keep({})
    return (yield from remembering(begin, {}, True, keep))


def _is_unchanged(known: Known, ranges: list[Range]) -> Steps[bool]:
    """Read ranges, and compare them with what is known."""
    try:
        return _same(known, ranges, (yield ranges))
    except Exception:
        return False


def _same(known: Known, ranges: list[Range], data: Sequence[bytes | memoryview]) -> bool:
    return all(known[part] == got for part, got in zip(ranges, data, strict=True))
