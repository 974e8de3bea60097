"""Crops of an array: all their parts in a chunk are decoded together, and each block once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.decoding import Piece, Place
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.groups import pieces, room_of_group
from caterva_cffi.geometry.crops import CropBoxes, CropParts, cut_crops, most_chunks
from caterva_cffi.geometry.cutting import MANY
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.frame import Frame
from caterva_cffi.steps import ChunkBytes, Steps

__all__ = [
    "PARTS",
    "CropGroup",
    "SomeParts",
    "can_be_cut",
    "crop_groups",
    "decode_parts",
    "parts_at_once",
]

_NUMBERED = 1 << 62

PARTS = 16384
"""That are planned at a time; each takes about 600 bytes."""


class CropGroup:
    """Parts of crops in some chunks of a frame: a part of a selection, like a `Group`.

    Parameters
    ----------
    frame : Frame
    parts : CropParts
    dest : ndarray
        The result of all crops.
    """

    def __init__(self, frame: Frame, parts: CropParts, dest: npt.NDArray[Any]) -> None:
        self._frame = frame
        self._parts = parts
        self._dest = dest
        self._read: dict[int, list[ChunkBytes]] = {}
        self.asks = frame.files is None

    @property
    def nchunks(self) -> int:
        """How many chunks are read."""
        return len(np.unique(self._parts.numbers))

    @property
    def boxes(self) -> Iterator[tuple[int, Box]]:
        """The boxes of chunks; see `Groups`."""
        for row, number in enumerate(self._parts.numbers.tolist()):
            yield number, self._parts.box(row)

    @property
    def nbytes(self) -> int:
        """Bytes that decoding reads and writes; see `Groups`."""
        written = int(self._parts.counts.prod(axis=1).sum()) * self._frame.layout.grid.itemsize
        return written + sum(len(data) for read in self._read.values() for _, data in read)

    def steps(self) -> Steps[None]:
        """Read what decoding needs."""
        wanted: dict[int, list[Any]] = {}
        for row, number in enumerate(self._parts.numbers.tolist()):
            wanted.setdefault(number, []).append(self._parts.box(row))
        self._read = yield from self._frame.piece_steps(wanted)

    def decode(self) -> None:
        """Decode what was read, and forget it; see `Groups`."""
        decode_parts(self._frame.kernel, [SomeParts(self._parts, self._source, self._dest)])
        self._read = {}

    def _source(self, number: int) -> list[Piece] | Place:
        found = self._read[number] if self.asks else self._frame.in_file(number)
        return pieces(found) if isinstance(found, list) else found


class SomeParts(NamedTuple):
    """Parts of crops, where their chunks are, and where they go.

    Attributes
    ----------
    parts : CropParts
    source : callable
        Gives the pieces of a chunk, or its place in a file, by its number.
    dest : ndarray
        The result of all crops.
    """

    parts: CropParts
    source: Callable[[int], list[Piece] | Place]
    dest: npt.NDArray[Any]


def decode_parts(kernel: Kernel, some: Sequence[SomeParts]) -> None:
    """Decode parts of crops by one call.

    Parameters
    ----------
    kernel : Kernel
    some : sequence of SomeParts

    Raises
    ------
    FormatError, UnsupportedError
    """
    sources: list[tuple[int, list[Piece] | Place]] = []
    which, dests, strides = [], [], []
    for parts, source, dest in some:
        numbers, rows = np.unique(parts.numbers, return_inverse=True)
        which.append(len(sources) + rows)
        sources.extend((number, source(number)) for number in numbers.tolist())
        dests.append(parts.dests + address(dest))
        strides.append(np.broadcast_to(dest.strides[1:], parts.starts.shape))
    starts, counts = ([getattr(each.parts, name) for each in some] for name in ("starts", "counts"))
    kernel.decode_shared(sources, *map(np.concatenate, (which, starts, counts, dests, strides)))


def can_be_cut(boxes: CropBoxes, grid: Grid) -> bool:
    """Whether all crops are cut at once: each has items in few chunks, which int64 can number."""
    return grid.nchunks < _NUMBERED and most_chunks(grid, boxes.crops.box_shape) <= MANY


def parts_at_once(
    grid: Grid,
    boxes: CropBoxes,
    cost: Callable[[int], int] | None = None,
    room: int = 0,
    most: int = PARTS,
) -> Iterator[CropParts]:
    """Cut crops into parts, and these into some that are decoded together.

    Parameters
    ----------
    grid : Grid
    boxes : CropBoxes
    cost : callable, optional
        The most bytes that are read of a chunk, by its number, if these are kept.
    room : int
        The most bytes that are read together, if there are costs.
    most : int
        Chunks whose parts are decoded together.
    """
    if not boxes.dest.size:
        return
    parts = cut_crops(grid, boxes.crops, boxes.dest.strides)
    borders = np.flatnonzero(np.diff(parts.numbers)) + 1
    first, before, nbytes, nchunks = 0, 0, 0, 0
    for end in [*borders.tolist(), len(parts.numbers)]:
        nbytes += cost(int(parts.numbers[before])) if cost is not None else 0
        # The parts of one chunk stay together, unless they are very many.
        nchunks += 1
        is_full = end - first > PARTS or nbytes > room or nchunks > most
        if before > first and is_full:
            yield parts.some(slice(first, before))
            first, nchunks = before, 1
            nbytes = cost(int(parts.numbers[before])) if cost is not None else 0
        while end - first > PARTS:
            yield parts.some(slice(first, first + PARTS))
            first += PARTS
        before = end
    yield parts.some(slice(first, before))


def crop_groups(frame: Frame, boxes: CropBoxes) -> Iterator[CropGroup]:
    """Cut crops of a frame into groups.

    Parameters
    ----------
    frame : Frame
    boxes : CropBoxes
    """
    cost = frame.most if frame.files is None else None
    for parts in parts_at_once(frame.layout.grid, boxes, cost, room_of_group(frame)):
        yield CropGroup(frame, parts, boxes.dest)
