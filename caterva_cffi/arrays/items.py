"""The items of an array, read by selections: what the faces of arrays ask, wherever chunks are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from caterva_cffi.costs.explanation import Explanation, explanation_of
from caterva_cffi.costs.recording import recorders
from caterva_cffi.costs.tally import Begin, Tally
from caterva_cffi.dtypes import allocate
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause, ReadOnlyError
from caterva_cffi.geometry.crops import Crops
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.index_arrays import batches
from caterva_cffi.geometry.selection import Basic, Batch, Fancy

__all__ = ["Items", "Selection"]

Selection: TypeAlias = Basic | Fancy | Crops

_Kind = TypeVar("_Kind", Basic | Fancy, Crops)


class Items(ABC):
    """The items of an array.

    Attributes
    ----------
    grid : Grid
        As it was when it was last looked at.
    dtype : dtype
    """

    grid: Grid
    dtype: np.dtype[Any]

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether the array was closed."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[None]:
        """Hold off everybody who would change the array."""

    @abstractmethod
    def check_open(self) -> None:
        """Raise `ClosedError` for an array that was closed."""

    @abstractmethod
    def check_current(self) -> None:
        """Raise if what is stored has another geometry now, as far as that is noticed."""

    @abstractmethod
    def fill(self, out: npt.NDArray[Any], selection: Selection) -> None:
        """Read items into an array of the right shape and dtype, while nobody changes this one."""

    @abstractmethod
    def tally(self, tally: Tally, begin: Begin) -> None:
        """Count what it would cost now to read batches, without reading more than heads."""

    @property
    def current_grid(self) -> Grid:
        """The grid, if what is stored still has it."""
        self.check_current()
        return self.grid

    def select(self, normalized: Callable[[Any, Sequence[int]], _Kind], key: Any) -> _Kind:
        """Return a selection; the caller holds off writers."""
        try:
            return normalized(key, self.grid.shape)
        except Exception:
            self.check_current()  # a change by others would explain it
            raise

    def get(self, selection: Selection, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Read items; the caller holds off writers since it looked at the shape."""
        self.check_open()
        for recorded in recorders:
            recorded.append(selection)
        if out is None:
            out = allocate(selection.shape, self.dtype)
        else:
            self._check_out(out, selection.shape)
        self.fill(out, selection)
        return out

    def explain(self, selection: Basic | Fancy) -> Explanation:
        """Tell what it costs to read items; the caller holds off writers."""
        self.check_open()
        # Nothing is written to it: all its items are at one place.
        shape, memory = selection.shape, bytearray(self.dtype.itemsize)
        out = np.ndarray(shape, self.dtype, memory, 0, (0,) * len(shape))
        tally = Tally()

        def begin() -> Iterator[Batch]:
            for batch in batches(self.grid, selection, self.dtype, out):
                if batch.then is not None:
                    tally.boxes = max(tally.boxes, sum(dest.nbytes for _, dest in batch.boxes))
                yield batch

        self.tally(tally, begin)
        return explanation_of(self.grid, selection, tally)

    def _check_out(self, out: Any, shape: tuple[int, ...]) -> None:
        if not isinstance(out, np.ndarray):
            raise ArgumentTypeError(
                f"out is {type(out).__name__}; expected a NumPy array",
                Cause("wrong-type", "out", type(out).__name__, "ndarray"),
            )
        untyped = self.dtype.kind == "S" and out.dtype.itemsize == self.grid.itemsize
        if out.shape != shape or (out.dtype != self.dtype and not untyped) or out.dtype.hasobject:
            raise ArgumentError(
                f"out has shape {out.shape} and dtype {out.dtype}; "
                f"expected {shape} and {self.dtype}",
                Cause(
                    "wrong-shape", "out", (*out.shape, str(out.dtype)), (*shape, str(self.dtype))
                ),
            )
        if not out.flags.writeable:
            raise ReadOnlyError("out is read-only", Cause("read-only", "out"))
