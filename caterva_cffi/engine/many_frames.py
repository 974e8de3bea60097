"""Frames of objects that anybody may replace, such as Zarr chunks: one call decodes boxes of many.

Each frame is in an open file, or in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from operator import mul
from typing import Any, Protocol, TypeVar

from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.decoding import Piece, Place
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.crops import PARTS, SomeParts, can_be_cut, decode_parts, parts_at_once
from caterva_cffi.engine.groups import pieces
from caterva_cffi.errors import CatervaError
from caterva_cffi.geometry.crops import CropBoxes
from caterva_cffi.geometry.cutting import MANY, cut
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning import cache
from caterva_cffi.planning.cache import Known
from caterva_cffi.planning.frame import Heads
from caterva_cffi.planning.layout import Chunks, layout_steps, slices
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import ChunkBytes, Range, run

__all__ = ["Plan", "WantedFrame", "located", "read_buffers", "read_layout"]

_T_co = TypeVar("_T_co", covariant=True)

_BYTES = 64 << 20
"""Of items that are decoded beside the output, before they are put into it."""


class WantedFrame(Protocol[_T_co]):
    """What is wanted of a frame in an open file, or in memory."""

    @property
    def key(self) -> Hashable:
        """The object's name in the cache of layouts."""

    def check(self, layout: Chunks) -> None:
        """Raise if a layout is not what was expected.

        Raises
        ------
        FormatError
        """

    def begin(self, layout: Chunks) -> tuple[_T_co, Iterable[Batch]]:
        """Return the result, and the boxes that fill it once they are read."""


def read_layout(
    key: Hashable,
    version: Hashable,
    size: int,
    answer: Callable[[list[Range]], list[bytes | memoryview]],
) -> Chunks:
    """Read where the chunks of an object are, and keep it.

    Parameters
    ----------
    key, version : hashable
        The object's name, and its version; see `Cache.get`.
    size : int
        Bytes of the object.
    answer : callable
        Gives the bytes of ranges.

    Raises
    ------
    FormatError, UnsupportedError
    """
    seen: dict[Range, bytes] = {}
    steps = cache.recording(layout_steps(get_read_policy("local").first, size), seen)
    known = Known(run(steps, answer), seen, Heads(0))
    cache.shared.put(key, version, known)
    return known.layout


def read_buffers(wanted: Iterable[tuple[WantedFrame[Any], memoryview]]) -> bool:
    """Read boxes of frames in memory by one call.

    Returns
    -------
    bool
        Whether all were read. If not, the other way does it, or says what is wrong.
    """
    plan = Plan()
    try:
        for each, data in wanted:
            layout = _layout_of_bytes(each.key, data)
            each.check(layout)
            if layout.grid.nchunks > MANY:
                return False
            for batch in each.begin(layout)[1]:
                plan.add(layout, data, batch)
        plan.run()
    except CatervaError:
        return False
    return True


def _layout_of_bytes(key: Hashable, data: memoryview) -> Chunks:
    """Return where the chunks of an object in memory are: that is known, or it is read."""
    known = cache.shared.get(key, len(data))
    if known is not None and all(
        bytes(data[slice(*part)]) == before for part, before in known.evidence.items()
    ):
        return known.layout
    return read_layout(key, len(data), len(data), partial(slices, data))


def located(where: list[ChunkBytes] | Place) -> list[Piece] | Place:
    """Return where a chunk is as the kernel takes it."""
    return pieces(where) if isinstance(where, list) else where


class Plan:
    """Boxes of several frames, which one call decodes if the frames have one grid."""

    def __init__(self) -> None:
        self._gap = get_read_policy("local").gap
        self._nbytes = 0
        self._by_block = False
        self._sources: dict[tuple[int, int], list[Piece] | Place] = {}
        self._nparts = 0
        self._parts: dict[Kernel, list[SomeParts]] = {}
        self._boxes: dict[Kernel, list[tuple[int, Any, Box, int, Sequence[int]]]] = {}
        self._after: list[Callable[[], None]] = []
        self._kept: list[Any] = []

    def add(self, layout: Chunks, where: int | memoryview, batch: Batch) -> None:
        """Add boxes of a frame; decode those before, if too many items would wait for a place.

        Parameters
        ----------
        layout : Chunks
        where : int or memoryview
            The descriptor of the frame's file, or the frame: one object for all its batches.
        batch : Batch
        """
        crops = batch.boxes if isinstance(batch.boxes, CropBoxes) else None
        if batch.then is not None:
            waiting = [crops.dest] if crops is not None else [dest for _, dest in batch.boxes]
            nbytes = sum(dest.nbytes for dest in waiting)
            if self._nbytes + nbytes > _BYTES:
                self.run()
            self._nbytes += nbytes
        self._by_block |= batch.by_block
        if crops is not None and can_be_cut(crops, layout.grid):
            self._add_crops(layout, where, crops)
        else:
            self._add_boxes(layout, where, batch)
        if batch.then is not None:
            self._after.append(batch.then)

    def _add_boxes(self, layout: Chunks, where: int | memoryview, batch: Batch) -> None:
        boxes, grid = self._boxes.setdefault(layout.kernel, []), layout.grid
        for box, dest in batch.boxes:
            if not dest.size:
                continue
            self._kept.append(dest)
            first, strides = address(dest), dest.strides
            if grid.nchunks == 1:
                boxes.append((0, self._source(layout, where, 0), box, first, strides))
                continue
            for number, part, position in cut(grid, box):
                source = self._source(layout, where, number)
                to = first + sum(map(mul, position, strides))
                boxes.append((number, source, part, to, strides))

    def _add_crops(self, layout: Chunks, where: int | memoryview, boxes: CropBoxes) -> None:
        for parts in parts_at_once(layout.grid, boxes):
            if self._nparts + len(parts.numbers) > PARTS:
                self._decode()
            self._nparts += len(parts.numbers)
            source = partial(self._source, layout, where)
            self._parts.setdefault(layout.kernel, []).append(SomeParts(parts, source, boxes.dest))

    def _source(self, layout: Chunks, where: int | memoryview, number: int) -> list[Piece] | Place:
        """Return where a chunk is: the same object for all its boxes."""
        key = id(where), number
        found = self._sources.get(key)
        if found is None:
            if isinstance(where, int):
                found = located(layout.in_file(number, where, self._gap))
            else:
                found = pieces(_in_memory(layout, where, number))
            self._sources[key] = found
            self._kept.append(where)
        return found

    def run(self) -> None:
        """Decode all boxes, and forget them."""
        self._decode()
        for action in self._after:
            action()
        self._nbytes = 0
        self._after.clear()

    def _decode(self) -> None:
        for kernel, boxes in self._boxes.items():
            if boxes:
                kernel.decode(boxes, by_block=self._by_block)
        for kernel, some in self._parts.items():
            decode_parts(kernel, some)
        self._nparts, self._by_block = 0, False
        for each in (self._sources, self._boxes, self._parts, self._kept):
            each.clear()


def _in_memory(layout: Chunks, frame: memoryview, number: int) -> list[ChunkBytes]:
    """Return the head of a chunk, and the rest.

    Of a chunk in one piece the kernel would not look whether each block ends where the next begins.
    """
    [(_, chunk)] = layout.whole_chunk(number, frame)
    need, _ = layout.kernel.plan(number, chunk, [], 0)
    return [piece for piece in [(0, chunk[:need]), (need, chunk[need:])] if piece[1]]
