"""Crops: boxes of one shape, anywhere in an array, cut at the borders of its chunks. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import index
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import ArgumentTypeError, Cause, SelectionError, wrong_type
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch, Box

__all__ = [
    "CropBoxes",
    "CropParts",
    "Crops",
    "batch_of_crops",
    "cut_crops",
    "most_chunks",
    "normalize_crops",
]

_Int: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Boxes of one shape.

    Attributes
    ----------
    starts : ndarray of int64
        The first item of each box, in items of the array; one row for each box.
    box_shape : tuple of int
    """

    starts: _Int
    box_shape: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        return (len(self.starts), *self.box_shape)


class CropBoxes(Sequence[tuple[Box, npt.NDArray[Any]]]):
    """The boxes of a batch, if these are crops: all can be planned at once.

    Parameters
    ----------
    crops : Crops
    dest : ndarray
        Of the crops' shape.
    """

    def __init__(self, crops: Crops, dest: npt.NDArray[Any]) -> None:
        self.crops = crops
        self.dest = dest

    def __len__(self) -> int:
        return len(self.crops.starts)

    @overload
    def __getitem__(self, number: int) -> tuple[Box, npt.NDArray[Any]]: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[tuple[Box, npt.NDArray[Any]]]: ...
    def __getitem__(self, number: int | slice) -> Any:
        """Return a box and its destination, or some of them."""
        if isinstance(number, slice):
            some = replace(self.crops, starts=self.crops.starts[number])
            return CropBoxes(some, self.dest[number])
        shape = self.crops.box_shape
        box = self.crops.starts[number].tolist(), shape, (1,) * len(shape)
        return box, self.dest[number, ...]


def batch_of_crops(
    crops: Crops, dest: npt.NDArray[Any], then: Callable[[], None] | None = None
) -> Batch:
    """Return crops that are read into an array of their shape; see `Batch`."""
    return Batch(CropBoxes(crops, dest), then, by_block=True)


def normalize_crops(starts: Any, box_shape: Sequence[int], shape: Sequence[int]) -> Crops:
    """Return crops of an array of this shape.

    Parameters
    ----------
    starts : array_like of int
        One row for each box.
    box_shape, shape : sequence of int

    Raises
    ------
    IndexError
        For boxes that do not lie inside the array, or not of its dimensions.
    TypeError
        For positions that are no integers.
    """
    try:
        lengths = tuple(map(index, box_shape))
    except TypeError:
        raise wrong_type("shape", box_shape, "an integer for each dimension") from None
    firsts = np.asarray(starts)
    if firsts.size == 0 and firsts.dtype.kind == "f":  # NumPy's dtype for an empty list
        firsts = firsts.astype(np.int64)
    if firsts.dtype.kind not in "iu":
        raise ArgumentTypeError(
            f"starts of dtype {firsts.dtype}; expected integers",
            Cause("wrong-type", "starts", str(firsts.dtype)),
        )
    ndim = len(shape)
    if firsts.ndim == 1 and not firsts.size:
        firsts = firsts.reshape(0, ndim)
    if firsts.ndim != 2 or firsts.shape[1] != ndim or len(lengths) != ndim:
        raise SelectionError(
            f"starts of shape {firsts.shape} and boxes of shape {lengths} for an array of {ndim} "
            f"dimensions; expected one row of {ndim} integers for each box, and {ndim} lengths",
            Cause("wrong-ndim", "starts", firsts.shape, ndim),
        )
    if any(length < 0 for length in lengths):
        raise SelectionError(
            f"boxes of shape {lengths}; expected no negative length",
            Cause("wrong-index", "shape", lengths),
        )
    last = np.array([n - length for n, length in zip(shape, lengths, strict=True)], np.int64)
    wrong = np.flatnonzero(((firsts < 0) | (firsts > last)).any(axis=1))
    if wrong.size:
        raise SelectionError(
            f"box {wrong[0]}, from {tuple(firsts[wrong[0]].tolist())} on, of shape {lengths}, does "
            f"not lie inside the array, of shape {tuple(shape)}",
            Cause(
                "out-of-bounds", "starts", tuple(firsts[wrong[0]].tolist()), tuple(last.tolist())
            ),
        )
    return Crops(firsts.astype(np.int64), lengths)


class CropParts(NamedTuple):
    """The parts of crops in chunks. Row k of each array is about the k-th part.

    Attributes
    ----------
    numbers : ndarray of int64
        Of the chunks, ascending.
    starts, counts : ndarray of int64
        In items of the chunk, along each dimension.
    dests : ndarray of int64
        Where the part's first item goes, in bytes from where the first item of all goes.
    crops : ndarray of int64
        Which crop each part is of.
    positions : ndarray of int64
        Where the part's first item is in the crop, along each dimension.
    """

    numbers: _Int
    starts: _Int
    counts: _Int
    dests: _Int
    crops: _Int
    positions: _Int

    def box(self, row: int) -> Box:
        """Return a part as a box."""
        return self.starts[row].tolist(), self.counts[row].tolist(), (1,) * self.starts.shape[1]

    def within(self, row: int, dest: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return where the items of a part go in the result of all crops."""
        spans = zip(self.positions[row].tolist(), self.counts[row].tolist(), strict=True)
        view: npt.NDArray[Any] = dest[(self.crops[row], *(slice(k, k + n) for k, n in spans), ...)]
        return view

    def some(self, rows: Any) -> CropParts:
        """Return some of the parts."""
        return CropParts(*(each[rows] for each in self))


def most_chunks(grid: Grid, box_shape: Sequence[int]) -> int:
    """Return in how many chunks a box of a shape may have items."""
    return math.prod(
        max((length - 2) // chunk + 2, 1) if length else 1
        for length, chunk in zip(box_shape, grid.chunks, strict=True)
    )


def cut_crops(grid: Grid, crops: Crops, strides: Sequence[int]) -> CropParts:
    """Cut crops at the borders of chunks; parts of a chunk follow each other.

    Parameters
    ----------
    grid : Grid
    crops : Crops
        At least one, with items.
    strides : sequence of int
        Of the result.
    """
    starts, lengths = crops.starts, np.array(crops.box_shape, np.int64)
    chunks = np.array(grid.chunks, np.int64)
    lowest, highest = starts // chunks, (starts + lengths - 1) // chunks
    most = (highest - lowest).max(axis=0, initial=0) + 1
    within = np.arange(len(starts), dtype=np.int64) * strides[0]
    parts: list[CropParts] = []
    for steps in product(*map(range, most.tolist())):
        at = lowest + np.array(steps, np.int64)
        rows = np.flatnonzero((at <= highest).all(axis=1))
        at, firsts = at[rows], starts[rows]
        begins = np.maximum(firsts, at * chunks)
        ends = np.minimum(firsts + lengths, (at + 1) * chunks)
        numbers = np.zeros(len(rows), np.int64)
        for d, count in enumerate(grid.chunk_grid):
            numbers = numbers * count + at[:, d]
        positions = begins - firsts
        dests = within[rows] + positions @ np.array(strides[1:], np.int64)
        counts, begins = ends - begins, begins - at * chunks
        parts.append(CropParts(numbers, begins, counts, dests, rows, positions))
    together = CropParts(*map(np.concatenate, zip(*parts, strict=True)))
    return together.some(np.argsort(together.numbers, kind="stable"))
