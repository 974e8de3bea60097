"""What all arrays have in common that are read by selections, wherever their chunks are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from itertools import chain
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.info import InfoReporter, html_of
from caterva_cffi.arrays.items import Items
from caterva_cffi.binding.library import lib
from caterva_cffi.costs.explanation import Explanation
from caterva_cffi.dtypes import as_asked
from caterva_cffi.geometry.crops import normalize_crops
from caterva_cffi.geometry.keys import normalize, normalize_orthogonal
from caterva_cffi.keywords import checked_keywords

__all__ = ["OrthogonalReads", "ReadableArray", "items_of"]

_SLAB_BYTES = 16 << 20
"""Bytes of items that are read at once when a call looks at all items in turn."""


class OrthogonalReads:
    """Orthogonal selection: each index array or mask selects along its own dimension.

    Parameters
    ----------
    items : Items
    """

    def __init__(self, items: Items) -> None:
        self._items = items

    def __getitem__(self, key: Any) -> Any:
        """Return the items; see the array's `oindex`."""
        with self._items.reading():
            result = self._items.get(self._items.select(normalize_orthogonal, key))
        return result if result.shape else result[()]


class ReadableArray(ABC):
    """An array of compressed chunks whose items are read by selections."""

    _items: Items

    @property
    @abstractmethod
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""

    @property
    @abstractmethod
    def info_items(self) -> list[tuple[str, Any]]:
        """The report's lines: name and value."""

    # --- what it is ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, in items."""
        return self._items.current_grid.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk shape, in items."""
        return self._items.current_grid.chunks

    @property
    def blocks(self) -> tuple[int, ...]:
        """Block shape, in items."""
        return self._items.current_grid.blocks

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._items.current_grid.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the items; `S{itemsize}` if none was named."""
        self._items.check_current()
        return self._items.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of an item."""
        return self._items.current_grid.itemsize

    @property
    def size(self) -> int:
        """Bytes of all items, as in python-caterva; `nitems` counts them."""
        return self._items.current_grid.nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of all items."""
        return self._items.current_grid.nbytes

    @property
    def nitems(self) -> int:
        """Number of items."""
        grid = self._items.current_grid
        return grid.nbytes // grid.itemsize

    @property
    def nchunks(self) -> int:
        """Number of chunks."""
        return self._items.current_grid.nchunks

    @property
    def chunksize(self) -> int:
        """Bytes of a chunk's items."""
        return self._items.current_grid.chunksize

    @property
    def checksum(self) -> bool:
        """Whether each block has a checksum, which is compared when the block is read."""
        return self._items.current_grid.checksums

    @property
    def blocksize(self) -> int:
        """Bytes of a block's items."""
        return self._items.current_grid.blocksize

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
        return escape(repr(self)) if self._items.closed else html_of(self)

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of a 0-d array")
        return shape[0]

    # --- conversions and comparisons, by NumPy's rules ----------------------------------------

    def _at_most_one(self) -> npt.NDArray[Any]:
        """Return items to convert to one value; for many items only two, which fail as well."""
        return self.read() if self.nitems <= 1 else np.empty(2, self._items.dtype)

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
        start, grid = 0, self._items.grid
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

        Examples
        --------
        >>> a[1:3, ::2]
        array([[ 6,  8, 10],
               [12, 14, 16]], dtype=int32)
        >>> a[[0, 3], [1, 5]]
        array([ 1, 23], dtype=int32)
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

        Examples
        --------
        >>> out = np.empty((2, 6), "i4")
        >>> a.read(np.s_[1:3], out=out) is out
        True
        """
        items = self._items
        with items.reading():
            return items.get(items.select(normalize, selection), out)

    @checked_keywords
    def explain(self, selection: Any = ...) -> Explanation:
        """Tell what it would cost now to read items, without reading them.

        Of chunks that are stored, only the heads are read, and they are not kept.

        Parameters
        ----------
        selection : integers, slices, `...`, None, integer arrays or masks

        Returns
        -------
        Explanation
            Which blocks are decoded, and how many bytes are read for them, by how many requests.

        Raises
        ------
        IndexError

        Examples
        --------
        >>> print(a.explain(np.s_[:, 4]))
        Selected : (4,) of (4, 6), in 4 items
        Chunks   : 1 of 2, of (4, 3)
        Blocks   : 2 of (2, 3) are decoded
        Wanted   : 16 bytes
        Decoded  : 48 bytes, 3 times as many
        Read     : none: the array is in memory
        Memory   : about ... bytes at most
        """
        items = self._items
        with items.reading():
            return items.explain(items.select(normalize, selection))

    def read_many(
        self, starts: npt.ArrayLike, shape: Sequence[int], out: npt.NDArray[Any] | None = None
    ) -> npt.NDArray[Any]:
        """Read boxes of one shape, such as random crops to train on.

        A block in which several boxes have items is decoded once. All threads share the work.

        Parameters
        ----------
        starts : array_like of int
            The first item of each box: one row for each box, one column for each dimension.
        shape : sequence of int
            Of each box, in items. All boxes lie inside the array.
        out : ndarray, optional
            Writable, of shape `(len(starts), *shape)` and the array's dtype, with any strides.

        Returns
        -------
        ndarray
            `out`, or a new array: the boxes in the order of `starts`.

        Raises
        ------
        IndexError
            For boxes that do not lie inside the array.
        TypeError
            For positions that are no integers.
        ArgumentError, ReadOnlyError
            For a destination that does not fit.

        Examples
        --------
        >>> a.read_many([[0, 0], [2, 3]], (2, 3))
        array([[[ 0,  1,  2],
                [ 6,  7,  8]],
        <BLANKLINE>
               [[15, 16, 17],
                [21, 22, 23]]], dtype=int32)
        """
        items = self._items
        with items.reading():
            crops = items.select(partial(normalize_crops, starts), shape)
            return items.get(crops, out)


def items_of(array: ReadableArray) -> Items:
    """Return what an array reads, for other modules of this package."""
    return array._items
