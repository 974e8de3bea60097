"""Boxes of arrays, cut at the borders of chunks. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box, spans

__all__ = [
    "AT_ONCE",
    "MANY",
    "blocks_in",
    "boxes_of",
    "cut",
    "distinct_blocks",
    "has_many_chunks",
]


def cut(grid: Grid, box: Box) -> Iterable[tuple[int, Box, Sequence[int]]]:
    """Cut a box of an array into boxes of its chunks.

    Returns
    -------
    iterable of (int, Box, sequence of int)
        The number of the chunk; the part of the box in it, in items of the chunk; and the position
        of the part's first item among the items of the box.
    """
    number, inside = 0, []
    for start, count, step, chunk, length in zip(*box, grid.chunks, grid.chunk_grid, strict=True):
        at = start // chunk if chunk else 0
        first = start - at * chunk
        if count < 1 or first + (count - 1) * step >= chunk:
            return _cut_at_chunks(grid, box)
        number = number * length + at
        inside.append(first)
    return (((number, (inside, box[1], box[2]), (0,) * len(inside))),)


def _cut_at_chunks(grid: Grid, box: Box) -> Iterator[tuple[int, Box, Sequence[int]]]:
    for sides in product(*map(spans, *box, grid.chunks)):
        at, start, count, position = zip(*sides, strict=True) if sides else ((),) * 4
        yield grid.chunk_number(at), (start, count, box[2]), position


MANY = 256
"""A box with items in more chunks than this has many."""


AT_ONCE = 4096
"""Chunks that are planned at a time; each takes about 500 bytes."""


def _count_touched(start: int, count: int, step: int, chunk: int) -> int:
    """Return how many chunks, or blocks, have some of `count` positions along a dimension."""
    return min((start + (count - 1) * step) // chunk - start // chunk + 1, count)


def blocks_in(box: Box, blocks: Sequence[int]) -> int:
    """Return in how many blocks a box of a chunk has items."""
    return math.prod(map(_count_touched, *box, blocks))


def distinct_blocks(grid: Grid, boxes: Sequence[Box]) -> npt.NDArray[np.int64]:
    """Return the numbers of the blocks of a chunk in which any of some boxes has items."""
    lengths = [-(-chunk // block) for chunk, block in zip(grid.chunks, grid.blocks, strict=True)]
    starts, counts, steps = (
        np.array([box[k] for box in boxes], np.int64).reshape(-1, grid.ndim) for k in range(3)
    )
    blocks = np.array(grid.blocks, np.int64)
    first = starts // blocks
    in_one = ((starts + (counts - 1) * steps) // blocks == first).all(axis=1)
    across = np.array([math.prod(lengths[d + 1 :]) for d in range(grid.ndim)], np.int64)
    found = [first[in_one] @ across]
    for row in np.flatnonzero(~in_one).tolist():
        numbers = np.zeros(1, np.int64)
        for start, count, step, block, n in zip(*boxes[row], grid.blocks, lengths, strict=True):
            along = np.unique((start + step * np.arange(count)) // block)
            numbers = (numbers[:, None] * n + along).ravel()
        found.append(numbers)
    return np.unique(np.concatenate(found))


def has_many_chunks(grid: Grid, box: Box) -> bool:
    """Whether a box has items in many chunks."""
    return (
        grid.nchunks > MANY
        and math.prod(box[1]) > MANY
        and _count(grid, box) > MANY
    )  # fmt: skip


def _count(grid: Grid, box: Box) -> int:
    return math.prod(map(_count_touched, *box, grid.chunks))


def boxes_of(grid: Grid, box: Box, most: int) -> Iterator[tuple[Box, tuple[int, ...]]]:
    """Cut a box into boxes with items in at most so many chunks, in the order of the chunks.

    Yields
    ------
    part : Box
    position : tuple of int
        Where the part's first item is among the items of the box.
    """
    yield from _cut(box, grid.chunks, most, 0, [], [])


def _cut(
    box: Box, chunks: Sequence[int], most: int, d: int, axes: list[Any], position: list[int]
) -> Iterator[tuple[Box, tuple[int, ...]]]:
    if d == len(chunks):
        sides = zip(*axes, strict=True) if axes else ((),) * 3
        starts, counts, steps = sides
        yield (starts, counts, steps), tuple(position)
        return
    (start, count, step), chunk = (side[d] for side in box), chunks[d]
    behind = math.prod(map(_count_touched, *(side[d + 1 :] for side in box), chunks[d + 1 :]))
    here = max(most // behind, 1)
    k = 0
    while k < count:
        if step > chunk:  # not every chunk has an item
            n = here
        else:
            border = ((start + k * step) // chunk + here) * chunk
            n = -(-(border - start) // step) - k
        n = min(count - k, n)
        part = (start + k * step, n, step)
        yield from _cut(box, chunks, most, d + 1, [*axes, part], [*position, k])
        k += n
