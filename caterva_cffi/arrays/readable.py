"""What all arrays have in common that are read by selections, wherever their chunks are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.info import InfoReporter, html_of
from caterva_cffi.binding.library import lib
from caterva_cffi.dtypes import allocate, as_asked
from caterva_cffi.errors import ArgumentError, ReadOnlyError
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Basic, Fancy, normalize, normalize_orthogonal

__all__ = ["OrthogonalReads", "ReadableArray"]

_SLAB_BYTES = 16 << 20
"""Bytes of items that are read at once when a call looks at all items in turn."""


class OrthogonalReads:
    """Orthogonal selection: each index array or mask selects along its own dimension.

    Parameters
    ----------
    array : ReadableArray
    """

    def __init__(self, array: ReadableArray) -> None:
        self._array = array

    def __getitem__(self, key: Any) -> Any:
        """Return the items; see the array's `oindex`."""
        with self._array._reading():
            result = self._array._get(self._array._select(normalize_orthogonal, key))
        return result if result.shape else result[()]


class ReadableArray(ABC):
    """An array of compressed chunks whose items are read by selections."""

    _grid: Grid
    _dtype: np.dtype[Any]

    @abstractmethod
    def _reading(self) -> AbstractContextManager[None]:
        """Hold off everybody who would change the array."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raise `ClosedError` for an array that was closed."""

    @abstractmethod
    def _fill(self, out: npt.NDArray[Any], selection: Basic | Fancy) -> None:
        """Read items into an array of the right shape and dtype, while nobody changes this one."""

    @abstractmethod
    def _check_current(self) -> None:
        """Raise if what is stored has another geometry now, as far as that is noticed."""

    @property
    @abstractmethod
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""

    @property
    @abstractmethod
    def info_items(self) -> list[tuple[str, Any]]:
        """The report's lines: name and value."""

    @property
    @abstractmethod
    def _closed(self) -> bool:
        """Whether `close` was called."""

    # --- what it is ---------------------------------------------------------------------------

    @property
    def _current_grid(self) -> Grid:
        self._check_current()
        return self._grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, in items."""
        return self._current_grid.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk shape, in items."""
        return self._current_grid.chunks

    @property
    def blocks(self) -> tuple[int, ...]:
        """Block shape, in items."""
        return self._current_grid.blocks

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._current_grid.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the items; `S{itemsize}` if none was named."""
        self._check_current()
        return self._dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an item."""
        return self._current_grid.itemsize

    @property
    def size(self) -> int:
        """Bytes of all items, as in python-caterva; `nitems` counts them."""
        return self._current_grid.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of all items."""
        return self._current_grid.nbytes

    @property
    def nitems(self) -> int:
        """Number of items."""
        return self._current_grid.nbytes // self._grid.itemsize

    @property
    def nchunks(self) -> int:
        """Number of chunks."""
        return self._current_grid.nchunks

    @property
    def chunksize(self) -> int:
        """Bytes of a chunk's items."""
        return self._current_grid.chunksize

    @property
    def checksum(self) -> bool:
        """Whether each block has a checksum, which is compared when the block is read."""
        return self._current_grid.checksums

    @property
    def blocksize(self) -> int:
        """Bytes of a block's items."""
        return self._current_grid.blocksize

    @property
    def cratio(self) -> float:
        """Compression ratio: bytes of the items, by bytes of the chunks and their headers."""
        stored = self.cbytes + lib.BLOSC2_MAX_OVERHEAD * self.nchunks
        return self.size / stored if stored else 1.0

    @property
    def info(self) -> InfoReporter:
        """A report for people, as text and in notebooks."""
        return InfoReporter(self)

    def _repr_html_(self) -> str:
        return html_of(self)

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of a 0-d array")
        return shape[0]

    # --- conversions and comparisons, by NumPy's rules ----------------------------------------

    def _at_most_one(self) -> npt.NDArray[Any]:
        """Return items to convert to one value; for many items only two, which fail as well."""
        return self.read() if self.nitems <= 1 else np.empty(2, self._dtype)

    def __bool__(self) -> bool:
        """Return the truth of the only item; raise a ValueError if there are more or none."""
        return bool(self._at_most_one())

    def __int__(self) -> int:
        return int(self._at_most_one())

    def __float__(self) -> float:
        return float(self._at_most_one())

    def __complex__(self) -> complex:
        return complex(self._at_most_one())

    def __index__(self) -> int:
        return index(self._at_most_one())

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the first dimension; it reads many rows at a time."""
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return chain.from_iterable(self._slabs())

    def _slabs(self) -> Iterator[npt.NDArray[Any]]:
        """Yield all items, some rows at a time."""
        start, grid = 0, self._grid
        row = max(grid.nbytes // max(grid.shape[0], 1), 1)
        rows = max(_SLAB_BYTES // row, 1)
        # Read whole chunks, or whole blocks, so that none is decoded twice.
        for part in (max(grid.blocks[0], 1), max(grid.chunks[0], 1)):
            rows -= rows % part if rows > part else 0
        while start < len(self):
            yield self.read(slice(start, start + rows))
            start += rows

    def __contains__(self, item: Any) -> bool:
        """Whether any item equals a value, which is broadcast to the items."""
        if not self.nitems or np.ndim(item) >= self.ndim:
            return bool((self.read() == item).any())
        return any(bool((slab == item).any()) for slab in self._slabs())

    def __eq__(self, other: object) -> Any:
        """Return which items are equal, as a NumPy array."""
        return self.read() == other

    def __ne__(self, other: object) -> Any:
        """Return which items differ, as a NumPy array."""
        return self.read() != other

    # By identity: dictionaries and sets find the object without a comparison of items.
    __hash__ = object.__hash__

    # --- reading ------------------------------------------------------------------------------

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        """Return the items as a NumPy array, which is always a copy."""
        if copy is False:
            raise ValueError("compressed items cannot be had without a copy")
        items = self.read()
        return as_asked(items, dtype)

    def __getitem__(self, key: Any) -> Any:
        """Return items, as NumPy does.

        Parameters
        ----------
        key : integers, slices, `...`, None, integer arrays or masks

        Returns
        -------
        ndarray or scalar
            A new array of the array's dtype; a scalar where integers name one item.

        Raises
        ------
        IndexError
        """
        result = self.read(key)
        if not result.shape and not any(k is ... for k in (key if type(key) is tuple else (key,))):
            return result[()]
        return result

    def read(self, selection: Any = ..., out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Read items; into a destination, of any strides, if one is given.

        Parameters
        ----------
        selection : integers, slices, `...`, None, integer arrays or masks
        out : ndarray, optional
            Writable, of the selection's shape and the array's dtype. With integers and slices,
            blocks are decoded straight into it; with index arrays and masks, through a copy.

        Returns
        -------
        ndarray
            `out`, or a new array.

        Raises
        ------
        ArgumentError
            For a destination that does not fit.
        ReadOnlyError
            For a read-only destination.
        IndexError
        """
        with self._reading():
            return self._get(self._select(normalize, selection), out)

    def _select(
        self, normalized: Callable[[Any, Sequence[int]], Basic | Fancy], key: Any
    ) -> Basic | Fancy:
        """Return a selection; the caller holds off writers."""
        try:
            return normalized(key, self._grid.shape)
        except Exception:
            self._check_current()  # a change by others would explain it
            raise

    def _get(
        self, selection: Basic | Fancy, out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Read items; the caller holds off writers since it looked at the shape."""
        self._check_open()
        if out is None:
            out = allocate(selection.shape, self._dtype)
        else:
            self._check_out(out, selection.shape)
        self._fill(out, selection)
        return out

    def _check_out(self, out: Any, shape: tuple[int, ...]) -> None:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out is {type(out).__name__}; expected a NumPy array")
        untyped = self._dtype.kind == "S" and out.dtype.itemsize == self._grid.itemsize
        if out.shape != shape or (out.dtype != self._dtype and not untyped) or out.dtype.hasobject:
            raise ArgumentError(
                f"out has shape {out.shape} and dtype {out.dtype}; "
                f"expected {shape} and {self._dtype}"
            )
        if not out.flags.writeable:
            raise ReadOnlyError("out is read-only")
