"""Ranges of bytes of one object: what is promised of them, and readers of the user's.

Everything that is read of an object must come from one version of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from caterva_cffi.errors import ArgumentError, StorageError
from caterva_cffi.steps import Range

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Given", "RangeReader", "Source"]


@runtime_checkable
class RangeReader(Protocol):
    """What `open` takes instead of a URL: an object that reads ranges of the bytes of a frame.

    The bytes must not change while the array is in use. An attribute `size`, the number of all
    bytes, is used where there is one: a frame of another length is refused, and so are reads after
    it changed. Several threads read at once if they share the array; a large selection is read in
    several calls, also from a thread of this package, one at a time; but one that an error or a
    signal has made useless is not waited for.
    """

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> Sequence[Buffer]:
        """Read ranges, best at the same time.

        Parameters
        ----------
        ranges : sequence of (int, int)
            First byte, and the first one behind. The first range of all may reach behind the end.

        Returns
        -------
        sequence of bytes-like
            What each range holds; less than it only where the bytes end.
        """
        ...


class Source(ABC):
    """One object, of which ranges are read.

    Attributes
    ----------
    name : str
        What it is called, for people: without passwords and signatures.
    size : int or None
        Its bytes, where they are known.
    identified : bool
        Whether another version of the object would be noticed even if it has the same size.
    """

    name: str
    size: int | None = None
    identified = False

    def read(self, ranges: Sequence[Range], concurrency: int) -> list[memoryview]:
        """Read ranges; one that reaches behind the object's end lacks bytes.

        Parameters
        ----------
        ranges : sequence of Range
        concurrency : int
            How many to ask for at a time, if the client allows so many.

        Raises
        ------
        StorageError
            For a request that fails, an answer of another length, or an object that has changed.
        FileNotFoundError, PermissionError
            For an object that was never there, or is not for the user.
        """
        asked = [self._clip(part) for part in ranges]
        full = [part for part in asked if part[1] > part[0]]
        answers = iter(self._read(full, concurrency) if full else ())
        got = [_view(next(answers)) if stop > start else memoryview(b"") for start, stop in asked]
        for part, data in zip(asked, got, strict=True):
            start, stop = self._clip(part)  # its size may be known only now
            if len(data) > stop - start or (self.size is not None and len(data) < stop - start):
                self.verify()
                raise StorageError(
                    f"{self.name}: {len(data)} bytes came where {stop - start} were asked for, "
                    f"from byte {start} to {stop}: "
                    + ("ranges are ignored" if len(data) > stop - start else "it was cut short")
                )
        return got

    def read_merged(
        self, ranges: Sequence[Range], gap: int, most: int, concurrency: int
    ) -> list[memoryview]:
        """Read ranges, those close to each other by one request.

        Parameters
        ----------
        ranges : sequence of Range
        gap : int
            Bytes between two ranges that are rather read than left out.
        most : int
            Bytes of a request, if it is not for one range.
        concurrency : int
            See `read`.

        Raises
        ------
        StorageError, FileNotFoundError, PermissionError
            See `read`.
        """
        merged: list[Range] = []
        within = [0] * len(ranges)
        for number in sorted(range(len(ranges)), key=ranges.__getitem__):
            start, stop = ranges[number]
            if merged:
                first, last = merged[-1]
                if start - last <= gap and max(stop, last) - first <= most:
                    merged[-1] = (first, max(stop, last))
                    within[number] = len(merged) - 1
                    continue
            merged.append((start, stop))
            within[number] = len(merged) - 1
        got = self.read(merged, concurrency)
        return [
            got[at][start - merged[at][0] : stop - merged[at][0]]
            for at, (start, stop) in zip(within, ranges, strict=True)
        ]

    def _clip(self, part: Range) -> Range:
        """Return what of a range can be there."""
        return part if self.size is None else (min(part[0], self.size), min(part[1], self.size))

    @abstractmethod
    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        """Read ranges that hold something."""

    @abstractmethod
    def verify(self) -> None:
        """Look whether all that was read so far is of one version of the object.

        Raises
        ------
        StorageError
        """

    def _changed(self, what: str = "") -> StorageError:
        return StorageError(
            f"{self.name} has changed since it was opened{what and ': '}{what}; open it again"
        )

    @abstractmethod
    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""


def _view(data: Buffer) -> memoryview:
    return memoryview(data).cast("B")


class Given(Source):
    """A reader of the user's, whose bytes do not change."""

    identified = True

    def __init__(self, reader: RangeReader) -> None:
        self._reader = reader
        self.name = f"<{type(reader).__name__}>"
        self.size = self._present_size()

    def _present_size(self) -> int | None:
        size = getattr(self._reader, "size", None)
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ArgumentError(f"{self.name}: its size is {size!r}; expected bytes, or None")
        return size

    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        got = self._reader.read_ranges(list(ranges))
        if len(got) != len(ranges):
            raise StorageError(f"{self.name}: {len(got)} answers to {len(ranges)} ranges")
        return got

    def verify(self) -> None:
        """Compare the size with the one that it had."""
        size = self._present_size()
        if size != self.size:
            raise self._changed(f"it has {size} bytes instead of {self.size}")

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again."""
        return (self._reader,)
