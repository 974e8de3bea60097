"""Zarr chunks that others stored: they are read, and never written."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import as_dtype
from caterva_cffi.engine.objects import ObjectRead, Selected
from caterva_cffi.geometry.grid import Grid, default_blocks
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.planning.layout import Chunks
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy
from caterva_cffi.steps import Asked, MissingError, Steps
from caterva_cffi.zarr_chunks import stores

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

__all__ = ["ForeignChunk", "Kind"]


class Kind(Protocol):
    """How a chunk is stored; see `planning.foreign`."""

    def steps(self, first: int, size: int | None = None) -> Steps[Chunks]:
        """Find its chunks."""


@dataclass(frozen=True)
class ForeignChunk:
    """A chunk of a Zarr array that another program stored.

    Parameters
    ----------
    spec : ArraySpec
        What Zarr says about it.
    endian : {"little", "big"}
        The byte order in which items are stored.
    kind : callable
        Returns how it is stored, for the grid and the stored dtype of its items.
    """

    spec: ArraySpec
    endian: Literal["little", "big"]
    kind: Callable[[Grid, np.dtype[Any]], Kind]

    def nbytes_of(self, selection: Any) -> int:
        """Return how many bytes the items of a selection take."""
        shape = normalize(selection, self.spec.shape).shape
        return math.prod(shape) * self.spec.dtype.to_native_dtype().itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all items."""
        return self.nbytes_of(())

    def decode(self, stored: Buffer) -> NDBuffer:
        """Return all items.

        Raises
        ------
        FormatError, UnsupportedError
        """
        read, _ = self._read((), get_read_policy("local"))
        return self._as_ndbuffer(read.decode(stores.as_bytes(stored)))

    def read_steps(
        self, byte_getter: Any, selection: Any
    ) -> Generator[Asked, Any, NDBuffer | None]:
        """Read and decode a selection; None for a chunk that is not stored.

        Raises
        ------
        FormatError, UnsupportedError
        """
        policy, beside = stores.policy_of(byte_getter), stores.beside(byte_getter)
        read, kind = self._read(selection, policy, beside)
        try:
            with stores.naming(byte_getter):
                # Another array may be at the same place later.
                items = yield from read.steps((stores.identity(byte_getter), kind), None)
        except MissingError:
            return None
        return self._as_ndbuffer(items)

    def _read(
        self, selection: Any, policy: ReadPolicy, beside: int = 1
    ) -> tuple[ObjectRead[npt.NDArray[Any]], Kind]:
        shape = self.spec.shape
        dtype = self.spec.dtype.to_native_dtype().newbyteorder(self.endian)
        grid = Grid(shape, shape, default_blocks(shape, dtype.itemsize), dtype.itemsize)
        kind = self.kind(grid, dtype)
        wanted = Selected(normalize(selection, shape))
        return ObjectRead(wanted, grid, policy, _accept, kind.steps, beside=beside), kind

    def _as_ndbuffer(self, items: npt.NDArray[Any]) -> NDBuffer:
        native = as_dtype(items, self.spec.dtype.to_native_dtype())
        return self.spec.prototype.nd_buffer.from_numpy_array(native)


def _accept(chunks: Chunks) -> None:
    """Accept what was found: whoever found it has compared it."""
