"""The items of a stored chunk, as what Zarr merges a new part into.

Zarr writes a part of a chunk by decoding the chunk, assigning to a copy of it, and encoding that.
Which values fit which selection, what an edge chunk holds beyond the array, and when a chunk need
not be read at all are thereby Zarr's own rules. What Zarr gets here decodes nothing until somebody
looks at the items, and remembers assignments, so that encoding compresses only touched blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import cpu

from caterva_cffi.dtypes import allocate, as_dtype
from caterva_cffi.geometry.selection import Basic, Fancy, normalize

__all__ = ["Assignment", "LazyBuffer", "LazyItems"]

Assignment: TypeAlias = tuple[Basic | Fancy, npt.NDArray[Any]]
"""A selection of a chunk, and items of its shape and of the chunk's dtype."""


class LazyItems:
    """The items of a chunk, decoded when somebody looks at them.

    It has what Zarr's buffers ask of an array; for anything else all items are decoded.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    read : callable
        Decodes a selection, given as NumPy takes it.
    edit : callable
        Gives the stored chunk as it is after assignments.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[Any], npt.NDArray[Any]],
        edit: Callable[[Sequence[Assignment]], memoryview],
    ) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = dtype
        self._read = read
        self._edit = edit
        self._assigned: list[tuple[Any, Assignment]] = []  # with the key that was given

    def copy(self, order: Literal["K", "A", "C", "F"] = "C") -> LazyItems:
        """Return what may be assigned to without changing this."""
        copied = LazyItems(self.shape, self.dtype, self._read, self._edit)
        copied._assigned = self._assigned.copy()
        return copied

    def edited(self) -> memoryview:
        """Return the stored chunk as it is after the assignments."""
        return self._edit([assignment for _, assignment in self._assigned])

    def all(self, fits: Callable[[npt.NDArray[Any]], bool]) -> bool:
        """Whether all items fit; decodes them only where those that were assigned last do."""
        if self._assigned and not fits(self._assigned[-1][1][1]):
            return False
        return fits(self._decode())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Decode the blocks that hold wanted items; all, after an assignment."""
        return np.asarray(self._decode()[key]) if self._assigned else self._read(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Remember an assignment, if NumPy accepts it.

        Raises
        ------
        ValueError, TypeError, IndexError
            As NumPy.
        """
        selection = normalize(key, self.shape)
        fitting = self._fitting(key, selection.shape, np.asanyarray(value))
        self._assigned.append((key, (selection, fitting)))

    def _fitting(
        self, key: Any, shape: tuple[int, ...], value: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Return a value in the shape of a selection, and in the items' dtype."""
        if value.ndim and value.shape != shape:
            # NumPy judges: all items of the probe are one place in memory.
            item = allocate((), self.dtype)
            probe = np.lib.stride_tricks.as_strided(item, self.shape, (0,) * self.ndim)
            probe[key] = value
            value = value.reshape(value.shape[max(value.ndim - len(shape), 0) :])
        return np.broadcast_to(as_dtype(value, self.dtype), shape)

    def _decode(self) -> npt.NDArray[Any]:
        """Return all items as they are after the assignments."""
        items = self._read(...)
        for key, (_, value) in self._assigned:
            items[key] = value
        return items

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Return all items as they are after the assignments."""
        items = self._decode()
        return items if dtype is None else items.astype(dtype, copy=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # a protocol that is not offered
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


class LazyBuffer(cpu.NDBuffer):
    """Zarr's buffer around `LazyItems`; around what its methods make of these, a plain one."""

    @property
    def lazy_items(self) -> LazyItems | None:
        """The items, if none was looked at."""
        return self._data if isinstance(self._data, LazyItems) else None

    def as_ndarray_like(self) -> Any:
        """Return all items as a NumPy array."""
        return self.as_numpy_array()

    def all_equal(self, other: Any, equal_nan: bool = True) -> bool:
        """Whether every item equals `other`; decodes only where the new items do."""
        items = self.lazy_items
        if items is None:
            return super().all_equal(other, equal_nan)

        def fits(array: npt.NDArray[Any]) -> bool:
            return cpu.NDBuffer(array).all_equal(other, equal_nan)

        return items.all(fits)
