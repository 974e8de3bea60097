"""How far a conversion is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Meter", "Progress"]


@dataclass(frozen=True)
class Progress:
    """How far a conversion is; what a progress callback gets.

    Attributes
    ----------
    array : str
        The path of the array that was worked at.
    done, total : int
        Bytes of items, of all arrays.
    earlier : int
        Of those done, the ones that an earlier run did.
    seconds : float
        Since this run began.
    """

    array: str
    done: int
    total: int
    earlier: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes of items in a second."""
        return (self.done - self.earlier) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the rest will take at this rate; None before anything was done."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def __str__(self) -> str:
        share = self.done / self.total if self.total else 1.0
        left = "" if self.seconds_left is None else f", {_time(self.seconds_left)} left"
        return f"{share:4.0%}  {self.done / 1e6:,.0f} MB  {self.rate / 1e6:,.0f} MB/s{left}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Meter:
    """Counts what is done, and tells it.

    Parameters
    ----------
    total : int
    tell : callable, optional
        Gets a `Progress`.
    """

    def __init__(self, total: int, tell: Callable[[Progress], None] | None) -> None:
        self.total, self.done, self.earlier = total, 0, 0
        self._tell, self._start = tell, time.monotonic()
        self._lock = threading.Lock()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._start

    def add(self, array: str, nbytes: int, earlier: bool = False) -> None:
        """Count bytes of items; `earlier` for those of an earlier run."""
        with self._lock:
            self.done += nbytes
            self.earlier += nbytes if earlier else 0
            if self._tell is not None and not earlier:
                self._tell(Progress(array, self.done, self.total, self.earlier, self.seconds))
