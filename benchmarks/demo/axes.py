"""Axes of an array: names and coordinates, if the file has them, and how people say them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

_UNITS = {"day": 86_400_000, "hour": 3_600_000, "minute": 60_000, "second": 1000, "millisecond": 1}
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d+)?)?)?)?)?)?")
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")


class InputError(Exception):
    """What the user gave cannot be used; the message says why, in one line."""


@dataclass(frozen=True)
class Axis:
    """An axis of an array.

    Parameters
    ----------
    number, length : int
    name : str
        Empty if the file has none.
    coordinates : ndarray, optional
        A number, time or text for each index.
    """

    number: int
    length: int
    name: str = ""
    coordinates: npt.NDArray[Any] | None = None

    def __str__(self) -> str:
        return self.name or f"axis {self.number}"

    def value(self, index: int) -> str:
        """Return the coordinate of an index as text; without coordinates the index."""
        if self.coordinates is None:
            return str(index)
        found = self.coordinates[index]
        if self.coordinates.dtype.kind == "M":
            days = self.coordinates.astype("M8[D]")
            return str(found.astype("M8[D]" if (days == self.coordinates).all() else "M8[m]"))
        return f"{found:.{self._decimals}f}" if self.coordinates.dtype.kind == "f" else str(found)

    @cached_property
    def _decimals(self) -> int:
        """How many decimals coordinates need: so many that what is left out does not count."""
        assert self.coordinates is not None
        values = self.coordinates.astype("f8")
        values = values[np.isfinite(values)]
        apart = np.abs(np.diff(values, append=0))
        least = apart[apart > 0].min(initial=np.inf) / 10
        enough = (n for n in range(9) if (np.abs(values.round(n) - values) <= least).all())
        return next(enough, 9)

    def at(self, index: int) -> str:
        """Return where an index is, such as "time=2020-01-05"."""
        return f"{self}={self.value(index)}"

    def within(self, part: slice) -> str:
        """Return where a run of indices is; of one index where that is."""
        first, last = part.start, part.stop - 1
        if first == last:
            return self.at(first)
        return f"{self}={self.value(first)} to {self.value(last)}"

    def find(self, text: str) -> int:
        """Return the index that is nearest to a coordinate; without coordinates the index itself.

        Raises
        ------
        InputError
        """
        known = self.coordinates
        try:
            if known is None:
                index = int(text)
                if not -self.length <= index < self.length:
                    raise ValueError
                return index % self.length
            if known.dtype.kind == "M":
                if not _TIME.fullmatch(text):
                    raise ValueError
                wanted = np.datetime64(text)
                return int(np.argmin(np.abs(known - wanted.astype(known.dtype))))
            if known.dtype.kind in "iuf":
                return int(np.nanargmin(np.abs(known.astype("f8") - float(text))))
            return list(map(str, known)).index(text)
        except ValueError:
            ends = f"{self.value(0)} to {self.value(self.length - 1)}"
            raise InputError(f"{self} has no {text!r}; expected something like {ends}") from None


def coordinates_of(values: npt.NDArray[Any], attributes: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Return the values of a coordinate variable: times as such, if CF's attributes say so."""
    units = str(attributes.get("units", ""))
    since = re.match(r"([a-z]+?)s? since (.*)", units)
    calendar = str(attributes.get("calendar", "standard")).lower()
    if since and since[1] in _UNITS and calendar in _CALENDARS and values.dtype.kind in "iuf":
        parts = [int(each) for each in re.findall(r"\d+", since[2])[:6]]
        year, month, day, *clock = (*parts, 1, 1, 0)[: max(len(parts), 3)]
        hour, minute, second = (*clock, 0, 0, 0)[:3]
        try:
            start = np.datetime64(
                f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "ms"
            )
            after = np.rint(values.astype("f8") * _UNITS[since[1]])
            return start + after.astype("m8[ms]")
        except ValueError:
            return values
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    return values


def ordinal(rank: int, ndim: int) -> str:
    """Return the word for an axis by its length: rank 0 is the longest."""
    if rank == ndim - 1:
        return "the shortest"
    return ("the longest", "the second longest", "the third longest")[rank] if rank < 3 else ""


def by_length(shape: Sequence[int]) -> list[int]:
    """Return the numbers of the axes, the longest first."""
    return sorted(range(len(shape)), key=lambda axis: (-shape[axis], axis))
