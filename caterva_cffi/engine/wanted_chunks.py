"""What is wanted of a chunk that is stored as an object of its own: boxes, and where they go."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import allocate, with_dtype
from caterva_cffi.errors import UnsupportedError
from caterva_cffi.geometry.cutting import blocks_in
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.layout import Chunks, Layout

__all__ = ["ORDER", "Objects", "WantedChunk"]

ORDER = "memory_order"
"""The metalayer of frames whose items numcodecs was given in Fortran order."""


@dataclass(frozen=True)
class Objects:
    """What is known of the frames of an array, each an object.

    Attributes
    ----------
    grid : Grid
        Of the array: its chunks are the objects.
    dtype : dtype
    as_bytes : bool
        Whether items are taken as the bytes that a frame has, whatever dtype it names.
    """

    grid: Grid
    dtype: np.dtype[Any]
    as_bytes: bool

    def check(self, layout: Chunks) -> None:
        """Compare a frame with the array.

        Raises
        ------
        FormatError, UnsupportedError
        """
        layout.check(self.grid.chunks, self.dtype, self.grid.checksums)
        if isinstance(layout, Layout) and layout.header.metalayers.get(ORDER) == b"F":
            raise UnsupportedError("the stored frame has its items in Fortran order")

    def is_direct(self, layout: Chunks) -> bool:
        """Whether the bytes of a frame's items are those of the array's items."""
        dtype = self.dtype
        is_plain = dtype.kind in "SV" and dtype.names is None
        return self.as_bytes or layout.dtype == dtype or is_plain


@dataclass(slots=True)
class WantedChunk:
    """What is wanted of a chunk; see `object_files.WantedFile` and `objects.WantedItems`.

    Attributes
    ----------
    path : str
        Of its file; behind a network, the object's key.
    key : hashable
        The object's name in the cache of layouts.
    objects : Objects
    boxes : list of (Box, ndarray)
        In items of the chunk, each with an array of its shape and the array's dtype.
    by_block : bool
        See `Batch`.
    """

    path: str
    key: Hashable
    objects: Objects
    boxes: list[tuple[Box, npt.NDArray[Any]]] = field(default_factory=list)
    by_block: bool = False

    def check(self, layout: Chunks) -> None:
        """Compare a frame with the array."""
        self.objects.check(layout)

    def batches(self, layout: Chunks) -> Iterable[Batch]:
        """Return boxes of the frame, and where their items go."""
        if self.objects.is_direct(layout):
            return (Batch(self.boxes, by_block=self.by_block),)
        return self._converted(layout)

    def _converted(self, layout: Chunks) -> Iterator[Batch]:
        for box, dest in self.boxes:
            items = allocate(box[1], layout.dtype)
            yield Batch([(box, items)], partial(_put, items, dest), self.by_block)

    def takes_crops(self, layout: Chunks) -> bool:
        """Whether the frame's items are the array's, in one chunk of the same shape."""
        whole = isinstance(layout, Layout) and layout.grid.chunks == self.objects.grid.chunks
        return whole and self.objects.is_direct(layout)

    @property
    def nitems(self) -> int:
        """How many items are wanted."""
        return sum(math.prod(box[1]) for box, _ in self.boxes)

    def count_blocks(self, grid: Grid) -> int:
        """Return in about how many blocks wanted items are."""
        return sum(blocks_in(box, grid.blocks) for box, _ in self.boxes)

    def begin(self, layout: Chunks) -> tuple[None, Iterable[Batch]]:
        """Return the boxes that are to be read; see `WantedItems`."""
        return None, self.batches(layout)

    def fill(self, item: npt.NDArray[Any]) -> None:
        """Set all wanted items."""
        for _, dest in self.boxes:
            dest[...] = item


def _put(items: npt.NDArray[Any], dest: npt.NDArray[Any]) -> None:
    dest[...] = with_dtype(items, dest.dtype, dest.dtype)
