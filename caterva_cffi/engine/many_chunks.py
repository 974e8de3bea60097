"""Boxes with items in many chunks: some thousand chunks are planned and decoded at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import address
from caterva_cffi.errors import FormatError
from caterva_cffi.format.chunk_header import HEADER, SPECIALS, many_cbytes_of
from caterva_cffi.format.offsets import specials_of_offsets
from caterva_cffi.geometry.cutting import AT_ONCE, boxes_of
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box, spans
from caterva_cffi.planning.frame import Frame
from caterva_cffi.steps import Range, Steps, exactly

__all__ = ["ManyChunks", "many_chunks"]

_BYTES = 16 << 20
"""Stored bytes that are read at a time; one chunk alone may have more."""

_SMALL = 48 << 10
"""A stored chunk of at most this many bytes is always read as a whole."""

_Int: TypeAlias = npt.NDArray[np.int64]


def many_chunks(frame: Frame, box: Box, dest: npt.NDArray[Any]) -> Iterator[ManyChunks]:
    """Cut a box with items in many chunks into boxes with items in some thousand chunks each.

    Parameters
    ----------
    frame : Frame
    box : Box
    dest : ndarray
        Of the box's shape.
    """
    layout = frame.layout
    small = layout.most <= _SMALL and not layout.sparse
    most = min(AT_ONCE, max(_BYTES // layout.most, 1)) if small else AT_ONCE
    for part, position in boxes_of(layout.grid, box, most):
        within = tuple(slice(k, k + n) for k, n in zip(position, part[1], strict=True))
        yield ManyChunks(frame, part, dest[within], small)


class ManyChunks:
    """A box with items in many chunks: a part of a selection, like a `Group`.

    For chunks of one value nothing is read. Other chunks are read whole if they are small.

    Parameters
    ----------
    frame : Frame
    box : Box
    dest : ndarray
        Of the box's shape.
    small : bool
        Whether the chunks that are stored are small, and in one file.

    Attributes
    ----------
    dest : ndarray
    """

    def __init__(self, frame: Frame, box: Box, dest: npt.NDArray[Any], small: bool) -> None:
        self._frame = frame
        self.dest = dest
        self.asks = True
        self._rows = _rows(frame.layout.grid, box, dest.strides)
        self._offsets = frame.layout.offsets[self._rows.numbers]
        self._stored = np.flatnonzero(self._offsets >= 0)
        self._is_read = small and bool(self._stored.size)
        self._sources: list[npt.NDArray[np.uint8]] = []
        self._pointers = np.zeros(len(self._offsets), np.uint64)
        self._sizes = np.zeros(len(self._offsets), np.int64)

    def others(self) -> Iterator[tuple[int, Box, Sequence[int]]]:
        """Yield chunks that groups must read: number, box in the chunk, position in this box."""
        if self._is_read:
            return
        rows = self._rows
        for row in self._stored.tolist():
            yield int(rows.numbers[row]), rows.box(row), rows.positions[row].tolist()

    @property
    def nchunks(self) -> int:
        """How many chunks are read."""
        return len(self._stored) if self._is_read else 0

    @property
    def boxes(self) -> Iterator[tuple[int, Box]]:
        """The boxes of chunks, but those that groups read; see `Groups`."""
        rows = self._rows
        for row in range(len(rows.numbers)):
            if self._is_read or self._offsets[row] < 0:
                yield int(rows.numbers[row]), rows.box(row)

    @property
    def nbytes(self) -> int:
        """Bytes that decoding reads and writes; see `Groups`."""
        return self.dest.nbytes + sum(source.nbytes for source in self._sources)

    def steps(self) -> Steps[None]:
        """Read small chunks; those that are close to each other are one range."""
        self._point_to_specials()
        if not self._is_read:
            return
        rows = self._stored[np.argsort(self._offsets[self._stored])]
        layout, begins = self._frame.layout, self._offsets[rows]
        ends = np.minimum(layout.ends_of(begins), begins + layout.most)
        gap = min(self._frame.policy.gap, _BYTES // len(rows))
        borders = np.flatnonzero(begins[1:] - ends[:-1] > gap) + 1
        firsts, lasts = np.append(0, borders), np.append(borders, len(rows))
        ranges: list[Range] = list(
            zip(begins[firsts].tolist(), ends[lasts - 1].tolist(), strict=True)
        )
        got = yield ranges
        for range_, data, first, last in zip(ranges, got, firsts, lasts, strict=True):
            source = np.frombuffer(exactly(data, range_, "the chunks"), np.uint8)
            within = begins[first:last] - range_[0]
            cbytes = many_cbytes_of(source, within)
            rooms = ends[first:last] - begins[first:last]
            wrong = np.flatnonzero((cbytes < HEADER) | (cbytes > rooms))
            if wrong.size:
                number = self._rows.numbers[rows[first + wrong[0]]]
                raise FormatError(
                    f"chunk {number} has {cbytes[wrong[0]]} bytes; there are {rooms[wrong[0]]}"
                )
            self._pointers[rows[first:last]] = address(source) + within.astype(np.uint64)
            self._sizes[rows[first:last]] = cbytes
            self._sources.append(source)

    def _point_to_specials(self) -> None:
        """Make one chunk for each special value, and let the pointers of its chunks point to it."""
        specials = specials_of_offsets(self._offsets)
        for special in SPECIALS:
            rows = specials == special
            if rows.any():
                header = np.frombuffer(self._frame.layout.special_chunk(special), np.uint8)
                self._pointers[rows], self._sizes[rows] = address(header), HEADER
                self._sources.append(header)

    def decode(self) -> None:
        """Decode what was read, and forget it; see `Groups`."""
        rows, ready = self._rows, np.flatnonzero(self._pointers)
        self._frame.kernel.decode_many(
            rows.numbers[ready], self._pointers[ready], self._sizes[ready], rows.starts[ready],
            rows.counts[ready], rows.steps, rows.dests[ready] + address(self.dest),
            self.dest.strides,
        )  # fmt: skip
        self._sources = []
        self._pointers[:] = 0


class _Rows(NamedTuple):
    """The chunks in which a box has items. Row k of each array is about the k-th chunk.

    Attributes
    ----------
    numbers : ndarray of int64
    starts, counts : ndarray of int64
        In items of the chunk, along each dimension.
    steps : sequence of int
    positions : ndarray of int64
        Where the chunk's first wanted item is among the items of the box, along each dimension.
    dests : ndarray of int64
        Where that item goes, in bytes from where the first item of the box goes.
    """

    numbers: _Int
    starts: _Int
    counts: _Int
    steps: Sequence[int]
    positions: _Int
    dests: _Int

    def box(self, row: int) -> Box:
        return self.starts[row].tolist(), self.counts[row].tolist(), self.steps


def _rows(grid: Grid, box: Box, strides: Sequence[int]) -> _Rows:
    sides = [np.array(spans(*side), np.int64) for side in zip(*box, grid.chunks, strict=True)]
    lengths = [len(side) for side in sides]
    n, ndim = math.prod(lengths), grid.ndim
    numbers, dests = np.zeros(n, np.int64), np.zeros(n, np.int64)
    starts, counts, positions = (np.empty((n, ndim), np.int64) for _ in range(3))
    rows = np.unravel_index(np.arange(n), lengths)
    for d, (side, row) in enumerate(zip(sides, rows, strict=True)):
        at, starts[:, d], counts[:, d], positions[:, d] = side[row].T
        numbers = numbers * grid.chunk_grid[d] + at
        dests += positions[:, d] * strides[d]
    return _Rows(numbers, starts, counts, box[2], positions, dests)
