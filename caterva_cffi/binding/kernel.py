"""The block kernel, called from Python: boxes of arrays and chunks, decoded and encoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi import memory_pool
from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box

__all__ = ["Kernel", "Piece", "Place", "Span", "kernel_of", "special_chunk"]

Piece: TypeAlias = tuple[int, int, Any]
"""Some bytes of a chunk: their start in the chunk, their number, and a pointer to them."""

Place: TypeAlias = tuple[bytes | None, int, int, int, int]
"""Where a chunk is in a file: a path that ends with a NUL, or None; the descriptor of an open file,
used if there is no path; the chunk's first byte, and a byte that it does not go beyond; and how
many bytes between two blocks are rather read than left out."""

Span: TypeAlias = tuple[int, int] | npt.NDArray[np.uint8]
"""Some bytes of a new chunk: start and number of bytes that the old one has, or the bytes."""

_FEW_RANGES = 64
_CHUNK_HEADER = lib.BLOSC_EXTENDED_HEADER_LENGTH
_OFFSET = 4  # bytes of a block's offset, and of a checksum


_PIECE = np.dtype([("start", np.int64), ("size", np.int64), ("data", np.uint64)])
_SIDES = (np.int64, (lib.CAT_MAX_DIM,))
_PART = np.dtype([
    ("pieces", np.uint64), ("npieces", np.int64), ("place", np.uint64),
    ("start", *_SIDES), ("count", *_SIDES), ("step", *_SIDES), ("dest", np.uint64),
    ("strides", *_SIDES),
])  # fmt: skip
_SOURCE = np.dtype([("pieces", np.uint64), ("npieces", np.int64), ("place", np.uint64)])
assert (_PIECE.itemsize, _PART.itemsize) == (ffi.sizeof("cat_piece"), ffi.sizeof("cat_part"))


class Kernel:
    """Decodes and encodes the chunks of one array.

    Parameters
    ----------
    grid : Grid
    nthreads : int, default 0
        Threads of a call; 0 takes the free ones of those that all calls share.
    """

    __slots__ = ("_grid", "bound", "head", "nthreads")

    def __init__(self, grid: Grid, nthreads: int = 0) -> None:
        self.nthreads = nthreads
        self._grid = ffi.new(
            "cat_grid *",
            {
                "ndim": grid.ndim,
                "itemsize": grid.itemsize,
                "shape": grid.shape,
                "chunk": grid.chunks,
                "block": grid.blocks,
                "checksums": grid.checksums,
                "cut": grid.cut,
            },
        )
        self.head = _CHUNK_HEADER + _OFFSET * grid.nblocks
        """Bytes of a chunk before its first block, if it has no dictionary."""
        if grid.checksums:
            self.head += _OFFSET * (2 + grid.nblocks)
        self.bound: int = lib.cat_encode_bound(self._grid) if grid.chunk_nbytes else 0
        """The most bytes of a compressed chunk."""

    def read(self, schunk: Any, box: Box, dest: int, strides: Sequence[int]) -> None:
        """Decode a box of an array whose chunks are in memory.

        Parameters
        ----------
        schunk : cdata
            A `blosc2_schunk *`; nobody may change it meanwhile.
        box : Box
            In items of the array.
        dest : int
            Address of the first item's destination; the caller owns the memory.
        strides : sequence of int
            Bytes between items of the destination.

        Raises
        ------
        FormatError, UnsupportedError
            For damaged chunks and unknown codecs or filters.
        """
        where = ffi.new("cat_where *")
        code = lib.cat_read(
            self._grid,
            schunk,
            (box,),
            ffi.cast("uint8_t *", dest),
            strides or ffi.NULL,
            self.nthreads,
            where,
        )
        if code < 0:
            check(code, _in_words(where.chunk, where.block))

    def decode(
        self,
        boxes: Sequence[tuple[int, list[Piece] | Place, Box, int, Sequence[int]]],
        *,
        by_block: bool = False,
    ) -> None:
        """Decode boxes of chunks; all threads share the work.

        Parameters
        ----------
        boxes : sequence of (int, list of Piece or Place, Box, int, sequence of int)
            For each box: the number of its chunk, for errors; the pieces of the chunk that it
            needs, the head first, or the place of the chunk in a file; the box, in items of the
            chunk; the address of its first item's destination; and its strides, as for `read`. It
            takes less time if boxes of one chunk have the same list object, or the same place.
        by_block : bool
            Whether to decode block by block, as blocks are stored, instead of box by box. A block
            is then decoded once for all boxes that have items in it.

        Raises
        ------
        FormatError, UnsupportedError
            For damaged chunks and unknown codecs or filters.
        OSError
            For a file that cannot be read.
        """
        if len(boxes) > 1:  # boxes of one chunk share what is found out about it
            boxes = sorted(boxes, key=itemgetter(0))
        where = ffi.new("cat_where *")
        parts = ffi.new("cat_part[]", len(boxes))
        located: dict[int, Any] = {}
        kept: list[Any] = []
        for part, (_, source, box, dest, strides) in zip(parts, boxes, strict=True):
            given = located.get(id(source))
            if given is None:
                given = located[id(source)] = _located(source, kept)
            if isinstance(source, list):
                part.pieces, part.npieces = given, len(source)
            else:
                part.place = given
            part.box, part.dest, part.strides = box, ffi.cast("uint8_t *", dest), strides
        decode = lib.cat_decode_shared if by_block else lib.cat_decode
        code = decode(self._grid, parts, len(boxes), self.nthreads, where)
        if code < 0:
            number, source, *_ = boxes[max(where.chunk, 0)]
            _check(code, number, source, where)

    def decode_shared(
        self,
        sources: Sequence[tuple[int, list[Piece] | Place]],
        which: npt.NDArray[np.intp],
        starts: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        dests: npt.NDArray[np.int64],
        strides: Sequence[int],
    ) -> None:
        """Decode boxes of chunks; a block in which several boxes have items is decoded once.

        Parameters
        ----------
        sources : sequence of (int, list of Piece or Place)
            For each chunk: its number, and its pieces or its place, as for `decode`.
        which : ndarray of intp
            For each box: which of the sources it is of. Boxes of one chunk follow each other.
        starts, counts : ndarray of int64
            Of each box along each dimension, in items of the chunk.
        dests : ndarray of int64
            Addresses of the first items' destinations.
        strides
            As for `read`.

        Raises
        ------
        FormatError, UnsupportedError, OSError
            As for `decode`.
        """
        n, ndim = starts.shape
        given = np.zeros(len(sources), _SOURCE)
        kept: list[Any] = []
        for row, (_, source) in enumerate(sources):
            located = _located(source, kept)
            if isinstance(source, list):
                given[row] = int(ffi.cast("uintptr_t", located)), len(source), 0
            else:
                given[row] = 0, 0, int(ffi.cast("uintptr_t", located))
        parts = np.zeros(n, _PART)
        for name in ("pieces", "npieces", "place"):
            parts[name] = given[name][which]
        parts["start"][:, :ndim], parts["count"][:, :ndim] = starts, counts
        parts["step"][:, :ndim], parts["strides"][:, :ndim] = 1, strides
        parts["dest"] = dests
        where = ffi.new("cat_where *")
        first = ffi.cast("cat_part *", address(parts))
        code = lib.cat_decode_shared(self._grid, first, n, self.nthreads, where)
        if code < 0:
            number, source = sources[which[max(where.chunk, 0)]]
            _check(code, number, source, where)

    def decode_many(
        self,
        numbers: npt.NDArray[np.int64],
        pointers: npt.NDArray[np.uint64],
        sizes: npt.NDArray[np.int64],
        starts: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        step: Sequence[int],
        dests: npt.NDArray[np.int64],
        strides: Sequence[int],
    ) -> None:
        """Decode a box of each of several chunks.

        Parameters
        ----------
        numbers : ndarray of int64
            Numbers of the chunks, for errors.
        pointers, sizes : ndarray
            Where each chunk is, and how many bytes it has.
        starts, counts : ndarray of int64
            Of each box along each dimension, in items of the chunk.
        step : sequence of int
            Of all boxes.
        dests : ndarray of int64
            Addresses of the first items' destinations.
        strides
            As for `read`.

        Raises
        ------
        FormatError, UnsupportedError
            For damaged chunks and unknown codecs or filters.
        """
        n, ndim = starts.shape
        if not n:
            return
        kept, parts = np.zeros(n, _PIECE), np.zeros(n, _PART)
        kept["size"], kept["data"] = sizes, pointers
        parts["pieces"] = address(kept) + np.arange(n, dtype=np.uint64) * _PIECE.itemsize
        parts["npieces"], parts["dest"] = 1, dests
        parts["start"][:, :ndim], parts["count"][:, :ndim] = starts, counts
        parts["step"][:, :ndim], parts["strides"][:, :ndim] = step, strides
        where = ffi.new("cat_where *")
        first = ffi.cast("cat_part *", address(parts))
        code = lib.cat_decode(self._grid, first, n, self.nthreads, where)
        if code < 0:
            check(code, _in_words(int(numbers[max(where.chunk, 0)]), where.block))

    def plan(
        self, number: int, head: bytes | memoryview, boxes: Sequence[Box], gap: int
    ) -> tuple[int, list[tuple[int, int]]]:
        """Find which bytes of a chunk decoding boxes of it needs.

        Parameters
        ----------
        number : int
            The number of the chunk, for errors.
        head : bytes
            The chunk's first bytes.
        boxes : sequence of Box
            In items of the chunk.
        gap : int
            Ranges that are at most this many bytes apart become one.

        Returns
        -------
        need : int
            How many first bytes of the chunk planning and decoding need. If `head` has fewer, or if
            no other bytes are needed, there are no ranges.
        ranges : list of (int, int)
            First byte, and the first one behind, of the blocks; ascending.

        Raises
        ------
        FormatError
            For a chunk that contradicts itself, or the grid.
        """
        given = ffi.new("cat_box[]", boxes)
        need, where = ffi.new("int64_t *"), ffi.new("cat_where *")
        capacity = _FEW_RANGES
        while True:
            ranges = ffi.new("int64_t[]", 2 * capacity)
            count = lib.cat_plan(
                self._grid, ffi.from_buffer(head), len(head), given, len(given), gap, need, ranges,
                capacity, where,
            )  # fmt: skip
            if count < 0:
                check(int(count), _in_words(number, where.block))
            if count <= capacity:
                edges = ffi.unpack(ranges, 2 * count) if count else []
                return need[0], list(zip(edges[::2], edges[1::2], strict=True))
            capacity = int(count)

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
            check(int(size), _in_words(number, where.block))
        return chunk[:size]

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
            check(int(done), _in_words(number, where.block))
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
            check(int(size), _in_words(number, where.block))
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
        bound = check(lib.cat_update_bound(self._grid, wanted, count), _in_words(number, -1))
        fresh, spans = memory_pool.empty((bound,), np.uint8), ffi.new("cat_span[]", count[0])
        kept: list[Any] = []
        where = ffi.new("cat_where *")
        size = lib.cat_plan_update(
            self._grid, compression, _located(place, kept), wanted,
            ffi.cast("uint8_t *", address(source)), source.strides or ffi.NULL,
            ffi.cast("uint8_t *", address(fresh)), bound, spans, count, self.nthreads, where,
        )  # fmt: skip
        if size == lib.CAT_ERROR_DIFFERENT:
            return None
        if size < 0:
            _check(int(size), number, place, where)
        found = ffi.unpack(spans, count[0])
        return [
            (span.start, span.size) if span.kept else fresh[span.start : span.start + span.size]
            for span in found
        ]


@lru_cache(maxsize=256)
def kernel_of(grid: Grid) -> Kernel:
    """Return a kernel for a grid; all users of the grid share it."""
    return Kernel(grid)


def _located(source: list[Piece] | Place, kept: list[Any]) -> Any:
    """Return pieces or a place as C has them; what they point to is added to `kept`."""
    if isinstance(source, list):
        given = ffi.new("cat_piece[]", source)
    else:
        path, *place = source
        name = ffi.NULL if path is None else ffi.from_buffer("char[]", path)
        given = ffi.new("cat_place *", (name, *place))
        kept.append(name)
    kept.append(given)
    return given


def _check(code: int, number: int, source: list[Piece] | Place, where: Any) -> None:
    """Raise what the code of an error in a chunk says."""
    if code == lib.CAT_ERROR_FILE:
        path = source[0] if isinstance(source, tuple) else None
        name = None if path is None else os.fsdecode(path[:-1])
        raise OSError(where.system, os.strerror(where.system), name)
    check(code, _in_words(number, where.block))


def _in_words(chunk: int, block: int) -> str:
    """Return the place of an error in words."""
    if chunk < 0:
        return "the array"
    return f"chunk {chunk}" if block < 0 else f"chunk {chunk}, block {block}"


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
