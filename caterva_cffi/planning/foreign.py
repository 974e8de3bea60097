"""Layouts of chunks that hold a chunk of another array, which has other dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from caterva_cffi.format.chunk_header import HEADER, plain_header
from caterva_cffi.geometry.flattening import flattened
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.layout import Chunks

__all__ = ["Foreign", "Raw", "Row", "Squeezed", "dimensions_in", "row_grid"]


@dataclass(frozen=True)
class Foreign(Chunks):
    """Chunks whose grid has other dimensions than the array chunk that they hold.

    Attributes
    ----------
    items : Grid
        Of the array chunk.
    """

    items: Grid

    @property
    def seen(self) -> Grid:
        """The grid of the array chunk."""
        return self.items

    @property
    def seen_blocks(self) -> tuple[int, ...]:
        """The shape of blocks, in items of the array chunk."""
        raise NotImplementedError

    def translated(self, batch: Batch) -> Batch:
        """Return boxes of the grid for boxes of the array chunk."""
        cut = [self._cut(box, dest) for box, dest in batch.boxes]
        actions = [each.then for each in (*cut, batch) if each.then is not None]

        def finish() -> None:
            for action in actions:
                action()

        boxes = [pair for each in cut for pair in each.boxes]
        by_block = batch.by_block or any(each.by_block for each in cut)
        return Batch(boxes, finish if actions else None, by_block)

    def _cut(self, box: Box, dest: npt.NDArray[Any]) -> Batch:
        raise NotImplementedError


@dataclass(frozen=True)
class Squeezed(Foreign):
    """Chunks whose grid lacks dimensions in which the array chunk has one item.

    Attributes
    ----------
    kept : tuple of int
        The dimensions that it has.
    """

    kept: tuple[int, ...]

    @property
    def seen_blocks(self) -> tuple[int, ...]:
        """The shape of blocks."""
        sides = dict(zip(self.kept, self.grid.blocks, strict=True))
        return tuple(sides.get(d, 1) for d in range(self.items.ndim))

    def _cut(self, box: Box, dest: npt.NDArray[Any]) -> Batch:
        if not dest.size:
            return Batch([])
        start, count, step = ([side[d] for d in self.kept] for side in box)
        key = tuple(slice(None) if d in self.kept else 0 for d in range(dest.ndim))
        return Batch([((start, count, step), dest[(*key, ...)])])


@dataclass(frozen=True)
class Row(Foreign):
    """A chunk that holds the array chunk's bytes in a row."""

    @property
    def seen_blocks(self) -> tuple[int, ...]:
        """The length of blocks in a row."""
        return (max(self.grid.blocksize // self.items.itemsize, 1),)

    def _cut(self, box: Box, dest: npt.NDArray[Any]) -> Batch:
        return flattened(self.items.shape, self.grid.itemsize, box, dest)


@dataclass(frozen=True)
class Raw(Row):
    """Items as they are, seen as a plain chunk whose header is not stored."""

    def range_of(self, number: int) -> tuple[int, int]:
        """Return where the chunk begins, and where it ends."""
        return -HEADER, self.chunks_end

    def head_of(self, number: int) -> bytes:
        """Return the header."""
        grid = self.grid
        return plain_header(grid.chunk_nbytes, grid.blocksize, grid.itemsize)


def row_grid(nbytes: int, blocksize: int, unit: int) -> Grid:
    """Return the grid of a chunk of units in a row, whose last block may be shorter."""
    n = (nbytes // unit,)
    return Grid(n, n, (blocksize // unit,), unit, cut=True)


def dimensions_in(shape: tuple[int, ...], stored: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the dimensions of a shape that a stored one has; the others must have one item."""
    kept: list[int] = []
    for d, length in enumerate(shape):
        if len(kept) < len(stored) and length == stored[len(kept)]:
            kept.append(d)
        elif length != 1:
            return None
    return tuple(kept) if len(kept) == len(stored) else None
