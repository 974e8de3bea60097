"""Index arrays and masks, gathered and scattered box by box.

Reading decodes only the blocks that hold a wanted item; writing rewrites each chunk once. Points
that are few to a block are crops, which are read to where they go. Of more points, the boxes around
those of each block are read, and the points are taken from these.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import allocate
from caterva_cffi.geometry.crops import Crops, batch_of_crops
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Axis, Basic, Batch, Box, Fancy, IndexArray, box_of

__all__ = ["ReadBoxes", "batches", "count_blocks", "write"]

ReadBoxes: TypeAlias = Callable[[Sequence[tuple[Box, npt.NDArray[Any]]]], None]
"""Reads boxes, each into an array of its shape."""

_WriteBox: TypeAlias = Callable[[Box, npt.NDArray[Any]], None]

_BYTES = 32 << 20
"""Bytes of items that are read at a time; the wanted ones are taken from them."""

_POINTS = 16384
"""That are read at a time, if each is read by itself, and they have no more bytes."""

_FEW_POINTS = 16
"""So many points of a block are read one by one; more are taken from the box around them. In blocks
of 32³ float32, 16 points took half of the time so, and 32 points 0.9 of it.
"""

_LEAST_POINTS = 10
"""To plan fewer points together takes longer than to make a box for each block."""


def _block_numbers(positions: IndexArray, chunk: int, block: int) -> IndexArray:
    """Return the number of the block along one dimension that holds each position."""
    return positions // chunk * -(-chunk // block) + positions % chunk // block


class _Groups(NamedTuple):
    """Points by the blocks that they are in.

    Attributes
    ----------
    order : ndarray of intp
        Numbers of the points; those of one block follow each other, in their order.
    firsts : ndarray of intp
        Where the points of each block begin in it.
    """

    order: IndexArray
    firsts: IndexArray

    def numbers(self) -> list[IndexArray]:
        """Return the numbers of the points of each block."""
        return np.split(self.order, self.firsts[1:]) if self.order.size else []

    def hulls(self, positions: IndexArray) -> tuple[list[int], list[int]]:
        """Return the lowest and the highest position of each block's points."""
        if not self.order.size:
            return [], []
        ordered = positions[self.order]
        low, high = (each.reduceat(ordered, self.firsts) for each in (np.minimum, np.maximum))
        return low.tolist(), high.tolist()


def _groups_of(keys: IndexArray) -> _Groups:
    """Group points by keys."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    begins = np.ones(len(keys), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return _Groups(order, np.flatnonzero(begins))


class _Partition(NamedTuple):
    """Lengths along each dimension: of the array, of chunks and of blocks."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    blocks: tuple[int, ...]


def _group_points(selection: Fancy, partition: _Partition) -> _Groups:
    """Group the points of a selection by the blocks that they are in."""
    keys, most = np.zeros(selection.arrays[0].size, np.intp), 1
    for d, array in zip(selection.dims, selection.arrays, strict=True):
        length, chunk, block = (lengths[d] for lengths in partition)
        count = -(-length // max(chunk, 1)) * -(-chunk // max(block, 1))
        if most * count > sys.maxsize:  # then number only the blocks that have points
            found, keys = np.unique(keys, return_inverse=True)
            most = len(found)
        keys, most = keys * count + _block_numbers(array.ravel(), chunk, block), most * count
    return _groups_of(keys)


def _reversal(axes: Sequence[Axis], dims: Sequence[int]) -> tuple[Any, ...]:
    """Return an index that turns items read with positive steps into the wanted order."""
    return tuple(slice(None, None, -1 if axes[d].step < 0 else 1) for d in dims)


_PointBox: TypeAlias = tuple[list[Axis], tuple[Any, ...], tuple[Any, ...]]
_OVERHEAD = 1024  # bytes that the Python objects of such a box take


def _boxes(selection: Fancy, partition: _Partition) -> Iterator[_PointBox]:
    """Cut a selection into boxes, one for each block that has points of it.

    Yields the box, the index of its points in the box, and their index among all points.
    Dimensions with index arrays come first in both.
    """
    if selection.orthogonal:
        return _orthogonal_boxes(selection, partition)
    return _boxes_of_groups(selection, _group_points(selection, partition))


def _boxes_of_groups(selection: Fancy, groups: _Groups) -> Iterator[_PointBox]:
    points = [array.ravel() for array in selection.arrays]
    hulls = [zip(*groups.hulls(array), strict=True) for array in points]
    for group, *edges in zip(groups.numbers(), *hulls, strict=True):
        box, local = list(selection.basic.axes), []
        for d, array, (low, high) in zip(selection.dims, points, edges, strict=True):
            box[d] = Axis(low, high - low + 1)
            local.append(array[group] - low)
        yield box, tuple(local), (group,)


def _orthogonal_boxes(selection: Fancy, partition: _Partition) -> Iterator[_PointBox]:
    runs = []
    for d, array in zip(selection.dims, selection.arrays, strict=True):
        groups = _groups_of(_block_numbers(array, partition.chunks[d], partition.blocks[d]))
        runs.append(zip(groups.numbers(), *groups.hulls(array), strict=True))
    for found in product(*runs):
        box, local = list(selection.basic.axes), []
        for d, array, (group, low, high) in zip(
            selection.dims, selection.arrays, found, strict=True
        ):
            box[d] = Axis(low, high - low + 1)
            local.append(array[group] - low)
        yield box, np.ix_(*local), np.ix_(*(group for group, _, _ in found))


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
    if selection.orthogonal:
        keys = [
            _block_numbers(array, grid.chunks[d], grid.blocks[d])
            for d, array in zip(selection.dims, selection.arrays, strict=True)
        ]
        return count * math.prod(len(np.unique(key)) for key in keys)
    return count * len(_group_points(selection, _blocks_of(grid)).firsts)


def _blocks_of(grid: Grid) -> _Partition:
    return _Partition(grid.shape, grid.chunks, grid.blocks)


def batches(
    grid: Grid, selection: Basic | Fancy | Crops, dtype: np.dtype[Any], out: npt.NDArray[Any]
) -> Iterable[Batch]:
    """Cut a selection into boxes; each block that a box touches holds a wanted item.

    Parameters
    ----------
    grid : Grid
    selection : Basic, Fancy or Crops
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
    if isinstance(selection, Crops):
        return (batch_of_crops(selection, out),)
    return _gathered(grid, selection, dtype, out)


def _gathered(
    grid: Grid, selection: Fancy, dtype: np.dtype[Any], out: npt.NDArray[Any]
) -> Iterator[Batch]:
    if not selection.dims or not out.size:  # also a 0-d mask that is false
        return
    axes, others = selection.basic.axes, _others(selection)
    points = allocate((*_point_shape(selection), *(axes[d].count for d in others)), dtype)
    if selection.orthogonal:
        yield from _hulls(selection, _orthogonal_boxes(selection, _blocks_of(grid)), points)
    else:
        groups = _group_points(selection, _blocks_of(grid))
        if _are_few(selection, groups):
            yield from _crops(selection, groups, points)
        else:
            yield from _hulls(selection, _boxes_of_groups(selection, groups), points)

    def finish() -> None:
        out[...] = _to_result(selection, points)

    yield Batch([], finish)


def _are_few(selection: Fancy, groups: _Groups) -> bool:
    """Whether to read points one by one, instead of the boxes around those of each block."""
    axes, few = selection.basic.axes, _FEW_POINTS * len(groups.firsts)
    steps = [abs(axes[d].step) for d in _others(selection) if axes[d].count > 1]
    return _LEAST_POINTS <= len(groups.order) <= few and max(steps, default=1) == 1


def _crops(selection: Fancy, groups: _Groups, points: npt.NDArray[Any]) -> Iterator[Batch]:
    """Yield points as crops with one item along the dimensions that have index arrays."""
    axes, others = selection.basic.axes, _others(selection)
    shape = tuple(1 if d in selection.dims else axis.count for d, axis in enumerate(axes))
    reverse = dict(zip(others, _reversal(axes, others), strict=True))
    laid = (slice(None), *map(reverse.get, range(len(axes))))  # None where there is an index array
    at_once = max(min(_POINTS, _BYTES // (math.prod(shape) * points.itemsize)), 1)
    for first in range(0, len(points), at_once):
        rows = groups.order[first : first + at_once]
        starts = np.empty((len(rows), len(axes)), np.int64)
        starts[:] = [axis.first for axis in axes]
        for d, array in zip(selection.dims, selection.arrays, strict=True):
            starts[:, d] = array.ravel()[rows]
        items = allocate((len(rows), *points.shape[1:]), points.dtype)

        def put(rows: Any = rows, items: Any = items) -> None:
            points[rows] = items

        yield batch_of_crops(Crops(starts, shape), items[laid], put)


def _hulls(
    selection: Fancy, boxes: Iterable[_PointBox], points: npt.NDArray[Any]
) -> Iterator[Batch]:
    """Yield the boxes around the points of each block."""
    axes, others, dtype = selection.basic.axes, _others(selection), points.dtype
    reverse = _reversal(axes, others)
    for some in _batches(boxes, dtype.itemsize):
        read = [(box_of(box), allocate([axis.count for axis in box], dtype)) for box, *_ in some]

        def put(read: Any = read, some: Any = some) -> None:
            for (_, items), (_, local, where) in zip(read, some, strict=True):
                view = items.transpose(*selection.dims, *others)
                points[where] = view[(..., *reverse)][local]

        yield Batch(read, put, by_block=True)


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
    by_chunk = _Partition(grid.shape, grid.chunks, grid.chunks)
    for box, local, where in _boxes(selection, by_chunk):
        items = allocate([axis.count for axis in box], values.dtype)
        read_boxes([(box_of(box), items)])
        view = items.transpose(*selection.dims, *others)[(..., *reverse)]
        view[local] = points[where]
        write_box(box_of(box), items)
