"""Chunks of arrays of others: what HDF5 stores, and chunks of Blosc2 without a frame.

HDF5's filter 32026 stores each chunk as a frame. Most frames of several dimensions have a metalayer
that says so. Others hold the chunk's bytes in a row. Where HDF5 left the filter out, the items are
stored as they are. Bytes may follow: a checksum, or what comes next in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from caterva_cffi.errors import Cause, FormatError, UnsupportedError
from caterva_cffi.format.chunk_header import HEADER, cbytes_of, sizes_of, typesize_of
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.format.frame_start import MAGIC, START, begins_as_frame
from caterva_cffi.format.metalayers import B2ND, CATERVA
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.planning.foreign import Raw, Row, Squeezed, dimensions_in, row_grid
from caterva_cffi.planning.layout import (
    Chunks,
    first_steps,
    geometry_of,
    header_steps,
    offsets_steps,
)
from caterva_cffi.steps import Steps, exactly

__all__ = ["CHECKSUM", "Bare", "FlatChunk", "HDF5Chunk", "row_of_bytes"]

CHECKSUM = 4
"""Bytes that HDF5's filter fletcher32 appends."""

_RAW_BLOCK = 4096  # bytes of items that are stored as they are, read at a time
_NUMBERS = "biufc"


@dataclass(frozen=True)
class HDF5Chunk:
    """A chunk as HDF5's filter 32026 stores it.

    Parameters
    ----------
    items : Grid
        Of the chunk: its shape and the size of items. Its blocks say how index arrays are cut.
    dtype : dtype
        Of the items, in the byte order in which they are stored.
    """

    items: Grid
    dtype: np.dtype[Any]

    def steps(self, first: int, size: int | None = None) -> Steps[Chunks]:
        """Find its chunks.

        Parameters
        ----------
        first : int
            Bytes to read at once.
        size : int, optional
            Bytes that are stored, if known.

        Raises
        ------
        FormatError, UnsupportedError
        """
        start = yield from first_steps(first)
        if len(start) < max(first, HEADER):
            size = len(start)
        if bytes(start[2 : 2 + len(MAGIC)]) != MAGIC:
            return (yield from self._raw_steps(start, size))
        header, data = yield from header_steps(start)
        if size is not None and size < header.frame_len:
            raise FormatError(
                f"{size} bytes of a frame of {header.frame_len}: it is cut off",
                Cause("cut-off", None, size, header.frame_len),
            )
        if header.sparse:
            raise FormatError(
                "the stored frame is sparse: its chunks are elsewhere", "other-geometry"
            )
        data = data[: header.frame_len]
        if self.names_shape(header):
            return (yield from self._grid_steps(header, data))
        return (yield from self._row_steps(header, data))

    @staticmethod
    def names_shape(header: FrameHeader) -> bool:
        """Whether a frame has a metalayer with the shape of its items."""
        return bool(header.metalayers.keys() & {B2ND, CATERVA})

    def _grid_steps(self, header: FrameHeader, data: bytes | memoryview) -> Steps[Chunks]:
        grid, dtype = geometry_of(header)
        shape = self.items.shape
        kept = dimensions_in(shape, grid.shape)
        if kept is None or grid.itemsize != self.items.itemsize:
            raise FormatError(
                f"a frame of shape {grid.shape} with items of {grid.itemsize} bytes; "
                f"expected {shape} and {self.items.itemsize}",
                Cause("other-geometry", None, grid.shape, shape),
            )
        self._check_named(dtype)
        offsets = yield from offsets_steps(header, data)
        end = header.header_len + header.cbytes
        return Squeezed(grid, self.dtype, offsets, data, end, False, self.items, kept)

    def _check_named(self, dtype: np.dtype[Any]) -> None:
        """Compare the dtype that a frame names, if it is one of numbers."""
        both = dtype.kind + self.dtype.kind
        if all(kind in _NUMBERS for kind in both) and dtype != self.dtype:
            raise FormatError(
                f"a frame of {dtype.str!r}; expected {self.dtype.str!r}",
                Cause("other-geometry", None, dtype.str, self.dtype.str),
            )

    def _row_steps(self, header: FrameHeader, data: bytes | memoryview) -> Steps[Chunks]:
        nbytes = self.items.chunksize
        if header.nbytes != nbytes:
            raise FormatError(
                f"a frame of {header.nbytes} bytes; the array's chunk has {nbytes}",
                Cause("other-geometry", None, header.nbytes, nbytes),
            )
        if header.nchunks != 1:
            raise UnsupportedError(f"{header.nchunks} chunks in a frame that names no shape")
        offsets = yield from offsets_steps(header, data)
        at = int(offsets[0])
        blocksize, unit = nbytes, header.itemsize
        if at >= 0:
            if len(data) < at + HEADER:
                range_ = (len(data), at + HEADER)
                [more] = yield [range_]
                data = bytes(data) + exactly(more, range_, "the chunk's header")
            blocksize, unit = _blocks_of(data[at : at + HEADER], nbytes)
        if self.items.itemsize % unit or blocksize % unit:
            unit = 1
        grid = row_grid(nbytes, blocksize, unit)
        end = header.header_len + header.cbytes
        return Row(grid, self.dtype, offsets, data, end, False, self.items)

    def _raw_steps(self, start: bytes | memoryview, size: int | None) -> Steps[Chunks]:
        nbytes, itemsize = self.items.chunksize, self.items.itemsize
        if begins_as_frame(bytes(start[:START])):
            raise FormatError("a frame whose first bytes are damaged")
        if size is None:
            # If it is long enough, it is what HDF5 stores without the filter.
            range_ = (nbytes - 1, nbytes)
            [last] = yield [range_]
            exactly(last, range_, "what is no frame")
        elif size not in (nbytes, nbytes + CHECKSUM):
            raise FormatError(
                f"{size} bytes that are no frame; without the filter there would be {nbytes}",
                "not-a-frame",
            )
        grid = row_grid(nbytes, min(max(_RAW_BLOCK // itemsize, 1) * itemsize, nbytes), itemsize)
        offsets = np.zeros(1, np.int64)
        return Raw(grid, self.dtype, offsets, start[:nbytes], nbytes, False, self.items)


@dataclass(frozen=True)
class Bare:
    """A chunk of a Blosc2 array, without its frame.

    Parameters
    ----------
    items : Grid
        Of the chunk.
    dtype : dtype
        Of the items, in the byte order in which they are stored.
    blocks : tuple of int
        Its block shape. Leading dimensions may be missing in which the chunk has one item.
    """

    items: Grid
    dtype: np.dtype[Any]
    blocks: tuple[int, ...]

    def steps(self, first: int, size: int | None = None) -> Steps[Chunks]:
        """Find the chunk; see `HDF5Chunk.steps`.

        Raises
        ------
        FormatError
        """
        grid, kept = self._grid()
        start = yield from first_steps(first)
        if len(start) < max(first, HEADER):
            size = len(start)
        if begins_as_frame(bytes(start[:START])):
            raise FormatError("a frame; expected a chunk of Blosc2", "not-a-frame")
        cbytes = cbytes_of(start) if len(start) >= HEADER else -1
        if cbytes < HEADER or (size is not None and size < cbytes):
            raise FormatError(
                f"a chunk of {cbytes} bytes in an object of {size or len(start)}",
                Cause("cut-off", None, size or len(start), cbytes),
            )
        nbytes, *_ = sizes_of(start)
        if nbytes != grid.chunk_nbytes:
            raise FormatError(
                f"a chunk of {nbytes} bytes; shape {grid.shape} in blocks of {grid.blocks} has "
                f"{grid.chunk_nbytes}",
                Cause("other-geometry", None, nbytes, grid.chunk_nbytes),
            )
        offsets = np.zeros(1, np.int64)
        return Squeezed(grid, self.dtype, offsets, start[:cbytes], cbytes, False, self.items, kept)

    def _grid(self) -> tuple[Grid, tuple[int, ...]]:
        shape, blocks = self.items.shape, self.blocks
        kept = tuple(range(len(shape)))
        lacking = len(shape) - len(blocks)
        if lacking:
            single = [d for d in kept if shape[d] == 1]
            dropped = single if len(single) == lacking else list(range(lacking))
            kept = tuple(d for d in kept if d not in dropped)
            if lacking < 0 or any(shape[d] != 1 for d in dropped):
                raise FormatError(
                    f"blocks of {blocks} in a chunk of shape {shape}",
                    Cause("block-shape-too-large", None, blocks, shape),
                )
        chunk = tuple(shape[d] for d in kept)
        return Grid(chunk, chunk, blocks, self.items.itemsize), kept


@dataclass(frozen=True)
class FlatChunk:
    """A chunk of Blosc2 whose bytes are taken as they are in it, whatever they mean."""

    def steps(self, first: int, size: int | None = None) -> Steps[Chunks]:
        """Find the chunk; see `HDF5Chunk.steps`.

        Raises
        ------
        FormatError
        """
        start = yield from first_steps(first)
        nbytes, _, cbytes = sizes_of(start)
        blocksize, unit = _blocks_of(start, nbytes)
        if blocksize % unit or nbytes % unit:
            unit = 1
        grid, offsets = row_grid(nbytes, blocksize, unit), np.zeros(1, np.int64)
        return Chunks(grid, np.dtype(f"V{unit}"), offsets, start[:cbytes], cbytes, False)


def _blocks_of(chunk: bytes | memoryview, nbytes: int) -> tuple[int, int]:
    """Return how many bytes a block of a chunk has, and how many an item.

    Raises
    ------
    FormatError
        For a chunk that holds more or fewer bytes.
    """
    decoded, blocksize, _ = sizes_of(chunk)
    if decoded != nbytes or not 0 < blocksize <= nbytes:
        raise FormatError(
            f"a chunk of {decoded} bytes in blocks of {blocksize}; expected {nbytes}",
            Cause("other-geometry", None, decoded, nbytes),
        )
    return blocksize, typesize_of(chunk) or 1


def row_of_bytes(nbytes: int) -> Grid:
    """Return the grid of bytes in a row, cut at no block."""
    return Grid((nbytes,), (nbytes,), (nbytes,), 1)
