"""Batches of boxes, cut into the groups of chunks that are read together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import mul
from typing import Any, TypeAlias

import numpy.typing as npt

from caterva_cffi.binding.buffers import address
from caterva_cffi.engine.crops import can_be_cut, crop_groups
from caterva_cffi.engine.groups import Group, Groups
from caterva_cffi.engine.many_chunks import ManyChunks, many_chunks
from caterva_cffi.geometry.crops import CropBoxes
from caterva_cffi.geometry.cutting import cut, has_many_chunks
from caterva_cffi.geometry.selection import Batch, Box
from caterva_cffi.planning.frame import Frame

__all__ = ["groups"]


def groups(frame: Frame, batches: Iterable[Batch]) -> Iterator[Groups]:
    """Cut batches of boxes into groups.

    Parameters
    ----------
    frame : Frame
    batches : iterable of Batch
        The next one is taken before the last one is decoded.

    Yields
    ------
    Groups
        To be decoded in this order.
    """
    group = Group(frame)
    for batch in map(frame.layout.translated, batches):
        boxes = batch.boxes
        if isinstance(boxes, CropBoxes) and can_be_cut(boxes, frame.layout.grid):
            if group:
                yield group
                group = Group(frame)
            yield from crop_groups(frame, boxes)
            boxes = ()
        for box, dest in boxes:
            for many, parts, part_of_dest in _cut(frame, box, dest):
                if many is not None:
                    if group:
                        yield group
                        group = Group(frame)
                    yield many
                first, strides = address(part_of_dest), part_of_dest.strides
                for number, part, position in parts:
                    if not group.has_room_for(number, part):
                        yield group
                        group = Group(frame)
                    to = first + sum(map(mul, position, strides))
                    group.add(number, part, to, strides, part_of_dest)
                    group.by_block |= batch.by_block
        if batch.then is not None:
            group.then(batch.then)
    if group:
        yield group


_ChunkBoxes: TypeAlias = Iterable[tuple[int, Box, Sequence[int]]]


def _cut(
    frame: Frame, box: Box, dest: npt.NDArray[Any]
) -> Iterable[tuple[ManyChunks | None, _ChunkBoxes, npt.NDArray[Any]]]:
    """Cut a box at the borders of chunks; if these are many, some thousand at a time."""
    if not dest.size:
        return ()
    grid = frame.layout.grid
    if not has_many_chunks(grid, box):
        return ((None, cut(grid, box), dest),)
    return ((many, many.others(), many.dest) for many in many_chunks(frame, box, dest))
