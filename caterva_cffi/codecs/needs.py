"""What codecs and filters ask of an array: its dtype, its dimensions, its blocks, its values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.geometry.grid import Grid

__all__ = ["BYTES", "CELLS", "FLOATS", "INTEGERS", "Needs", "check_finite"]

FLOATS = ("float32", "float64")
INTEGERS = tuple(f"{sign}int{8 << k}" for sign in ("", "u") for k in range(4))
BYTES = ("uint8", "int8", "bool")


class Needs(NamedTuple):
    """What a codec or a filter asks of an array.

    Attributes
    ----------
    dtypes : tuple of str
        Names of dtypes, or none if all will do.
    ndims : range, optional
    cell : int
        The side that blocks have at least.
    most_itemsize : int
        Bytes.
    least_bytes : int
        Of a block.
    finite : bool
        Whether one item that is no number, or not finite, would spoil others.
    """

    dtypes: tuple[str, ...] = ()
    ndims: range | None = None
    cell: int = 1
    most_itemsize: int = 2**31
    least_bytes: int = 0
    finite: bool = False

    def check_dtype(self, name: str, dtype: np.dtype[Any]) -> None:
        """Refuse arrays of other dtypes.

        Parameters
        ----------
        name : str
            Of the codec or filter, with its kind, for the error.
        dtype : dtype

        Raises
        ------
        ArgumentError
        """
        if dtype.itemsize > self.most_itemsize:
            raise ArgumentError(
                f"{name} takes items of at most {self.most_itemsize} bytes; the array's have "
                f"{dtype.itemsize}",
                Cause("wrong-dtype", "itemsize", dtype.itemsize, self.most_itemsize),
            )
        if self.dtypes and dtype.name not in self.dtypes:
            raise ArgumentError(
                f"{name} takes {_listed(self.dtypes)}; the array's dtype is {dtype}"
                f"{_instead(dtype)}",
                Cause("wrong-dtype", "dtype", str(dtype), self.dtypes),
            )
        if self.dtypes and dtype != dtype.newbyteorder("<"):
            raise ArgumentError(
                f"{name} takes items in little-endian byte order; the array's dtype is "
                f"{dtype.str!r}, expected {dtype.newbyteorder('<').str!r}",
                Cause("wrong-dtype", "dtype", dtype.str, dtype.newbyteorder("<").str),
            )

    def check_ndim(self, name: str, ndim: int) -> None:
        """Refuse arrays of more or fewer dimensions.

        Raises
        ------
        ArgumentError
        """
        if self.ndims is not None and ndim not in self.ndims:
            first, last = self.ndims[0], self.ndims[-1]
            wanted = f"{first}" if first == last else f"{first} to {last}"
            nearest = min(max(ndim, first), last)
            raise ArgumentError(
                f"{name} takes {wanted} dimensions; {ndim} are given, nearest is {nearest}",
                Cause("wrong-ndim", "shape", ndim, nearest),
            )

    def check_sides(self, name: str, what: str, sides: tuple[int, ...]) -> None:
        """Refuse blocks that are shorter than a cell, and chunks that have no others.

        Raises
        ------
        ArgumentError
        """
        if any(side < self.cell for side in sides):
            nearest = tuple(max(side, self.cell) for side in sides)
            raise ArgumentError(
                f"{name} works in cells of {self.cell} items along each axis; {what} is {sides}, "
                f"expected sides of at least {self.cell}, such as {nearest}",
                Cause("wrong-value", what, sides, nearest),
            )

    def check_grid(self, name: str, grid: Grid) -> None:
        """Refuse arrays whose dimensions or blocks do not fit.

        Raises
        ------
        ArgumentError
        """
        self.check_ndim(name, grid.ndim)
        if any(side < self.cell for side in grid.blocks):
            self.check_sides(name, "the chunk's shape", grid.chunks)
            self.check_sides(name, "the blocks' shape", grid.blocks)
        self.check_bytes(name, f"blocks of {grid.blocks}", grid.blocksize)

    def check_bytes(self, name: str, what: str, nbytes: int) -> None:
        """Refuse blocks of a few bytes, and chunks that have no others.

        Raises
        ------
        ArgumentError
        """
        if nbytes < self.least_bytes:
            raise ArgumentError(
                f"{name} takes blocks of at least {self.least_bytes} bytes; {what} have {nbytes}",
                Cause("wrong-value", what, nbytes, self.least_bytes),
            )


CELLS = Needs(ndims=range(1, 9), most_itemsize=255)
"""Of filters that work in cells; how long these are, each says itself."""


def _listed(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _instead(dtype: np.dtype[Any]) -> str:
    """Return what loses precision of such items, for an error."""
    if dtype.name in FLOATS:
        return "; for that there is filter 'trunc_prec'"
    return "; for that there is filter 'int_trunc'" if dtype.name in INTEGERS else ""


def check_finite(name: str, items: npt.NDArray[Any], within: float) -> None:
    """Refuse NaN, infinities, and numbers so large that sums of them are none.

    Parameters
    ----------
    name : str
        What cannot take them, for the error.
    items : ndarray
        Of float32 or float64.
    within : float
        The part of the dtype's range that is allowed.

    Raises
    ------
    ArgumentError
    """
    if not items.size:
        return
    most = float(np.finfo(items.dtype).max) * within
    lowest, highest = float(items.min()), float(items.max())  # NaN, if there is one
    if -most <= lowest and highest <= most:
        return
    wrong = ~(np.abs(items) <= most)
    first = float(items[wrong].flat[0])
    raise ArgumentError(
        f"{name} takes finite items, up to {most:.2g}; {int(wrong.sum())} of {items.size} are not, "
        f"the first is {first!r}. Filter 'trunc_prec' keeps NaN and infinities",
        Cause("not-finite", None, first, most),
    )
