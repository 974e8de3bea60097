"""What stands between the brackets of `a[...]`, made a selection. Pure.

The rules are NumPy's: https://numpy.org/doc/stable/user/basics.indexing.html
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import Cause, SelectionError
from caterva_cffi.geometry.selection import Axis, Basic, Fancy, IndexArray

__all__ = ["normalize", "normalize_orthogonal"]

_WHOLE = slice(None)


def _integer(key: Any, length: int, dim: int) -> Axis:
    position = index(key)
    if not -length <= position < length:
        raise SelectionError(
            f"index {position} is out of bounds for dimension {dim} with length {length}",
            Cause("out-of-bounds", None, position, length),
        )
    return Axis(position + length if position < 0 else position, 1, 1, kept=False)


def _slice(key: slice, length: int) -> Axis:
    start, stop, step = key.indices(length)
    count = stop - start if step == 1 else len(range(start, stop, step))
    if count > 1:
        return Axis(start, count, step)
    return Axis(start, 1) if count == 1 else Axis(0, 0)  # a step may be too large for C


def _as_array(key: Any) -> npt.NDArray[Any]:
    array = np.asarray(key)
    if array.dtype == bool or np.issubdtype(array.dtype, np.integer):
        return array
    if array.size == 0 and not isinstance(key, np.ndarray):
        return array.astype(np.intp)
    raise SelectionError(
        f"an index of dtype {array.dtype}; expected integers, slices, `...`, None, "
        "or arrays of integers or booleans",
        Cause("wrong-index", None, str(array.dtype)),
    )


def _positions(array: npt.NDArray[Any], length: int, dim: int) -> IndexArray:
    """Return an integer index array; negative positions are turned into those from the start."""
    if array.size:
        least, most = int(array.min()), int(array.max())
        if least < -length or most >= length:
            wrong = least if least < -length else most
            raise SelectionError(
                f"index {wrong} is out of bounds for dimension {dim} with length {length}",
                Cause("out-of-bounds", None, int(wrong), length),
            )
    positions = array.astype(np.intp)
    return np.where(positions < 0, positions + length, positions) if array.size else positions


# Older versions of NumPy take its booleans for integers.
_NO_INTEGERS = (slice, int, np.bool_)


def _expand(keys: tuple[Any, ...], ndim: int) -> list[Any]:
    """Return keys with the slices that the ellipsis stands for behind it, and masks as arrays."""
    expanded: list[Any] = []
    used = 0
    for key in keys:
        if key is not None and key is not Ellipsis and not isinstance(key, _NO_INTEGERS):
            try:
                key = index(key)  # a 0-d array is an integer
            except TypeError:
                key = _as_array(key)
        if isinstance(key, (bool, np.bool_)):
            key = np.asarray(key)
        is_mask = isinstance(key, np.ndarray) and key.dtype == bool
        used += key.ndim if is_mask else key is not None and key is not Ellipsis
        expanded.append(key)
    ellipses = [i for i, key in enumerate(expanded) if key is Ellipsis]
    if len(ellipses) > 1:
        raise SelectionError("more than one ellipsis ('...')")
    if used > ndim:
        raise SelectionError(
            f"{used} indices for an array of {ndim} dimensions",
            Cause("wrong-ndim", None, used, ndim),
        )
    at = ellipses[0] if ellipses else len(expanded)
    return [*expanded[: at + 1], *[slice(None)] * (ndim - used), *expanded[at + 1 :]]


def _mask_positions(mask: npt.NDArray[Any], lengths: Sequence[int], dim: int) -> list[IndexArray]:
    if mask.shape != tuple(lengths):
        raise SelectionError(
            f"a mask of shape {mask.shape} for dimensions {dim} to {dim + mask.ndim - 1} "
            f"of shape {tuple(lengths)}",
            Cause("wrong-shape", None, mask.shape, tuple(lengths)),
        )
    return list(np.nonzero(mask))


_PLAIN = {int, slice, type(Ellipsis), type(None)}
_EACH_OF_A_DIMENSION = {int, slice}


def _normalize_basic(keys: tuple[Any, ...], shape: Sequence[int], kinds: set[type]) -> Basic:
    """Return a selection without arrays; most are such, so this is fast."""
    if len(keys) != len(shape) or not kinds <= _EACH_OF_A_DIMENSION:
        keys = _with_rest(keys, len(shape))
    axes: list[Axis] = []
    result_dims: list[int] = []
    dim = 0
    for key in keys:
        if key is None:
            result_dims.append(-1)
            continue
        if type(key) is slice:
            axes.append(_slice(key, shape[dim]))
            result_dims.append(dim)
        else:
            axes.append(_integer(key, shape[dim], dim))
        dim += 1
    return Basic(tuple(axes), tuple(result_dims))


def _with_rest(keys: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """Return keys without arrays, and slices for the dimensions that they do not name."""
    used = len(keys) - keys.count(None)
    dots = keys.count(Ellipsis)
    if dots > 1:
        raise SelectionError("more than one ellipsis ('...')")
    if used - dots > ndim:
        raise SelectionError(
            f"{used - dots} indices for an array of {ndim} dimensions",
            Cause("wrong-ndim", None, used - dots, ndim),
        )
    at = keys.index(Ellipsis) if dots else len(keys)
    return (*keys[:at], *(_WHOLE,) * (ndim - used + dots), *keys[at + dots :])


def normalize(key: Any, shape: Sequence[int]) -> Basic | Fancy:
    """Return a NumPy index as a selection of an array of this shape.

    Parameters
    ----------
    key : object
        What stands between the brackets of `a[...]`.
    shape : sequence of int

    Raises
    ------
    IndexError
        For positions out of bounds, too many indices, or something that is no index.
    """
    keys = key if isinstance(key, tuple) else (key,)
    kinds = {*map(type, keys)}
    if kinds <= _PLAIN:
        return _normalize_basic(keys, shape, kinds)
    mixed = _Mixed(shape)
    for item in _expand(keys, len(shape)):
        mixed.add(item)
    return mixed.selection()


class _Mixed:
    """An index in which arrays, integers and slices may stand, taken from left to right.

    Parameters
    ----------
    shape : sequence of int
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = shape
        self._axes: list[Axis] = []
        self._result_dims: list[int] = []
        self._dims: list[int] = []  # of the index arrays; -1 for a 0-d mask
        self._arrays: list[npt.NDArray[Any]] = []
        self._runs: list[int] = []  # places of index arrays among the dimensions of the result
        self._scalars: list[tuple[int, int]] = []  # dimensions and places of integers
        self._groups = 0  # of neighbouring index arrays and integers
        self._ran = False  # whether the previous key was an index array or integer

    def add(self, item: Any) -> None:
        """Take the next key.

        Raises
        ------
        IndexError
        """
        dim, advanced = len(self._axes), False
        if item is Ellipsis:
            pass  # it separates index arrays on its two sides, even if it stands for no dimension
        elif item is None:
            self._result_dims.append(-1)
        elif isinstance(item, slice):
            self._axes.append(_slice(item, self._shape[dim]))
            self._result_dims.append(dim)
        else:
            advanced = True
            if isinstance(item, np.ndarray):
                self._add_array(item, dim)
            else:
                self._axes.append(_integer(item, self._shape[dim], dim))
                self._scalars.append((dim, len(self._result_dims)))
        self._groups += advanced and not self._ran
        self._ran = advanced

    def _add_array(self, item: npt.NDArray[Any], dim: int) -> None:
        shape = self._shape
        if item.dtype == bool and item.ndim:
            positions = _mask_positions(item, shape[dim : dim + item.ndim], dim)
        elif item.dtype == bool:
            # A 0-d mask adds a dimension of length 0 or 1, and selects along no dimension.
            positions = []
            self._arrays.append(np.zeros(int(item), np.intp))
            self._dims.append(-1)
        else:
            positions = [_positions(item, shape[dim], dim)]
        self._runs.append(len(self._result_dims))
        for each, position in enumerate(positions, dim):
            self._dims.append(each)
            self._arrays.append(position)
            self._result_dims.append(each)
            self._axes.append(Axis(0, shape[each]))

    def selection(self) -> Basic | Fancy:
        """Return what all keys select together.

        Raises
        ------
        IndexError
            For index arrays that cannot be broadcast together.
        """
        if not self._arrays:
            return Basic(tuple(self._axes), tuple(self._result_dims))
        # Beside index arrays, an integer is an index array too, and is broadcast with them.
        for dim, place in self._scalars:
            self._dims.append(dim)
            self._arrays.append(np.asarray(self._axes[dim].start, np.intp))
            self._runs.append(place)
            self._axes[dim] = Axis(0, self._shape[dim])
        try:
            broadcast = np.broadcast_arrays(*self._arrays)
        except ValueError:
            shapes = ", ".join(str(array.shape) for array in self._arrays)
            raise SelectionError(
                f"index arrays of shapes {shapes} cannot be broadcast together", "wrong-shape"
            ) from None
        axes, result_dims = tuple(self._axes), tuple(self._result_dims)
        before = min(self._runs) if self._groups == 1 else 0
        real = [i for i, dim in enumerate(self._dims) if dim >= 0]
        if not real and broadcast[0].size:
            # Only 0-d masks that are true: a new axis of length 1.
            return Basic(axes, (*result_dims[:before], -1, *result_dims[before:]))
        return Fancy(
            Basic(axes, result_dims),
            tuple(self._dims[i] for i in real),
            tuple(broadcast[i] for i in real) or (broadcast[0],),
            before,
        )


def normalize_orthogonal(key: Any, shape: Sequence[int]) -> Basic | Fancy:
    """Return an orthogonal index: each index array or mask selects along its own dimension.

    Parameters
    ----------
    key : object
        Integers, slices, `...`, and 1-d arrays of integers or booleans.
    shape : sequence of int

    Raises
    ------
    IndexError
        As for `normalize`, and for arrays that are not 1-d.
    """
    axes: list[Axis] = []
    result_dims: list[int] = []
    dims: list[int] = []
    arrays: list[IndexArray] = []
    for item in _expand(key if isinstance(key, tuple) else (key,), len(shape)):
        dim = len(axes)
        if item is Ellipsis:
            continue
        if item is None:
            raise SelectionError("an orthogonal selection has no new axes")
        if isinstance(item, np.ndarray):
            if item.ndim != 1:
                raise SelectionError(
                    f"an orthogonal index array of shape {item.shape} for dimension {dim}; "
                    "expected one dimension",
                    Cause("wrong-ndim", None, item.ndim, 1),
                )
            if item.dtype == bool:
                arrays += _mask_positions(item, shape[dim : dim + 1], dim)
            else:
                arrays.append(_positions(item, shape[dim], dim))
            dims.append(dim)
            axes.append(Axis(0, shape[dim]))
        elif isinstance(item, slice):
            axes.append(_slice(item, shape[dim]))
        else:
            axes.append(_integer(item, shape[dim], dim))
        if axes[dim].kept:
            result_dims.append(dim)
    basic = Basic(tuple(axes), tuple(result_dims))
    return Fancy(basic, tuple(dims), tuple(arrays), orthogonal=True) if arrays else basic
