"""How long requests take, measured while they are made anyhow: a meter for each store."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from caterva_cffi.sources.store_costs import REMOTE, Burst, StoreCosts, fitted
from caterva_cffi.steps import MissingError

__all__ = ["Meter", "Timed", "clock", "meter_of", "meter_of_object", "meter_of_url"]

clock: Callable[[], float] = time.perf_counter

_KEPT = 64
"""Bursts of requests of each store."""

_LONGEST = 256
"""Requests of a burst; where there are always some under way, it is cut off after so many."""

_LEAST = 4
"""Bursts before anything is learned: the first ones have to connect."""

_STORES = 256
"""That are remembered."""


_MISSING = (FileNotFoundError, MissingError)
"""What is raised for an object that is not there: that is an answer, too."""


class Meter:
    """What requests to a store cost, as they are made by any number of threads.

    Requests that overlap are one *burst*: it is measured from its first request until none is under
    way. Bursts in which a request failed are passed over.

    Attributes
    ----------
    beside : int
        The most reads at a time since there was none; see `reading`.
    """

    def __init__(self) -> None:
        self._bursts: deque[Burst] = deque(maxlen=_KEPT)
        self._new = 0
        self._costs: StoreCosts | None = None
        self._begin_anew()
        _meters.add(self)

    def _begin_anew(self) -> None:
        """Forget what is under way."""
        self._lock = threading.RLock()  # a signal's handler may read, too
        self._paused = 0
        self._under_way = self._number = 0
        self._reads = 0
        self.beside = 1
        self._begin(0.0)

    def _begin(self, now: float) -> None:
        """Begin a burst; requests that are under way are from before it."""
        self._number += 1
        self._start, self._waves, self._requests, self._nbytes = now, 0, 0, 0
        self._spoiled = self._paused > 0

    def request(self, count: int = 1, waves: int = 1) -> Timed:
        """Return what measures requests while it is entered.

        Parameters
        ----------
        count : int
            How many requests.
        waves : int
            How many of them wait for each other.
        """
        return Timed(self, count, waves)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Learn nothing meanwhile."""
        with self._lock:
            self._paused += 1
            self._spoiled = True
        try:
            yield
        finally:
            with self._lock:
                self._paused = max(self._paused - 1, 0)

    @property
    def costs(self) -> StoreCosts | None:
        """What was learned; None if that is too little."""
        if self._new:
            with self._lock:
                bursts, new = list(self._bursts), self._new
                if len(bursts) < _LEAST or new < min(len(bursts) // 2, 16):
                    return self._costs
                self._new = 0
            self._costs = fitted(bursts, self._costs or REMOTE)
        return self._costs

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Count a read that may be made beside others."""
        with self._lock:
            self._reads += 1
            self.beside = max(self.beside, self._reads)
        try:
            yield
        finally:
            with self._lock:
                self._reads = max(self._reads - 1, 0)
                if not self._reads:
                    self.beside = 1

    def _started(self, timed: Timed) -> None:
        """Note that a request begins."""
        with self._lock:
            if not self._under_way:
                self._begin(clock())
            self._under_way += 1
            timed.burst, timed.after = self._number, self._waves

    def _ended(self, timed: Timed, failed: bool) -> None:
        """Note that a request has ended."""
        with self._lock:
            if not self._under_way:  # it began before a fork
                return
            self._under_way -= 1
            after = timed.after if timed.burst == self._number else 0
            self._waves = max(self._waves, after + timed.waves)
            self._requests += timed.count
            self._nbytes += timed.nbytes
            self._spoiled = self._spoiled or failed
            if self._under_way and self._requests < _LONGEST:
                return
            now = clock()
            if not self._spoiled and now > self._start:
                burst = Burst(self._waves, self._requests, self._nbytes, now - self._start)
                self._bursts.append(burst)
                self._new += 1
            self._begin(now)


class Timed:
    """Requests that are measured while it is entered; see `Meter.request`.

    Parameters
    ----------
    meter : Meter or None
        None measures nothing.
    count, waves : int

    Attributes
    ----------
    nbytes : int
        To be set: how many bytes came.
    """

    __slots__ = ("_meter", "after", "burst", "count", "nbytes", "waves")

    def __init__(self, meter: Meter | None, count: int = 1, waves: int = 1) -> None:
        self._meter, self.count, self.waves = meter, count, waves
        self.nbytes = self.burst = self.after = 0

    def __enter__(self) -> Timed:
        if self._meter is not None:
            self._meter._started(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._meter is not None:
            self._meter._ended(self, kind is not None and not issubclass(kind, _MISSING))


_meters: weakref.WeakSet[Meter] = weakref.WeakSet()
_known: OrderedDict[Hashable, Meter] = OrderedDict()
_lock = threading.RLock()


def _after_fork() -> None:
    """Keep what was learned; requests of other threads go on in the parent alone."""
    global _lock
    _lock = threading.RLock()
    for meter in _meters:
        meter._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _meter(key: Hashable) -> Meter:
    with _lock:
        meter = _known.get(key)
        if meter is None:
            meter = _known[key] = Meter()
            while len(_known) > _STORES:
                _known.popitem(last=False)
        else:
            _known.move_to_end(key)
        return meter


def meter_of_url(url: str, options: Mapping[str, Any] | None = None) -> Meter:
    """Return the meter of the host or bucket in a URL.

    Parameters
    ----------
    url : str
    options : mapping, optional
        For fsspec's file system, which may name another endpoint.
    """
    parts, given = urlsplit(url.rpartition("::")[2]), options or {}
    endpoint = given.get("endpoint_url") or (given.get("client_kwargs") or {}).get("endpoint_url")
    return _meter((parts.scheme, parts.netloc.rpartition("@")[2], endpoint))


def meter_of(store: Any) -> Meter:
    """Return the meter of a URL, a user's reader or store, or a store or array of Zarr's."""
    if isinstance(store, str):
        return meter_of_url(store)
    for inner in _chain(store):
        if id(inner) in _known:
            return _meter(id(inner))
        fs: Any = getattr(inner, "fs", None)
        fs = getattr(fs, "sync_fs", fs)
        if hasattr(fs, "unstrip_protocol") and isinstance(getattr(inner, "path", None), str):
            # zarr's FsspecStore, or a reader that is made like it
            return meter_of_url(fs.unstrip_protocol(inner.path), fs.storage_options)
    return meter_of_object(inner)


def meter_of_object(store: Any) -> Meter:
    """Return the meter of one object."""
    is_new = id(store) not in _known
    meter = _meter(id(store))
    if is_new:
        with suppress(TypeError):  # without weak references, another object may be there later
            weakref.finalize(store, _known.pop, id(store), None).atexit = False
    return meter


def _chain(store: Any) -> Iterator[Any]:
    """Yield an object and the stores in it; the last one talks to the network."""
    for _ in range(8):
        yield store
        inner = getattr(store, "_store", None) or getattr(store, "store", None)
        if inner is None:
            return
        store = inner
