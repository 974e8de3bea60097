"""The block kernel, called from Python: boxes of one chunk, decoded and encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi._ffi import check, ffi, lib
from caterva_cffi.buffers import address
from caterva_cffi.grid import Grid
from caterva_cffi.params import Compression

__all__ = ["Kernel", "Piece", "special_chunk"]

Piece = tuple[int, int, Any]
"""Where bytes of a chunk are: their start in the chunk, their number, and a pointer to them."""


class Kernel:
    """Decodes and encodes chunks of one partition.

    Parameters
    ----------
    grid : Grid
    """

    __slots__ = ("_grid", "bound")

    def __init__(self, grid: Grid) -> None:
        self._grid = ffi.new(
            "cat_grid *",
            {
                "ndim": grid.ndim,
                "itemsize": grid.itemsize,
                "chunk": grid.chunks,
                "block": grid.blocks,
            },
        )
        self.bound: int = lib.cat_encode_bound(self._grid) if grid.chunk_nbytes else 0
        """The most bytes of a compressed chunk."""

    def decode(
        self,
        pieces: Sequence[Piece],
        start: Sequence[int],
        count: Sequence[int],
        step: Sequence[int],
        dest: int,
        strides: Sequence[int],
        what: str,
    ) -> None:
        """Decode a box of a chunk into memory.

        Parameters
        ----------
        pieces : sequence of Piece
            The chunk's bytes, whole or in part: header and offsets first.
        start, count, step : sequence of int
            The box, in items of the chunk; steps are positive.
        dest : int
            Address of the first item's destination; the caller owns the memory.
        strides : sequence of int
            Bytes between items of the destination.
        what : str
            Which chunk it is, for the error.

        Raises
        ------
        FormatError, UnsupportedError
            For damaged chunks and unknown codecs or filters.
        """
        where = ffi.new("int64_t *")
        code = lib.cat_decode(
            self._grid,
            ffi.new("cat_piece[]", list(pieces)),
            len(pieces),
            ffi.new("cat_box *", (start, count, step)),
            ffi.cast("uint8_t *", dest),
            strides or ffi.NULL,
            where,
        )
        if code < 0:
            check(code, what if where[0] < 0 else f"{what}, block {where[0]}")

    def encode(
        self, compression: Any, source: npt.NDArray[Any], what: str
    ) -> npt.NDArray[np.uint8]:
        """Compress a chunk.

        Parameters
        ----------
        compression : cdata
            `Compression.to_kernel()`.
        source : ndarray
            The chunk's items, with any strides; what it lacks of the chunk shape is zeros.
        what : str
            Which chunk it is, for the error.

        Returns
        -------
        ndarray of uint8
            The compressed chunk.
        """
        chunk = np.empty(self.bound, np.uint8)
        where = ffi.new("int64_t *")
        size = lib.cat_encode(
            self._grid,
            compression,
            ffi.cast("uint8_t *", address(source)),
            source.strides or ffi.NULL,
            source.shape or ffi.NULL,
            ffi.cast("uint8_t *", address(chunk)),
            chunk.size,
            where,
        )
        if size < 0:
            check(int(size), what if where[0] < 0 else f"{what}, block {where[0]}")
        return chunk[:size]


def special_chunk(
    compression: Compression, grid: Grid, value: bytes | None
) -> npt.NDArray[np.uint8]:
    """Return a chunk in which every item is the same, in a few bytes.

    Parameters
    ----------
    compression : Compression
    grid : Grid
    value : bytes
        The item; None for zeros.
    """
    cparams = compression.to_cparams(grid.itemsize, grid.blocksize)[0]
    chunk = np.empty(lib.BLOSC_EXTENDED_HEADER_LENGTH + grid.itemsize, np.uint8)
    data = ffi.from_buffer("uint8_t[]", chunk)
    if value is None or not any(value):
        size = lib.blosc2_chunk_zeros(cparams, grid.chunk_nbytes, data, len(data))
    else:
        size = lib.blosc2_chunk_repeatval(cparams, grid.chunk_nbytes, data, len(data), value)
    check(size, "making a chunk of one value")
    return chunk[:size]
