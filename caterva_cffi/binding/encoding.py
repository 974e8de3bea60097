"""Chunks encoded by the kernel, as a whole or some of their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi import memory_pool
from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.decoding import Piece, Place, check_chunk, in_c, in_words
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box

__all__ = ["Encoder", "Span", "special_chunk"]

Span: TypeAlias = tuple[int, int] | npt.NDArray[np.uint8]
"""Some bytes of a new chunk: start and number of bytes that the old one has, or the bytes."""


class Encoder:
    """Encodes the chunks of one array; see `Kernel`."""

    __slots__ = ()

    _grid: Any
    bound: int
    nthreads: int

    def encode(
        self,
        number: int,
        compression: Any,
        source: npt.NDArray[Any],
        dest: npt.NDArray[np.uint8] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Compress a chunk.

        Parameters
        ----------
        number : int
            The number of the chunk, for errors.
        compression : cdata
            `Compression.to_kernel()`.
        source : ndarray
            The chunk's items, with any strides. If they are fewer than the chunk shape, the rest
            is zeros.
        dest : ndarray of uint8, optional
            At least `bound` contiguous bytes; new memory by default.

        Returns
        -------
        ndarray of uint8
            The compressed chunk: the destination's first bytes.
        """
        chunk = np.empty(self.bound, np.uint8) if dest is None else dest
        where = ffi.new("cat_where *")
        size = lib.cat_encode(
            self._grid,
            compression,
            ffi.cast("uint8_t *", address(source)),
            source.strides or ffi.NULL,
            source.shape or ffi.NULL,
            ffi.cast("uint8_t *", address(chunk)),
            chunk.size,
            self.nthreads,
            where,
        )
        if size < 0:
            check(int(size), in_words(number, where.block))
        return chunk[:size]

    def encode_many(
        self,
        compression: Any,
        sources: Sequence[npt.NDArray[Any]],
        dests: Sequence[npt.NDArray[np.uint8]],
    ) -> list[npt.NDArray[np.uint8]]:
        """Compress chunks in one call, whose threads share them out.

        Parameters
        ----------
        compression : cdata
            As for `encode`.
        sources : sequence of ndarray
            The items of each chunk, as for `encode`.
        dests : sequence of ndarray of uint8
            As for `encode`.

        Returns
        -------
        list of ndarray of uint8
            The compressed chunks: the first bytes of their destinations.
        """
        given = ffi.new("cat_source[]", len(sources))
        for row, source, dest in zip(given, sources, dests, strict=True):
            row.src, row.strides = ffi.cast("uint8_t *", address(source)), source.strides
            row.extent, row.destsize = source.shape, dest.size
            row.dest = ffi.cast("uint8_t *", address(dest))
        where = ffi.new("cat_where *")
        code = lib.cat_encode_many(
            self._grid, compression, given, len(sources), self.nthreads, where
        )
        if code < 0:
            check(code, in_words(where.chunk, where.block))
        return [dest[: row.cbytes] for row, dest in zip(given, dests, strict=True)]

    def update_in_place(
        self, number: int, compression: Any, chunk: Piece, box: Box, source: npt.NDArray[Any]
    ) -> bool:
        """Replace a box of a chunk in the chunk's memory, if each new block fits its old place.

        Parameters
        ----------
        number, compression, box, source
            As for `update`.
        chunk : Piece
            The whole chunk, in writable memory.

        Returns
        -------
        bool
            Whether it was done. If not, nothing was changed.
        """
        where = ffi.new("cat_where *")
        done = lib.cat_update_in_place(
            self._grid,
            compression,
            chunk[2],
            chunk[1],
            ffi.new("cat_box *", box),
            ffi.cast("uint8_t *", address(source)),
            source.strides or ffi.NULL,
            self.nthreads,
            where,
        )
        if done < 0:
            check(int(done), in_words(number, where.block))
        return bool(done)

    def update(
        self,
        number: int,
        compression: Any,
        chunk: Piece,
        box: Box,
        source: npt.NDArray[Any],
        dest: npt.NDArray[np.uint8] | None = None,
    ) -> npt.NDArray[np.uint8] | None:
        """Replace a box of a chunk; only the blocks that it touches are compressed.

        Parameters
        ----------
        number : int
            The number of the chunk, for errors.
        compression : cdata
            `Compression.to_kernel()`.
        chunk : Piece
            The whole chunk as it was.
        box : Box
            In items of the chunk.
        source : ndarray
            Of the box's shape, with any strides.
        dest : ndarray of uint8, optional
            As for `encode`.

        Returns
        -------
        ndarray of uint8 or None
            The compressed chunk: the destination's first bytes. None if the other blocks cannot
            stay as they are: they have other parameters, or all depend on one block.
        """
        result = np.empty(self.bound, np.uint8) if dest is None else dest
        where = ffi.new("cat_where *")
        size = lib.cat_update(
            self._grid,
            compression,
            chunk[2],
            chunk[1],
            ffi.new("cat_box *", box),
            ffi.cast("uint8_t *", address(source)),
            source.strides or ffi.NULL,
            ffi.cast("uint8_t *", address(result)),
            result.size,
            self.nthreads,
            where,
        )
        if size == lib.CAT_ERROR_DIFFERENT:
            return None
        if size < 0:
            check(int(size), in_words(number, where.block))
        return result[:size]

    def plan_update(
        self,
        number: int,
        compression: Any,
        place: Place,
        box: Box,
        source: npt.NDArray[Any],
    ) -> list[Span] | None:
        """Do the same for a chunk in a file, and return what the new chunk is made of.

        Only the chunk's head and blocks that the box touches are read.

        Parameters
        ----------
        number, compression, box, source
            As for `update`; the box is not empty.
        place : Place
            Where the whole chunk is as it was.

        Returns
        -------
        list of Span or None
            Bytes of the old chunk and new ones, in order. None as for `update`.

        Raises
        ------
        FormatError, UnsupportedError, OSError
            As for `decode`.
        """
        wanted, count = ffi.new("cat_box *", box), ffi.new("int64_t *")
        bound = check(lib.cat_update_bound(self._grid, wanted, count), in_words(number, -1))
        fresh, spans = memory_pool.empty((bound,), np.uint8), ffi.new("cat_span[]", count[0])
        kept: list[Any] = []
        where = ffi.new("cat_where *")
        size = lib.cat_plan_update(
            self._grid, compression, in_c(place, kept), wanted,
            ffi.cast("uint8_t *", address(source)), source.strides or ffi.NULL,
            ffi.cast("uint8_t *", address(fresh)), bound, spans, count, self.nthreads, where,
        )  # fmt: skip
        if size == lib.CAT_ERROR_DIFFERENT:
            return None
        if size < 0:
            check_chunk(int(size), number, place, where)
        found = ffi.unpack(spans, count[0])
        return [
            (span.start, span.size) if span.kept else fresh[span.start : span.start + span.size]
            for span in found
        ]


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
