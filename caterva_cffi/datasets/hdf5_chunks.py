"""HDF5's chunks, decoded here: HDF5 itself decodes in one thread at a time."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import byte_view
from caterva_cffi.datasets.fletcher32 import checked
from caterva_cffi.datasets.model import NotCopyable, StoredAs
from caterva_cffi.dtypes import is_little
from caterva_cffi.engine.objects import ObjectRead, Selected
from caterva_cffi.errors import Cause, FormatError
from caterva_cffi.format.frame_header import FrameHeader, compression_in
from caterva_cffi.format.offsets import special_of_offset
from caterva_cffi.geometry.grid import Grid, default_blocks
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.planning.foreign import Raw, Row
from caterva_cffi.planning.foreign_chunks import HDF5Chunk
from caterva_cffi.planning.layout import Chunks, slices
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import run

__all__ = ["BLOSC2", "ChunkDecoder"]

DEFLATE, SHUFFLE, FLETCHER32, BLOSC2 = 1, 2, 3, 32026
_KNOWN: tuple[list[int], ...] = ([], [DEFLATE], [SHUFFLE], [SHUFFLE, DEFLATE], [BLOSC2])


class ChunkDecoder:
    """Decodes the chunks of a dataset.

    Parameters
    ----------
    filters : sequence of int
        Their numbers, in the order in which they were applied.
    chunks : tuple of int
    dtype : dtype
        In the byte order in which items are stored.
    """

    def __init__(self, filters: Sequence[int], chunks: tuple[int, ...], dtype: Any) -> None:
        self._filters, self._dtype = list(filters), dtype
        self._checksum = None
        if self._filters[-1:] == [FLETCHER32]:
            self._checksum = len(self._filters) - 1
            self._filters.pop()
        grid = Grid(chunks, chunks, default_blocks(chunks, dtype.itemsize), dtype.itemsize)
        self._grid = grid
        self._chunk = HDF5Chunk(grid, dtype)

    @staticmethod
    def knows(filters: Sequence[int], dtype: np.dtype[Any]) -> bool:
        """Whether chunks with these filters can be decoded."""
        coding = list(filters[:-1]) if filters[-1:] == [FLETCHER32] else list(filters)
        return coding in _KNOWN and not dtype.hasobject

    def decode(self, stored: bytes, mask: int) -> npt.NDArray[Any]:
        """Return the items of a chunk.

        Parameters
        ----------
        stored : bytes
        mask : int
            A bit for each filter that was left out.

        Raises
        ------
        FormatError
        """
        stored = self._without_checksum(stored, mask)
        if self._filters == [BLOSC2]:
            read = ObjectRead(
                Selected(normalize((), self._grid.shape)),
                self._grid,
                get_read_policy("local"),
                lambda layout: None,
                self._chunk.steps,
            )
            return read.decode(stored)
        data: Any = stored
        for number, each in reversed(list(enumerate(self._filters))):
            if mask >> number & 1:
                continue
            data = self._inflated(data) if each == DEFLATE else self._unshuffled(data)
        if len(data) != self._grid.chunksize:
            raise FormatError(
                f"a chunk of {len(data)} bytes; expected {self._grid.chunksize}",
                Cause("damaged", None, len(data), self._grid.chunksize),
            )
        items: npt.NDArray[Any] = np.frombuffer(data, np.uint8).view(self._dtype)
        return items.reshape(self._grid.shape)

    def _without_checksum(self, stored: bytes, mask: int) -> bytes:
        if self._checksum is None or mask >> self._checksum & 1:
            return stored
        return checked(stored)

    def _inflated(self, data: Any) -> bytes:
        try:
            return zlib.decompress(data, bufsize=self._grid.chunksize)
        except zlib.error as error:
            raise FormatError(f"a chunk that zlib cannot decode: {error}") from None

    def _unshuffled(self, data: Any) -> Any:
        size = self._dtype.itemsize
        planes = np.frombuffer(data, np.uint8)
        if size == 1 or planes.size != self._grid.chunksize:
            return planes
        return byte_view(np.ascontiguousarray(planes.reshape(size, -1).T))

    # --- chunks of Blosc2, taken as they are --------------------------------------------------

    def _layout(self, stored: bytes) -> Chunks:
        return run(self._chunk.steps(len(stored), len(stored)), partial(slices, memoryview(stored)))

    def _copyable(self, stored: bytes) -> tuple[Chunks, Grid]:
        """Return the layout of a frame, and the grid of its only chunk."""
        layout = self._layout(stored)
        shape, itemsize, grid = self._grid.shape, self._grid.itemsize, layout.grid
        if isinstance(layout, Raw) or len(layout.offsets) != 1 or len(shape) != grid.ndim:
            raise NotCopyable
        if isinstance(layout, Row) and (
            grid.itemsize != itemsize or len(shape) > 1 or grid.chunksize % grid.blocksize
        ):
            raise NotCopyable
        return layout, Grid(shape, shape, grid.blocks, itemsize)

    def stored_as(self, stored: bytes, mask: int) -> StoredAs | None:
        """Return how chunks are stored, if one like the given can be taken as it is."""
        if self._filters != [BLOSC2] or not is_little(self._dtype):
            return None
        try:
            stored = self._without_checksum(stored, mask)
            _, grid = self._copyable(stored)
        except NotCopyable:
            return None
        return StoredAs(grid, compression_in(stored[: FrameHeader.length_of(stored[:16])]))

    def chunk_of(self, stored: bytes, mask: int, like: StoredAs) -> Any:
        """Return the Blosc2 chunk in a frame.

        Raises
        ------
        NotCopyable
            For a frame that is not like the others.
        """
        if mask & 1:
            raise NotCopyable
        stored = self._without_checksum(stored, mask)
        layout, grid = self._copyable(stored)
        if grid != like.grid:
            raise NotCopyable
        offset = int(layout.offsets[0])
        if offset < 0:
            return layout.special_chunk(special_of_offset(offset))
        return layout.stored_chunk(0, memoryview(stored))
