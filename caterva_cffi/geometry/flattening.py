"""Boxes of an array in C order, as boxes of the row that its items are in memory. Pure."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from caterva_cffi.geometry.selection import Batch, Box

__all__ = ["flattened"]

_MOST_ROWS = 512
"""More rows of a box cost more than to read all that is between them."""


class _Dim(NamedTuple):
    """A dimension of a box: wanted units; units, and bytes in the destination, between two."""

    n: int
    jump: int
    stride: int


def flattened(shape: tuple[int, ...], unit: int, box: Box, dest: npt.NDArray[Any]) -> Batch:
    """Return boxes of a row of units that hold the items of a box.

    Parameters
    ----------
    shape : tuple of int
        Of the array, in items.
    unit : int
        Bytes of a unit. An item is one unit, or several.
    box : Box
    dest : ndarray
        Of the box's shape.
    """
    if not dest.size:
        return Batch([])
    units = dest.itemsize // unit
    seen = dest.view(np.dtype([("units", f"V{unit}", (units,))]))["units"]
    lengths, starts = (*shape, units), (*box[0], 0)
    counts, steps = (*box[1], units), (*box[2], 1)
    across = [math.prod(lengths[d + 1 :]) for d in range(len(lengths))]
    first = sum(start * n for start, n in zip(starts, across, strict=True))
    jumps = [step * n for step, n in zip(steps, across, strict=True)]
    dims = [_Dim(*each) for each in zip(counts, jumps, seen.strides, strict=True)]
    inner = _joined(dims)
    outer = dims[: len(dims) - inner]
    if math.prod(dim.n for dim in outer) > _MOST_ROWS:
        return _hull(first, dims, unit, seen)
    run = _run(dims[len(dims) - inner :])
    boxes = []
    for position in product(*(range(dim.n) for dim in outer)):
        at = first + sum(i * dim.jump for i, dim in zip(position, outer, strict=True))
        corner = seen[tuple([slice(i, i + 1) for i in position])]
        row = as_strided(corner, (run.n,), (run.stride,))
        boxes.append((([at], [run.n], [run.jump]), row))
    return Batch(boxes, by_block=len(boxes) > 1)


def _run(dims: list[_Dim]) -> _Dim:
    """Return dimensions that are like one as this one."""
    wide = [dim for dim in dims if dim.n > 1]
    last = wide[-1] if wide else _Dim(1, 1, 0)
    return last._replace(n=math.prod(dim.n for dim in dims))


def _joined(dims: list[_Dim]) -> int:
    """Return how many of the last dimensions are like one: each goes on where the next one ends."""
    joined = 0
    run = _Dim(1, 1, 0)
    for dim in reversed(dims):
        is_next = dim.jump == run.n * run.jump and dim.stride == run.n * run.stride
        if dim.n > 1 and run.n > 1 and not is_next:
            break
        if dim.n > 1:
            run = dim if run.n == 1 else run._replace(n=run.n * dim.n)
        joined += 1
    return joined


def _hull(first: int, dims: list[_Dim], unit: int, seen: npt.NDArray[Any]) -> Batch:
    """Read all from the first to the last wanted unit, and take the wanted ones from it."""
    length = 1 + sum((dim.n - 1) * dim.jump for dim in dims)
    read = np.empty(length, f"V{unit}")

    def put() -> None:
        seen[...] = as_strided(read, seen.shape, [dim.jump * unit for dim in dims])

    return Batch([(([first], [length], [1]), read)], put)
