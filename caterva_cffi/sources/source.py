"""Ranges of bytes of one object: what is promised of them, and readers of the user's.

Everything that is read of an object must come from one version of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from caterva_cffi.errors import ArgumentError, Cause, StorageError
from caterva_cffi.sources.meters import Meter, meter_of_object
from caterva_cffi.steps import Range

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Given", "RangeReader", "ReplacedError", "Source", "merged"]


@runtime_checkable
class RangeReader(Protocol):
    """What `open` takes instead of a URL: an object that reads ranges of the bytes of a frame.

    The bytes must not change while the array is in use. If there is an attribute `size`, the number
    of all bytes, a frame of another length is refused, and so are reads after the size changed.
    Threads that share the array may read at the same time. A large selection is read in several
    calls, one after the other, some of them from a thread of this package. If an error or a signal
    ends the selection, a call that goes on is not waited for.
    """

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """Read ranges, best at the same time.

        Parameters
        ----------
        ranges : sequence of (int, int)
            First byte, and the first one behind. The very first range may go beyond the end.

        Returns
        -------
        sequence of bytes-like
            The bytes of each range; fewer only where the object ends.
        """
        ...


def merged(ranges: Sequence[Range], gap: int, most: int) -> tuple[list[Range], list[int]]:
    """Make one range of several that are close to each other; see `Source.read_merged`.

    Returns
    -------
    list of Range
        Ascending.
    list of int
        For each given range, in which of these it is.
    """
    found: list[Range] = []
    within = [0] * len(ranges)
    for number in sorted(range(len(ranges)), key=ranges.__getitem__):
        start, stop = ranges[number]
        if found:
            first, last = found[-1]
            if start - last <= gap and max(stop, last) - first <= most:
                found[-1] = (first, max(stop, last))
                within[number] = len(found) - 1
                continue
        found.append((start, stop))
        within[number] = len(found) - 1
    return found, within


class ReplacedError(StorageError):
    """An object is not the one that was opened."""


class Source(ABC):
    """One object whose ranges are read.

    Attributes
    ----------
    name : str
        What it is called, for people: without passwords and signatures.
    size : int or None
        Its bytes, if known.
    identified : bool
        Whether another version of the object would be noticed even if it has the same size.
    meter : Meter
        Measures what requests to its store cost.
    """

    name: str
    size: int | None = None
    identified = False
    meter: Meter

    def read(self, ranges: Sequence[Range], concurrency: int) -> list[memoryview]:
        """Read ranges; a range that goes beyond the object's end lacks bytes.

        Parameters
        ----------
        ranges : sequence of Range
        concurrency : int
            The most ranges to ask for at a time; the client may allow fewer.

        Raises
        ------
        StorageError
            For a request that fails, an answer of another length, or an object that has changed.
        FileNotFoundError, PermissionError
            For an object that was never there, or that the user may not read.
        """
        asked = [self._clip(range_) for range_ in ranges]
        full = [range_ for range_ in asked if range_[1] > range_[0]]
        answers = iter(self._read(full, concurrency) if full else ())
        got = [_view(next(answers)) if stop > start else memoryview(b"") for start, stop in asked]
        for range_, data in zip(asked, got, strict=True):
            start, stop = self._clip(range_)  # its size may be known only now
            if len(data) > stop - start or (self.size is not None and len(data) < stop - start):
                self.verify()
                raise StorageError(
                    f"{self.name}: {len(data)} bytes came where {stop - start} were asked for, "
                    f"from byte {start} to {stop}: "
                    + ("ranges are ignored" if len(data) > stop - start else "it was cut short"),
                    Cause(
                        "ranges-ignored" if len(data) > stop - start else "wrong-answer",
                        None,
                        len(data),
                        stop - start,
                    ),
                )
        return got

    def read_merged(
        self, ranges: Sequence[Range], gap: int, most: int, concurrency: int
    ) -> list[memoryview]:
        """Read ranges; one request reads several that are close to each other.

        Parameters
        ----------
        ranges : sequence of Range
        gap : int
            Two ranges that are at most this many bytes apart are read by one request.
        most : int
            The most bytes of a request for several ranges.
        concurrency : int
            See `read`.

        Raises
        ------
        StorageError, FileNotFoundError, PermissionError
            See `read`.
        """
        requests, within = merged(ranges, gap, most)
        got = self.read(requests, concurrency)
        return [
            got[at][start - requests[at][0] : stop - requests[at][0]]
            for at, (start, stop) in zip(within, ranges, strict=True)
        ]

    def _clip(self, range_: Range) -> Range:
        """Return the part of a range that lies inside the object."""
        if self.size is None:
            return range_
        return min(range_[0], self.size), min(range_[1], self.size)

    @abstractmethod
    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        """Read ranges that are not empty."""

    @abstractmethod
    def verify(self) -> None:
        """Check that all that was read so far is of one version of the object.

        Raises
        ------
        StorageError
        """

    def _changed(self, what: str = "") -> ReplacedError:
        return ReplacedError(
            f"{self.name} has changed since it was opened{what and ': '}{what}; open it again",
            "changed-elsewhere",
        )

    @abstractmethod
    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""


def _view(data: Buffer) -> memoryview:
    return memoryview(data).cast("B")


class Given(Source):
    """A user's reader; its bytes must not change."""

    identified = True

    def __init__(self, reader: RangeReader) -> None:
        self._reader, self.meter = reader, meter_of_object(reader)
        self.name = f"<{type(reader).__name__}>"
        self.size = self._present_size()

    def _present_size(self) -> int | None:
        size = getattr(self._reader, "size", None)
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ArgumentError(
                f"{self.name}: its size is {size!r}; expected bytes, or None",
                Cause("wrong-value", "size", size),
            )
        return size

    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        with self.meter.request(len(ranges)) as timed:
            got = self._reader.read_ranges(list(ranges))
            timed.nbytes = sum(len(_view(data)) for data in got)
        if len(got) != len(ranges):
            raise StorageError(
                f"{self.name}: {len(got)} answers to {len(ranges)} ranges",
                Cause("wrong-answer", None, len(got), len(ranges)),
            )
        return got

    def verify(self) -> None:
        """Compare the size with the one at its opening."""
        size = self._present_size()
        if size != self.size:
            raise self._changed(f"it has {size} bytes instead of {self.size}")

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""
        return (self._reader,)
