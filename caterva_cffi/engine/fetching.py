"""A selection of a frame that is stored elsewhere: what it takes is fetched, then decoded."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy.typing as npt

from caterva_cffi import memory_pool
from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.engine.crowds import crowd_steps
from caterva_cffi.engine.decoding import decode
from caterva_cffi.errors import CatervaError, FormatError
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.cutting import MANY, by_chunk, is_crowd, touched_share
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Basic, Box, Fancy, lay
from caterva_cffi.planning.layout import Layout, layout_steps, part_steps, slices, whole_layout
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy
from caterva_cffi.steps import WHOLE, MissingError, Part, Steps, run

__all__ = ["Fetched", "Fetching"]

_USUAL_HEADER = 512
"""Bytes for the header and both metalayers of up to 8 dimensions, and for a chunk's header."""

_MOST_AT_ONCE = 1 << 20
"""A first read longer than this would often fetch more offsets than are needed."""


@dataclass(frozen=True)
class Fetched:
    """Those bytes of a frame that a selection takes.

    Attributes
    ----------
    wanted : Basic or Fancy
    layout : Layout
    parts : mapping of int to list of Part
        Of the chunks that hold wanted items, by their numbers.
    stored : bytes or None
        The frame, where all of it came by one read.
    crowd : bool
        Whether the chunks are too many to be planned at once: then `parts` is empty.
    policy : ReadPolicy
    """

    wanted: Basic | Fancy
    layout: Layout
    parts: Mapping[int, list[Part]]
    stored: bytes | memoryview | None
    crowd: bool
    policy: ReadPolicy

    @property
    def nbytes(self) -> int:
        """Bytes that decoding reads and writes."""
        stored = sum(len(data) for parts in self.parts.values() for _, data in parts)
        if self.crowd and self.stored is not None:
            stored = len(self.stored)
        return stored + math.prod(self.wanted.shape) * self.layout.grid.itemsize

    def decode(self) -> npt.NDArray[Any]:
        """Return the items, of the selection's shape and the frame's dtype.

        Raises
        ------
        FormatError, UnsupportedError
        """
        grid, dtype = self.layout.grid, self.layout.dtype
        kernel = kernel_of(grid)

        def read_boxes(boxes: Sequence[tuple[Box, npt.NDArray[Any]]]) -> None:
            targets = [(box, address(dest), dest.strides) for box, dest in boxes if dest.size]
            if not self.crowd:
                decode(kernel, self.parts, grid, targets)
                return
            for target in targets:
                steps = crowd_steps(self.layout, kernel, *target, get_read_policy("local"))
                run(steps, partial(slices, cast("memoryview", self.stored)))

        items = memory_pool.empty(self.wanted.shape, dtype)
        index_arrays.read(grid, read_boxes, dtype, self.wanted, items)
        return items

    def crowd_steps(self) -> Steps[npt.NDArray[Any]]:
        """Read and decode slices of many chunks, some at a time.

        Raises
        ------
        FormatError, UnsupportedError
        """
        wanted, layout = cast("Basic", self.wanted), self.layout
        items = memory_pool.empty(wanted.shape, layout.dtype)
        dest, kernel = lay(items, wanted), kernel_of(layout.grid)
        yield from crowd_steps(
            layout, kernel, wanted.box, address(dest), dest.strides, self.policy, may_change=True
        )
        return items


@dataclass(frozen=True)
class Fetching:
    """Fetches what a selection of a frame takes.

    Parameters
    ----------
    wanted : Basic or Fancy
    usual : Grid
        The partition that the frame probably has, by which the first read is planned.
    policy : ReadPolicy
    check : callable
        Raises where a layout is not what was expected.
    """

    wanted: Basic | Fancy
    usual: Grid
    policy: ReadPolicy
    check: Callable[[Layout], None]

    def steps(self, size: int | None = None) -> Steps[Fetched]:
        """Read header and offsets first, then the blocks; or all at once, where most is wanted.

        Parameters
        ----------
        size : int, optional
            Bytes of the frame as it is stored, where they are known. Otherwise a frame that seems
            damaged, or a range that cannot be read, makes all be read at once: whatever a store
            makes of ranges, such as of those behind an object's end, and whatever happens between
            two requests, cannot spoil that.

        Raises
        ------
        FormatError, UnsupportedError
        """
        if (
            touched_share(self.usual, index_arrays.boxes(self.usual, self.wanted))
            <= self.policy.whole
        ):
            try:
                return (yield from self._part_steps(size))
            except Exception as error:
                final = isinstance(error, (MissingError, CatervaError))
                if size is not None or (final and not isinstance(error, FormatError)):
                    raise
        [stored] = yield [WHOLE if size is None else (0, size)]
        return self.whole(stored)

    def _part_steps(self, size: int | None) -> Steps[Fetched]:
        expected = _USUAL_HEADER + kernel_of(self.usual).head
        first = max(self.policy.first, min(expected, _MOST_AT_ONCE))
        layout = yield from layout_steps(first, size)
        self.check(layout)
        if self._is_crowd(layout):
            if isinstance(self.wanted, Basic):
                return Fetched(self.wanted, layout, {}, None, True, self.policy)
            [stored] = yield [WHOLE if size is None else (0, size)]
            return self.whole(stored)
        boxes = by_chunk(layout.grid, index_arrays.boxes(layout.grid, self.wanted))
        kernel = kernel_of(layout.grid)
        parts = yield from part_steps(layout, kernel, boxes, self.policy, may_change=size is None)
        return Fetched(self.wanted, layout, parts, None, False, self.policy)

    def _is_crowd(self, layout: Layout) -> bool:
        """Whether the selection has items in many chunks."""
        grid = layout.grid
        if grid.nchunks <= MANY:
            return False
        if isinstance(self.wanted, Basic):
            return is_crowd(grid, self.wanted.box)
        boxes = index_arrays.boxes(grid, self.wanted)
        return len(boxes) > MANY or any(is_crowd(grid, box) for box in boxes)

    def whole(self, stored: bytes | memoryview) -> Fetched:
        """Return what the selection takes of a frame in memory.

        Raises
        ------
        FormatError, UnsupportedError
        """
        layout = whole_layout(stored)
        self.check(layout)
        if self._is_crowd(layout):
            return Fetched(self.wanted, layout, {}, stored, True, self.policy)
        numbers = by_chunk(layout.grid, index_arrays.boxes(layout.grid, self.wanted))
        kernel, parts = kernel_of(layout.grid), {}
        for number, boxes in numbers.items():
            [(_, chunk)] = layout.whole_chunk(number, stored)
            need, _ = kernel.plan(number, chunk, boxes, sys.maxsize)
            # Apart, so that blocks are held to where the next ones begin.
            parts[number] = [(0, chunk[:need]), (need, chunk[need:])][: 1 + (need < len(chunk))]
        return Fetched(self.wanted, layout, parts, stored, False, self.policy)
