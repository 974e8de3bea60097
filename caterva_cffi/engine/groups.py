"""Groups: the boxes of a selection that are read together.

A group asks for its bytes by steps. Then one call decodes all its boxes straight into their
destinations. A group of local files asks for nothing: that call reads the files as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import numpy.typing as npt

from caterva_cffi.binding.buffers import pointer
from caterva_cffi.binding.decoding import Piece
from caterva_cffi.geometry.cutting import AT_ONCE
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.frame import Frame
from caterva_cffi.steps import ChunkBytes, Steps

__all__ = ["Group", "Groups", "pieces", "room_of_group"]

GROUP_BYTES = 64 << 20
"""Compressed bytes that a group may read; one chunk alone may need more. Behind a network each
group waits for requests: a plane of 22 MB took 1.7 times as long in groups of 16 MiB, at 20 ms.
"""


def room_of_group(frame: Frame) -> int:
    """Return how many compressed bytes a group of a frame may read.

    What a store sends while an answer is awaited costs no more than another round of requests.
    """
    return GROUP_BYTES + frame.policy.round


class Groups(Protocol):
    """A part of a selection; see `batches.groups`."""

    asks: bool
    """Whether steps must read bytes first; otherwise the kernel reads files while it decodes."""

    @property
    def nchunks(self) -> int:
        """How many chunks are read."""

    @property
    def boxes(self) -> Iterable[tuple[int, Box]]:
        """The boxes of chunks, with the chunks' numbers."""

    @property
    def nbytes(self) -> int:
        """Bytes that decoding reads and writes; known once the steps have run."""

    def steps(self) -> Steps[None]:
        """Read what decoding needs."""

    def decode(self) -> None:
        """Decode what was read, and forget it.

        Raises
        ------
        FormatError, UnsupportedError
        """


class Group:
    """Boxes of some chunks of a frame.

    Parameters
    ----------
    frame : Frame

    Attributes
    ----------
    by_block : bool
        See `Batch`.
    """

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self.asks = frame.files is None
        self._wanted: dict[int, list[Box]] = {}
        self._boxes: list[tuple[int, Box, int, Sequence[int]]] = []
        self._dests: list[npt.NDArray[Any]] = []  # kept alive
        self._after: list[Callable[[], None]] = []
        self.by_block = False
        self._pieces: dict[int, list[ChunkBytes]] = {}
        # Bytes by the number of the chunk; not counted while there is only one box.
        self._costs: dict[int, int] = {}
        self._cost = 0

    def __bool__(self) -> bool:
        return bool(self._boxes or self._after)

    def has_room_for(self, number: int, box: Box) -> bool:
        """Whether a box of a chunk may join the group."""
        if not self._boxes:
            return True
        if len(self._boxes) >= AT_ONCE or self._frame.files is not None:
            return len(self._boxes) < AT_ONCE
        if not self._costs:
            self._count(*self._boxes[0][:2])
        return self._cost_with(number, box) <= room_of_group(self._frame)

    def _cost_with(self, number: int, box: Box) -> int:
        before = self._costs.get(number, 0)
        cost = min(before + self._frame.cost(number, box), self._frame.most(number))
        return self._cost + cost - before

    def _count(self, number: int, box: Box) -> None:
        cost = self._cost_with(number, box)
        self._costs[number] = self._costs.get(number, 0) + cost - self._cost
        self._cost = cost

    def add(
        self, number: int, box: Box, dest: int, strides: Sequence[int], keep: npt.NDArray[Any]
    ) -> None:
        """Add a box of a chunk.

        Parameters
        ----------
        number : int
        box : Box
            In items of the chunk.
        dest : int
            Address of the first item's destination.
        strides : sequence of int
            Bytes between items of the destination.
        keep : ndarray
            The array that owns the destination.
        """
        if self._costs:
            self._count(number, box)
        self._wanted.setdefault(number, []).append(box)
        self._boxes.append((number, box, dest, strides))
        if not self._dests or self._dests[-1] is not keep:
            self._dests.append(keep)

    def then(self, action: Callable[[], None]) -> None:
        """Do something once all boxes are decoded."""
        self._after.append(action)

    @property
    def nchunks(self) -> int:
        """How many chunks are read."""
        return len(self._wanted)

    @property
    def boxes(self) -> Iterable[tuple[int, Box]]:
        """The boxes of chunks; see `Groups`."""
        return ((number, box) for number, box, _, _ in self._boxes)

    @property
    def nbytes(self) -> int:
        """Bytes that decoding reads and writes; see `Groups`."""
        itemsize = self._frame.layout.grid.itemsize
        written = sum(math.prod(box[1]) for _, box, _, _ in self._boxes) * itemsize
        return written + sum(len(data) for pieces in self._pieces.values() for _, data in pieces)

    def steps(self) -> Steps[None]:
        """Read what decoding needs."""
        self._pieces = yield from self._frame.piece_steps(self._wanted)

    def decode(self) -> None:
        """Decode what was read, and forget it; see `Groups`."""
        frame, given = self._frame, {}
        for number in self._wanted:
            source = self._pieces[number] if self.asks else frame.in_file(number)
            given[number] = pieces(source) if isinstance(source, list) else source
        if self._boxes:
            frame.kernel.decode(
                [
                    (number, given[number], box, dest, strides)
                    for number, box, dest, strides in self._boxes
                ],
                by_block=self.by_block,
            )
        self._pieces, self._dests = {}, []
        for action in self._after:
            action()


def pieces(found: Iterable[ChunkBytes]) -> list[Piece]:
    """Return pieces of a chunk as the kernel takes them; these keep the bytes alive."""
    return [(at, len(data), pointer(data)) for at, data in found]
