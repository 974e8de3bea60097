"""Chunks decoded by the kernel: boxes of them, and which bytes these need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.geometry.selection import Box

__all__ = ["Decoder", "Piece", "Place", "check_chunk", "in_c", "in_words"]

Piece: TypeAlias = tuple[int, int, Any]
"""Some bytes of a chunk: their start in the chunk, their number, and a pointer to them."""

Place: TypeAlias = tuple[bytes | None, int, int, int, int]
"""Where a chunk is in a file: a path that ends with a NUL, or None; the descriptor of an open file,
used if there is no path; the chunk's first byte, and a byte that it does not go beyond; and how
many bytes between two blocks are rather read than left out."""

_FEW_RANGES = 64

_PIECE = np.dtype([("start", np.int64), ("size", np.int64), ("data", np.uint64)])
_SIDES = (np.int64, (lib.CAT_MAX_DIM,))
_PART = np.dtype([
    ("pieces", np.uint64), ("npieces", np.int64), ("place", np.uint64),
    ("start", *_SIDES), ("count", *_SIDES), ("step", *_SIDES), ("dest", np.uint64),
    ("strides", *_SIDES),
])  # fmt: skip
_SOURCE = np.dtype([("pieces", np.uint64), ("npieces", np.int64), ("place", np.uint64)])
assert (_PIECE.itemsize, _PART.itemsize) == (ffi.sizeof("cat_piece"), ffi.sizeof("cat_part"))


class Decoder:
    """Decodes the chunks of one array; see `Kernel`."""

    __slots__ = ()

    _grid: Any
    nthreads: int

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
            check(code, in_words(where.chunk, where.block))

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
                given = located[id(source)] = in_c(source, kept)
            if isinstance(source, list):
                part.pieces, part.npieces = given, len(source)
            else:
                part.place = given
            part.box, part.dest, part.strides = box, ffi.cast("uint8_t *", dest), strides
        decode = lib.cat_decode_shared if by_block else lib.cat_decode
        code = decode(self._grid, parts, len(boxes), self.nthreads, where)
        if code < 0:
            number, source, *_ = boxes[max(where.chunk, 0)]
            check_chunk(code, number, source, where)

    def decode_shared(
        self,
        sources: Sequence[tuple[int, list[Piece] | Place]],
        which: npt.NDArray[np.intp],
        starts: npt.NDArray[np.int64],
        counts: npt.NDArray[np.int64],
        dests: npt.NDArray[np.int64],
        strides: npt.NDArray[np.int64],
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
        strides : ndarray of int64
            Bytes between items of each box's destination, along each dimension.

        Raises
        ------
        FormatError, UnsupportedError, OSError
            As for `decode`.
        """
        n, ndim = starts.shape
        given = np.zeros(len(sources), _SOURCE)
        kept: list[Any] = []
        for row, (_, source) in enumerate(sources):
            located = in_c(source, kept)
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
            check_chunk(code, number, source, where)

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
            check(code, in_words(int(numbers[max(where.chunk, 0)]), where.block))

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
                check(int(count), in_words(number, where.block))
            if count <= capacity:
                edges = ffi.unpack(ranges, 2 * count) if count else []
                return need[0], list(zip(edges[::2], edges[1::2], strict=True))
            capacity = int(count)


def in_c(source: list[Piece] | Place, kept: list[Any]) -> Any:
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


def check_chunk(code: int, number: int, source: list[Piece] | Place, where: Any) -> None:
    """Raise what the code of an error in a chunk says."""
    if code == lib.CAT_ERROR_FILE:
        path = source[0] if isinstance(source, tuple) else None
        name = None if path is None else os.fsdecode(path[:-1])
        raise OSError(where.system, os.strerror(where.system), name)
    check(code, in_words(number, where.block))


def in_words(chunk: int, block: int) -> str:
    """Return the place of an error in words."""
    if chunk < 0:
        return "the array"
    return f"chunk {chunk}" if block < 0 else f"chunk {chunk}, block {block}"
