"""Selections: boxes and index arrays, and how their items are arranged in the result. Pure.

A *box* is what the kernel understands: along each dimension a start, a count and a positive step.
Everything else (reversed slices, new axes, index arrays and masks) says how the items of boxes are
arranged in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = [
    "Axis",
    "Basic",
    "Batch",
    "Box",
    "Fancy",
    "IndexArray",
    "box_of",
    "lay",
    "spans",
]

_WHOLE, _REVERSED = slice(None), slice(None, None, -1)

IndexArray: TypeAlias = npt.NDArray[np.intp]

Box: TypeAlias = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""Start, count and positive step along each dimension, in items."""


# Not frozen: a frozen one takes three times as long to make, and every read makes several.
@dataclass(slots=True)
class Axis:
    """The wanted items along one dimension: `count` from `start` on, every `step`-th.

    A negative step counts down from `start`. `kept` is false for an integer index: the result does
    not have that dimension.
    """

    start: int
    count: int
    step: int = 1
    kept: bool = True

    @property
    def first(self) -> int:
        """The smallest wanted position."""
        return self.start if self.step > 0 else self.start + (self.count - 1) * self.step


def box_of(axes: Sequence[Axis]) -> Box:
    """Return the box with the items of axes, in ascending order."""
    return (
        [axis.start if axis.step > 0 else axis.first for axis in axes],
        [axis.count for axis in axes],
        [abs(axis.step) for axis in axes],
    )


class Batch(NamedTuple):
    """Boxes of a selection that are read before `then` is called.

    Attributes
    ----------
    boxes : list of (Box, ndarray)
        Each box is read into its array, which has its shape.
    then : callable or None
        Copies the items that were read into the result; None if they are there already.
    by_block : bool
        Whether to read block by block, as blocks are stored, instead of box by box: for many small
        boxes. A block in which several boxes have items is then decoded once.
    """

    boxes: Sequence[tuple[Box, npt.NDArray[Any]]]
    then: Callable[[], None] | None = None
    by_block: bool = False


@dataclass(slots=True)
class Basic:
    """Integers, slices and new axes.

    Attributes
    ----------
    axes : tuple of Axis
        One for each dimension of the array.
    result_dims : tuple of int
        What each dimension of the result is: a dimension of the array, or -1 for a new axis.
    """

    axes: tuple[Axis, ...]
    result_dims: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        axes = self.axes
        return tuple([1 if d < 0 else axes[d].count for d in self.result_dims])

    @property
    def box(self) -> Box:
        """The box with the selected items, in ascending order."""
        return box_of(self.axes)

    def batch(self, result: npt.NDArray[Any], then: Callable[[], None] | None = None) -> Batch:
        """Return the only box, which is read into the result; see `index_arrays.batches`."""
        return Batch([(self.box, lay(result, self))], then)


def lay(result: npt.NDArray[Any], basic: Basic) -> npt.NDArray[Any]:
    """Return a view of a selection's result with one dimension for each of the array's."""
    view = result
    if -1 in basic.result_dims:
        view = view[(*(0 if d < 0 else _WHOLE for d in basic.result_dims), ...)]
    key = [(_WHOLE if axis.step > 0 else _REVERSED) if axis.kept else None for axis in basic.axes]
    return view if key.count(_WHOLE) == len(key) else view[(*key, ...)]


@dataclass(frozen=True)
class Fancy:
    """Index arrays beside slices, integers and new axes.

    Attributes
    ----------
    basic : Basic
        The selection with all positions of those dimensions that have index arrays.
    dims : tuple of int
        The dimensions that have index arrays.
    arrays : tuple of ndarray of intp
        Non-negative positions, broadcast to one shape; for an orthogonal selection, 1-d arrays of
        any lengths.
    at : int
        At which dimension of the result the dimensions of the index arrays begin.
    orthogonal : bool
        Whether each array selects along its own dimension, as `numpy.ix_` does.
    """

    basic: Basic
    dims: tuple[int, ...]
    arrays: tuple[IndexArray, ...]
    at: int = 0
    orthogonal: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result."""
        if self.orthogonal:
            length = dict(zip(self.dims, map(len, self.arrays), strict=True))
            return tuple(
                1 if d < 0 else length.get(d, self.basic.axes[d].count if d >= 0 else 1)
                for d in self.basic.result_dims
            )
        rest = [1 if d < 0 else self.basic.axes[d].count for d in self.rest]
        return (*rest[: self.at], *self.arrays[0].shape, *rest[self.at :])

    @property
    def rest(self) -> tuple[int, ...]:
        """The dimensions of the result without those that have index arrays."""
        return tuple(d for d in self.basic.result_dims if d not in self.dims)


def spans(start: int, count: int, step: int, chunk: int) -> list[tuple[int, int, int, int]]:
    """Cut `count` positions from `start` on, every `step`-th, at the borders of chunks.

    Returns
    -------
    list of (chunk, start in the chunk, count, number of positions before these)
    """
    cut, k = [], 0
    while k < count:
        at, first = divmod(start + k * step, chunk)
        n = min(count - k, (chunk - 1 - first) // step + 1)
        cut.append((at, first, n, k))
        k += n
    return cut
