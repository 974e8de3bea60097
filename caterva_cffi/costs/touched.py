"""Which blocks a selection touches, along each axis and as a picture of two axes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Axis, Basic, Fancy

__all__ = ["Picture", "picture_of"]

_SQUARES = 64
"""Squares of a picture along an axis; if there are more blocks, a square stands for several."""

_Int: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """What a selection touches, seen along two axes.

    Attributes
    ----------
    axes : tuple of int
        Downwards, and to the right; -1 for an axis that the array does not have.
    edges : tuple of sequence of int
        The borders of the squares along these axes, in items.
    touched : ndarray of bool
        Which squares have blocks that the selection touches.
    """

    axes: tuple[int, int]
    edges: tuple[Sequence[int], Sequence[int]]
    touched: npt.NDArray[np.bool_]


def _positions(axis: Axis, block: int) -> _Int:
    """Return positions of which at least one is in each block that the axis touches."""
    if axis.count < 2 or abs(axis.step) > 1:
        return axis.first + np.arange(axis.count) * abs(axis.step)
    last = axis.first + axis.count - 1
    return np.append(np.arange(axis.first, last, max(block, 1)), last)


def _wanted(grid: Grid, selection: Basic | Fancy) -> list[_Int]:
    axes = selection.axes if isinstance(selection, Basic) else selection.basic.axes
    indexed = (
        dict(zip(selection.dims, selection.arrays, strict=True))
        if isinstance(selection, Fancy)
        else {}
    )
    return [
        indexed[d].ravel().astype(np.int64)
        if d in indexed
        else np.concatenate([_positions(axis, block), _borders(axis, chunk)])
        for d, (axis, chunk, block) in enumerate(zip(axes, grid.chunks, grid.blocks, strict=True))
    ]


def _borders(axis: Axis, chunk: int) -> _Int:
    """Return the first items of chunks in a run of items: blocks begin anew there."""
    if axis.count < 2 or abs(axis.step) > 1:
        return np.empty(0, np.int64)
    first = -(-axis.first // chunk) * chunk
    starts = np.arange(first, axis.first + axis.count, chunk)
    ends = starts[starts > axis.first] - 1
    return np.concatenate([starts, ends])


def _block_starts(positions: _Int, chunk: int, block: int) -> _Int:
    """Return the first items of the blocks that hold positions."""
    chunk_start = positions // chunk * chunk
    return chunk_start + (positions - chunk_start) // block * block


def _waste(grid: Grid, d: int, positions: _Int, count: int) -> float:
    """Return how many items along an axis are decoded for each that is wanted."""
    starts = np.unique(_block_starts(positions, grid.chunks[d], grid.blocks[d]))
    return len(starts) * grid.blocks[d] / max(count, 1)


def _edges(grid: Grid, d: int) -> _Int:
    """Return the borders of the squares along an axis: those of blocks, if there are few."""
    length, chunk, block = grid.shape[d], grid.chunks[d], grid.blocks[d]
    if -(-chunk // block) * grid.chunk_grid[d] <= _SQUARES:
        starts = [s + b for s in range(0, length, chunk) for b in range(0, chunk, block)]
        return np.array([s for s in starts if s < length] + [length])
    return np.unique(np.linspace(0, length, _SQUARES + 1).astype(np.int64))


def picture_of(grid: Grid, selection: Basic | Fancy) -> Picture | None:
    """Return the picture of the two axes along which most is decoded that is not wanted.

    Returns
    -------
    Picture or None
        None where there is nothing to see.
    """
    if not grid.ndim or 0 in grid.shape or 0 in selection.shape:
        return None
    basic = selection if isinstance(selection, Basic) else selection.basic
    wanted = _wanted(grid, selection)
    counts = [axis.count for axis in basic.axes]
    if isinstance(selection, Fancy):
        for d in selection.dims:
            counts[d] = len(np.unique(wanted[d]))
    ranked = sorted(
        range(grid.ndim),
        key=lambda d: (_waste(grid, d, wanted[d], counts[d]), grid.shape[d] / grid.blocks[d], d),
    )
    chosen = sorted(ranked[-2:])
    marks = [_mark(grid, d, wanted[d]) for d in chosen]
    edges = [edge for edge, _, _ in marks]
    if len(chosen) == 1:
        touched = np.zeros((1, len(edges[0]) - 1), bool)
        _fill(touched[0], marks[0])
        return Picture((-1, chosen[0]), ([0, 1], edges[0].tolist()), touched)
    touched = np.zeros([len(edge) - 1 for edge in edges], bool)
    points = isinstance(selection, Fancy) and not selection.orthogonal
    if points and set(chosen) <= set(selection.dims if isinstance(selection, Fancy) else ()):
        for row, end, column, stop in zip(*marks[0][1:], *marks[1][1:], strict=True):
            touched[row : end + 1, column : stop + 1] = True
    else:
        along = [np.zeros(n, bool) for n in touched.shape]
        for line, mark in zip(along, marks, strict=True):
            _fill(line, mark)
        touched[np.ix_(*along)] = True
    return Picture((chosen[0], chosen[1]), (edges[0].tolist(), edges[1].tolist()), touched)


_Mark: TypeAlias = tuple[_Int, _Int, _Int]


def _mark(grid: Grid, d: int, positions: _Int) -> _Mark:
    """Return the edges of squares, and the first and the last square of each position's block."""
    edges = _edges(grid, d)
    starts = _block_starts(positions, grid.chunks[d], grid.blocks[d])
    chunk_end = positions // grid.chunks[d] * grid.chunks[d] + grid.chunks[d]
    ends = np.minimum(np.minimum(starts + grid.blocks[d], chunk_end), grid.shape[d])
    first, last = (np.searchsorted(edges, each, "right") - 1 for each in (starts, ends - 1))
    return edges, first, last


def _fill(line: npt.NDArray[Any], mark: _Mark) -> None:
    changes = np.zeros(len(line) + 1, np.int64)
    np.add.at(changes, mark[1], 1)
    np.add.at(changes, mark[2] + 1, -1)
    line[:] = np.cumsum(changes[:-1]) > 0
