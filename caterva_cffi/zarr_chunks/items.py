"""The items of a stored chunk, into which Zarr merges a new part.

Zarr writes a part of a chunk by decoding the chunk, assigning to a copy of it, and encoding that.
So Zarr's own rules decide which values fit a selection, what an edge chunk holds beyond the array,
and when a chunk need not be read at all. What Zarr gets here decodes nothing until somebody looks
at the items. It remembers assignments, so that encoding compresses only the touched blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from zarr.core.buffer import cpu

from caterva_cffi.dtypes import allocate, as_dtype
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.geometry.selection import Basic, Fancy

__all__ = ["Assignment", "LazyBuffer", "LazyItems"]

Assignment: TypeAlias = tuple[Basic | Fancy, npt.NDArray[Any]]
"""A selection of a chunk, and items of the selection's shape and the chunk's dtype."""


class LazyItems:
    """The items of a chunk, decoded when somebody looks at them.

    It has the methods that Zarr's buffers use; any other use of it decodes all items.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    read : callable
        Decodes a selection, which is a NumPy index.
    edit : callable
        Returns the stored chunk as it is after assignments.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        read: Callable[[Any], npt.NDArray[Any]],
        edit: Callable[[Sequence[Assignment]], Any],
    ) -> None:
        self.shape = shape
        self.ndim = len(shape)
        self.dtype = dtype
        self._read = read
        self._edit = edit
        self._assigned: list[tuple[Any, Assignment]] = []  # each with its NumPy index

    def copy(self, order: Literal["K", "A", "C", "F"] = "C") -> LazyItems:
        """Return a copy; assignments to it do not change this object."""
        copied = LazyItems(self.shape, self.dtype, self._read, self._edit)
        copied._assigned = self._assigned.copy()
        return copied

    def edited(self) -> Any:
        """Return the stored chunk as it is after the assignments."""
        return self._edit([assignment for _, assignment in self._assigned])

    def all(self, fits: Callable[[npt.NDArray[Any]], bool]) -> bool:
        """Whether all items fit; decodes them only if the items assigned last do."""
        if self._assigned and not fits(self._assigned[-1][1][1]):
            return False
        return fits(self._decode())

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        """Return items; decodes only their blocks, or all blocks after an assignment."""
        return np.asarray(self._decode()[key]) if self._assigned else self._read(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Remember an assignment, if NumPy accepts it.

        Raises
        ------
        ValueError, TypeError, IndexError
            As in NumPy.
        """
        selection = normalize(key, self.shape)
        fitting = self._fitting(key, selection.shape, np.asanyarray(value))
        self._assigned.append((key, (selection, fitting)))

    def _fitting(
        self, key: Any, shape: tuple[int, ...], value: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Return a value, broadcast to the shape of a selection, in the items' dtype."""
        if value.ndim and value.shape != shape:
            # NumPy decides: it assigns to a probe whose items share one place in memory.
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
        if name.startswith("__"):  # a protocol that this class does not have
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


class LazyBuffer(cpu.NDBuffer):
    """Zarr's buffer around `LazyItems`; around other arrays it is like Zarr's own."""

    @property
    def lazy_items(self) -> LazyItems | None:
        """The lazy items, if nobody has looked at them."""
        return self._data if isinstance(self._data, LazyItems) else None

    def as_ndarray_like(self) -> Any:
        """Return all items as a NumPy array."""
        return self.as_numpy_array()

    def all_equal(self, other: Any, equal_nan: bool = True) -> bool:
        """Whether every item equals `other`; decodes only if the new items do."""
        items = self.lazy_items
        if items is None:
            return super().all_equal(other, equal_nan)

        def fits(array: npt.NDArray[Any]) -> bool:
            return cpu.NDBuffer(array).all_equal(other, equal_nan)

        return items.all(fits)
