"""Boxes with items in many chunks, of which some thousand are planned and decoded at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import address, pointer
from caterva_cffi.binding.kernel import Kernel, Piece
from caterva_cffi.errors import FormatError
from caterva_cffi.format.frame import special_of_offset
from caterva_cffi.geometry.cutting import AT_ONCE, boxes_of
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box, spans
from caterva_cffi.planning.chunk import HEADER
from caterva_cffi.planning.layout import Layout, part_steps, special_header
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import Part, Range, Steps, exactly

__all__ = ["are_small", "crowd_steps"]


_BYTES = 16 << 20
"""Stored bytes that are read at a time, if they are not those of one chunk."""

_SMALL = 48 << 10
"""Bytes of a stored chunk that is always read as a whole."""

_CBYTES = np.arange(12, 16)  # in a chunk's header
_SPECIAL = (1, 2, 4)

_Int: TypeAlias = npt.NDArray[np.int64]


def _room(grid: Grid) -> int:
    """Return how many bytes a chunk of any writer has at most, and a few more."""
    return 2 * (HEADER + grid.chunk_nbytes) + 16 * grid.nblocks


def are_small(grid: Grid) -> bool:
    """Whether the chunks of an array are always read as a whole."""
    return _room(grid) <= _SMALL


class _Crowd(NamedTuple):
    """The chunks in which a box has items, each a row of all arrays.

    Attributes
    ----------
    numbers : ndarray of int64
    starts, counts : ndarray of int64
        In items of the chunk, along each dimension.
    steps : sequence of int
    places : ndarray of int64
        Where the first item goes, in bytes from where the box does.
    """

    numbers: _Int
    starts: _Int
    counts: _Int
    steps: Sequence[int]
    places: _Int

    def box(self, row: int) -> Box:
        return self.starts[row].tolist(), self.counts[row].tolist(), self.steps


def _crowd(grid: Grid, box: Box, strides: Sequence[int]) -> _Crowd:
    sides = [np.array(spans(*side), np.int64) for side in zip(*box, grid.chunks, strict=True)]
    lengths = [len(side) for side in sides]
    n, ndim = math.prod(lengths), grid.ndim
    numbers, places = np.zeros(n, np.int64), np.zeros(n, np.int64)
    starts, counts = np.empty((n, ndim), np.int64), np.empty((n, ndim), np.int64)
    rows = np.unravel_index(np.arange(n), lengths)
    for d, (side, row) in enumerate(zip(sides, rows, strict=True)):
        cells, starts[:, d], counts[:, d], positions = side[row].T
        numbers = numbers * grid.chunk_grid[d] + cells
        places += positions * strides[d]
    return _Crowd(numbers, starts, counts, box[2], places)


def crowd_steps(
    layout: Layout,
    kernel: Kernel,
    box: Box,
    dest: int,
    strides: Sequence[int],
    policy: ReadPolicy,
    may_change: bool = False,
    fetch: Callable[[Kernel, int, Box], list[Piece]] | None = None,
) -> Steps[None]:
    """Read a box with items in many chunks of a frame, and decode it.

    Parameters
    ----------
    layout : Layout
    kernel : Kernel
    box : Box
    dest : int
        Address of the first item's destination.
    strides : sequence of int
        Bytes between items of the destination.
    policy : ReadPolicy
    may_change : bool
        See `chunk_steps`.
    fetch : callable, optional
        Gives what a box of a chunk needs, where chunks have files of their own.

    Raises
    ------
    FormatError, UnsupportedError
    """
    grid = layout.grid
    small = are_small(grid) and fetch is None
    most = min(AT_ONCE, max(_BYTES // _room(grid), 1)) if small else AT_ONCE
    for part, position in boxes_of(grid, box, most):
        first = dest + sum(p * stride for p, stride in zip(position, strides, strict=True))
        crowd = _crowd(grid, part, strides)
        offsets = layout.offsets[crowd.numbers]
        pointers, sizes = np.zeros(len(offsets), np.uint64), np.zeros(len(offsets), np.int64)
        kept: list[Any] = _point_to_specials(grid, offsets, pointers, sizes)
        stored = np.flatnonzero(offsets >= 0)
        if small and stored.size:
            kept += yield from _stored_steps(
                layout, crowd, offsets, stored, pointers, sizes, policy
            )
        ready = np.flatnonzero(pointers)
        kernel.decode_many(
            crowd.numbers[ready], pointers[ready], sizes[ready], crowd.starts[ready],
            crowd.counts[ready], crowd.steps, crowd.places[ready] + first, strides,
        )  # fmt: skip
        del kept
        if not small:
            yield from _large_steps(
                layout, kernel, crowd, stored, first, strides, policy, may_change, fetch
            )


def _point_to_specials(
    grid: Grid, offsets: _Int, pointers: npt.NDArray[np.uint64], sizes: _Int
) -> list[Any]:
    """Let pointers to chunks of one value point to such a chunk; return what must stay alive."""
    kinds = np.where(offsets < 0, offsets >> 56 & 0x7F, 0)
    unknown = np.flatnonzero((offsets < 0) & ~np.isin(kinds, _SPECIAL))
    if unknown.size:
        special_of_offset(int(offsets[unknown[0]]))  # raises
    kept = []
    for special in _SPECIAL:
        rows = kinds == special
        if rows.any():
            header = np.frombuffer(special_header(grid, special), np.uint8)
            pointers[rows], sizes[rows] = address(header), HEADER
            kept.append(header)
    return kept


def _stored_steps(
    layout: Layout,
    crowd: _Crowd,
    offsets: _Int,
    stored: npt.NDArray[np.intp],
    pointers: npt.NDArray[np.uint64],
    sizes: _Int,
    policy: ReadPolicy,
) -> Steps[list[Any]]:
    """Read small chunks, those close to each other together; return what must stay alive."""
    rows = stored[np.argsort(offsets[stored])]
    begins = offsets[rows]
    ends = np.minimum(layout.ends_of(begins), begins + _room(layout.grid))
    gap = min(policy.gap, _BYTES // len(rows))
    borders = np.flatnonzero(begins[1:] - ends[:-1] > gap) + 1
    firsts, lasts = np.append(0, borders), np.append(borders, len(rows))
    ranges: list[Range] = list(zip(begins[firsts].tolist(), ends[lasts - 1].tolist(), strict=True))
    got = yield ranges
    kept = []
    for place, data, first, last in zip(ranges, got, firsts, lasts, strict=True):
        source = np.frombuffer(exactly(data, place, "the chunks"), np.uint8)
        within = begins[first:last] - place[0]
        cbytes = source[within[:, None] + _CBYTES].view("<i4")[:, 0].astype(np.int64)
        rooms = ends[first:last] - begins[first:last]
        wrong = np.flatnonzero((cbytes < HEADER) | (cbytes > rooms))
        if wrong.size:
            number = crowd.numbers[rows[first + wrong[0]]]
            raise FormatError(
                f"chunk {number} has {cbytes[wrong[0]]} bytes; there are {rooms[wrong[0]]}"
            )
        pointers[rows[first:last]] = address(source) + within.astype(np.uint64)
        sizes[rows[first:last]] = cbytes
        kept.append(source)
    return kept


def _large_steps(
    layout: Layout,
    kernel: Kernel,
    crowd: _Crowd,
    stored: npt.NDArray[np.intp],
    first: int,
    strides: Sequence[int],
    policy: ReadPolicy,
    may_change: bool,
    fetch: Callable[[Kernel, int, Box], list[Piece]] | None,
) -> Steps[None]:
    """Read what is needed of chunks that are not small, as many as are not too much at a time."""
    some = max(_BYTES // _room(layout.grid), 1)
    for at in range(0, len(stored), some):
        wanted = {int(crowd.numbers[row]): row for row in stored[at : at + some].tolist()}
        parts: dict[int, list[Part]] = {}
        if fetch is None:
            boxes = {number: [crowd.box(row)] for number, row in wanted.items()}
            parts = yield from part_steps(layout, kernel, boxes, policy, may_change)
        for number, row in wanted.items():
            box = crowd.box(row)
            if fetch is not None:
                given = fetch(kernel, number, box)
            else:
                given = [(begin, len(data), pointer(data)) for begin, data in parts[number]]
            kernel.decode([(number, given, box, first + int(crowd.places[row]), strides)])
