"""An object of which only some bytes are known, for reads that are only counted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping

import numpy as np

from caterva_cffi.steps import Range

__all__ = ["Hollow"]


class Hollow:
    """An object of which only some bytes are known; the others are zeros.

    Parameters
    ----------
    size : int
        Bytes of the object.
    known : mapping of Range to bytes
    assumed : mapping of Range to bytes
        What stands where nothing is known, instead of zeros.
    """

    def __init__(
        self, size: int, known: Mapping[Range, bytes], assumed: Mapping[Range, bytes]
    ) -> None:
        self._size = size
        self._parts = [_Pieces(assumed), _Pieces(known)]

    def read(self, range_: Range) -> memoryview:
        """Return the bytes of a range, as far as the object has them."""
        start, stop = (min(edge, self._size) for edge in range_)
        data = np.zeros(max(stop - start, 0), np.uint8)  # the system gives zeros when it is asked
        for pieces in self._parts:
            for first, piece in pieces.between(start, stop):
                begin, end = max(first, start), min(first + len(piece), stop)
                if begin < end:
                    data[begin - start : end - start] = np.frombuffer(
                        piece[begin - first : end - first], np.uint8
                    )
        return memoryview(data)


class _Pieces:
    """Pieces of an object, in their order."""

    def __init__(self, given: Mapping[Range, bytes]) -> None:
        self._pieces = sorted((first, data) for (first, _), data in given.items() if data)
        self._starts = [first for first, _ in self._pieces]
        self._longest = max((len(data) for _, data in self._pieces), default=0)

    def between(self, start: int, stop: int) -> list[tuple[int, bytes]]:
        """Return the pieces that may have bytes of a range."""
        low = bisect_right(self._starts, start - self._longest)
        return self._pieces[low : bisect_right(self._starts, stop)]
