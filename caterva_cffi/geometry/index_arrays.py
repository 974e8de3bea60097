"""Index arrays and masks, gathered and scattered box by box.

Reading decodes only the blocks that hold a wanted item; writing rewrites each chunk once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import allocate
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Axis, Basic, Batch, Box, Fancy, IndexArray, box_of

__all__ = ["ReadBoxes", "batches", "count_blocks", "write"]

ReadBoxes: TypeAlias = Callable[[Sequence[tuple[Box, npt.NDArray[Any]]]], None]
"""Reads boxes, each into an array of its shape."""

_WriteBox: TypeAlias = Callable[[Box, npt.NDArray[Any]], None]

_BYTES = 32 << 20
"""Bytes of items that are read at a time; the wanted ones are taken from them."""


def _block_numbers(positions: IndexArray, chunk: int, block: int) -> IndexArray:
    """Return the number of the block along one dimension that holds each position."""
    return positions // chunk * -(-chunk // block) + positions % chunk // block


def _groups(keys: Sequence[IndexArray]) -> Iterator[IndexArray]:
    """Yield the indices of equal keys together, each group in its original order."""
    if not keys[0].size:
        return
    order = np.lexsort(keys[::-1])
    differs = np.zeros(order.size - 1, bool)
    for key in keys:
        ordered = key[order]
        differs |= ordered[1:] != ordered[:-1]
    yield from np.split(order, np.flatnonzero(differs) + 1)


def _hull(positions: IndexArray) -> Axis:
    first = int(positions.min())
    return Axis(first, int(positions.max()) - first + 1)


def _reversal(axes: Sequence[Axis], dims: Sequence[int]) -> tuple[Any, ...]:
    """Return an index that turns items read with positive steps into the wanted order."""
    return tuple(slice(None, None, -1 if axes[d].step < 0 else 1) for d in dims)


_Shapes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Of chunks and of blocks."""

_PointBox: TypeAlias = tuple[list[Axis], tuple[Any, ...], tuple[Any, ...]]
_OVERHEAD = 1024  # bytes that the Python objects of such a box take


def _boxes(selection: Fancy, shapes: _Shapes) -> Iterator[_PointBox]:
    """Cut a selection into boxes, one for each block that has points of it.

    Yields the box, the index of its points in the box, and their index among all points.
    Dimensions with index arrays come first in both.
    """
    axes = selection.basic.axes
    if selection.orthogonal:
        runs = [
            list(_groups([_block_numbers(array, shapes[0][d], shapes[1][d])]))
            for d, array in zip(selection.dims, selection.arrays, strict=True)
        ]
        for groups in product(*runs):
            box = list(axes)
            local = []
            for d, array, group in zip(selection.dims, selection.arrays, groups, strict=True):
                box[d] = _hull(array[group])
                local.append(array[group] - box[d].start)
            yield box, np.ix_(*local), np.ix_(*groups)
        return
    points = [array.ravel() for array in selection.arrays]
    keys = [
        _block_numbers(array, shapes[0][d], shapes[1][d])
        for d, array in zip(selection.dims, points, strict=True)
    ]
    for group in _groups(keys):
        box = list(axes)
        points_in_box = []
        for d, array in zip(selection.dims, points, strict=True):
            box[d] = _hull(array[group])
            points_in_box.append(array[group] - box[d].start)
        yield box, tuple(points_in_box), (group,)


def _point_shape(selection: Fancy) -> tuple[int, ...]:
    """Return the shape of all points: first what index arrays select, then the other dimensions."""
    if selection.orthogonal:
        return tuple(map(len, selection.arrays))
    return (selection.arrays[0].size,)


def _others(selection: Fancy) -> list[int]:
    """Return the dimensions without index arrays."""
    return [d for d in range(len(selection.basic.axes)) if d not in selection.dims]


def _to_result(selection: Fancy, points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return points (see `_point_shape`) as a view with the dimensions of the result."""
    axes, others = selection.basic.axes, _others(selection)
    if selection.orthogonal:
        order = [*selection.dims, *others]
        view = points.transpose(np.argsort(order))
        return view[tuple(slice(None) if axis.kept else 0 for axis in axes)]
    lead = selection.arrays[0].ndim
    view = points.reshape(*selection.arrays[0].shape, *points.shape[1:])
    # Insert new axes between the other dimensions, then move those of the index arrays.
    view = view[(*(slice(None),) * lead, *(None if d < 0 else slice(None) for d in selection.rest))]
    return np.moveaxis(view, range(lead), range(selection.at, selection.at + lead))


def count_blocks(grid: Grid, selection: Basic | Fancy) -> int:
    """Return in about how many blocks a selection has items."""
    indexed = () if isinstance(selection, Basic) else selection.dims
    axes = selection.axes if isinstance(selection, Basic) else selection.basic.axes
    count = 1
    for d, (axis, block) in enumerate(zip(axes, grid.blocks, strict=True)):
        if d not in indexed:
            last = axis.first + (axis.count - 1) * abs(axis.step)
            count *= max(min(last // block - axis.first // block + 1, axis.count), 0)
    if isinstance(selection, Basic):
        return count
    if not indexed:  # a 0-d mask that is false
        return 0
    keys = [
        _block_numbers(array.ravel(), grid.chunks[d], grid.blocks[d])
        for d, array in zip(selection.dims, selection.arrays, strict=True)
    ]
    if selection.orthogonal:
        return count * math.prod(len(np.unique(key)) for key in keys)
    return count * sum(1 for _ in _groups(keys))


def batches(
    grid: Grid, selection: Basic | Fancy, dtype: np.dtype[Any], out: npt.NDArray[Any]
) -> Iterable[Batch]:
    """Cut a selection into boxes; each block that a box touches holds a wanted item.

    Parameters
    ----------
    grid : Grid
    selection : Basic or Fancy
    dtype : dtype
        Of the array's items.
    out : ndarray
        The result, of the selection's shape.

    Returns
    -------
    iterable of Batch
    """
    if isinstance(selection, Basic):
        return (selection.batch(out),)
    return _gathered(grid, selection, dtype, out)


def _gathered(
    grid: Grid, selection: Fancy, dtype: np.dtype[Any], out: npt.NDArray[Any]
) -> Iterator[Batch]:
    if not selection.dims:  # a 0-d mask that is false
        return
    axes, others = selection.basic.axes, _others(selection)
    points = allocate((*_point_shape(selection), *(axes[d].count for d in others)), dtype)
    reverse = _reversal(axes, others)
    for boxes in _batches(_boxes(selection, (grid.chunks, grid.blocks)), dtype.itemsize):
        read = [(box_of(box), allocate([axis.count for axis in box], dtype)) for box, *_ in boxes]

        def put(read: Any = read, boxes: Any = boxes) -> None:
            for (_, items), (_, local, where) in zip(read, boxes, strict=True):
                view = items.transpose(*selection.dims, *others)
                points[where] = view[(..., *reverse)][local]

        yield Batch(read, put, by_block=True)

    def finish() -> None:
        out[...] = _to_result(selection, points)

    yield Batch([], finish)


def _batches(boxes: Iterable[_PointBox], itemsize: int) -> Iterator[list[_PointBox]]:
    """Yield lists of boxes: several that have few items, or one that has many."""
    batch: list[_PointBox] = []
    left = _BYTES
    for box in boxes:
        nbytes = itemsize * math.prod(axis.count for axis in box[0])
        if batch and nbytes > left:
            yield batch
            batch, left = [], _BYTES
        batch.append(box)
        left -= nbytes + _OVERHEAD
    if batch:
        yield batch


def write(
    grid: Grid,
    read_boxes: ReadBoxes,
    write_box: _WriteBox,
    selection: Fancy,
    values: npt.NDArray[Any],
) -> None:
    """Scatter items; each chunk that holds some of them is rewritten once."""
    if not selection.dims or values.size == 0:
        return
    axes, others = selection.basic.axes, _others(selection)
    points = allocate((*_point_shape(selection), *(axes[d].count for d in others)), values.dtype)
    _to_result(selection, points)[...] = values
    reverse = _reversal(axes, others)
    for box, local, where in _boxes(selection, (grid.chunks, grid.chunks)):
        items = allocate([axis.count for axis in box], values.dtype)
        read_boxes([(box_of(box), items)])
        view = items.transpose(*selection.dims, *others)[(..., *reverse)]
        view[local] = points[where]
        write_box(box_of(box), items)
