"""What is wanted of a frame in an object that anybody may replace, such as a Zarr chunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import numpy.typing as npt

from caterva_cffi import memory_pool
from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.reading import read_memory, read_steps
from caterva_cffi.errors import CatervaError, FormatError
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.selection import Basic, Batch, Fancy
from caterva_cffi.planning import cache
from caterva_cffi.planning.cache import Cache, Known
from caterva_cffi.planning.frame import Frame, Heads
from caterva_cffi.planning.layout import Chunks, layout_steps, slices
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import WHOLE, Asked, MissingError, Range, Steps, Work, run

__all__ = ["Find", "ObjectRead", "Selected", "WantedItems"]

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)

_USUAL_HEADER = 512
"""Bytes for the header and both metalayers of up to 8 dimensions, and for a chunk's header."""

_MOST_AT_ONCE = 1 << 20
"""The first read is not longer: most of the block offsets in it would often not be needed."""

_HEADS_BYTES = 4 << 20

Find: TypeAlias = Callable[[int, int | None], Steps[Chunks]]
"""Returns the steps that find the chunks of an object; see `layout_steps`."""


class WantedItems(Protocol[_T_co]):
    """What is wanted of a frame, and where it goes."""

    @property
    def nitems(self) -> int:
        """How many items are wanted."""

    def count_blocks(self, grid: Grid) -> int:
        """Return in about how many blocks wanted items are."""

    def begin(self, layout: Chunks) -> tuple[_T_co, Iterable[Batch]]:
        """Return the result, and the boxes that fill it once they are read."""


@dataclass(frozen=True)
class Selected:
    """A selection of a frame, read into new memory.

    Parameters
    ----------
    selection : Basic or Fancy
    """

    selection: Basic | Fancy

    @property
    def nitems(self) -> int:
        """How many items are wanted."""
        return math.prod(self.selection.shape)

    def count_blocks(self, grid: Grid) -> int:
        """Return in about how many blocks wanted items are."""
        return index_arrays.count_blocks(grid, self.selection)

    def begin(self, layout: Chunks) -> tuple[npt.NDArray[Any], Iterable[Batch]]:
        """Return an array of the selection's shape and the frame's dtype, and its boxes."""
        items = memory_pool.empty(self.selection.shape, layout.dtype)
        return items, index_arrays.batches(layout.seen, self.selection, layout.dtype, items)


@dataclass(frozen=True)
class ObjectRead(Generic[_T]):
    """Reads what is wanted of a frame.

    Parameters
    ----------
    wanted : WantedItems
    usual : Grid
        The partition that the frame probably has; the first read is planned by it.
    policy : ReadPolicy
    check : callable
        Raises if a layout is not what was expected.
    find : callable
        Returns the steps that find the object's chunks; see `layout_steps`.
    cache : Cache
    beside : int
        How many objects are read at the same time, this one too.
    """

    wanted: WantedItems[_T]
    usual: Grid
    policy: ReadPolicy
    check: Callable[[Chunks], None]
    find: Find = layout_steps
    cache: Cache = cache.shared
    beside: int = 1

    def steps(
        self, key: Hashable, version: Hashable | None, size: int | None = None
    ) -> Generator[Asked, Any, _T]:
        """Read header and offsets first, then the blocks; or the whole object, if most is wanted.

        Parameters
        ----------
        key, version : hashable
            The object's name, and its version; see `Cache.get`.
        size : int, optional
            Bytes of the object, if it is known and cannot be replaced by another one. Without it,
            the whole object is read at once if its frame seems damaged or a range cannot be read:
            the object may have been replaced between two requests, and stores differ in what they
            do with ranges behind an object's end.

        Returns
        -------
        object
            The result; see `WantedItems.begin`.

        Raises
        ------
        FormatError, UnsupportedError
        """
        at_once = self._saves_a_round(key, version)
        if self._share <= self.policy.whole and not at_once:
            try:
                return (yield from self._steps_of_ranges(key, version, size))
            except Exception as error:
                final = isinstance(error, (MissingError, CatervaError))
                if size is not None or (final and not isinstance(error, FormatError)):
                    raise
        [stored] = yield [WHOLE if size is None else (0, size)]
        nbytes = len(stored) + self.wanted.nitems * self.usual.itemsize
        items: _T = yield Work(nbytes, partial(self.decode, stored))
        if at_once:
            self._keep(key, version, memoryview(stored))
        return items

    def _saves_a_round(self, key: Hashable, version: Hashable | None) -> bool:
        """Whether all of an object is read because its beginning would have to be read first."""
        if not self.policy.round:
            return False
        unwanted = (1 - self._share) * self.usual.chunk_nbytes  # less, if it is compressed
        return unwanted * self.beside <= self.policy.round and self.cache.get(key, version) is None

    def _keep(self, key: Hashable, version: Hashable | None, stored: memoryview) -> None:
        """Keep what the beginning of an object says, so that the next read needs less."""
        seen: dict[Range, bytes] = {}
        steps = cache.recording(self.find(self.first, None), seen)
        layout = run(steps, partial(slices, stored))
        self.cache.put(key, version, Known(layout, seen, Heads(_HEADS_BYTES)))

    @property
    def _share(self) -> float:
        """About which share of the frame's blocks has wanted items."""
        shape, blocks = self.usual.shape, self.usual.blocks
        count = math.prod(-(-n // block) for n, block in zip(shape, blocks, strict=True))
        return self.wanted.count_blocks(self.usual) / max(count, 1)

    @property
    def first(self) -> int:
        """Bytes to read at first of an object of which nothing is known."""
        expected: int = _USUAL_HEADER + kernel_of(self.usual).head
        return max(self.policy.first, min(expected, _MOST_AT_ONCE))

    def _steps_of_ranges(
        self, key: Hashable, version: Hashable | None, size: int | None
    ) -> Generator[Asked, Any, _T]:
        known = self.cache.get(key, version)
        if known is not None:
            before = known.heads.nbytes
            if version is not None:
                items = yield from self._block_steps(known, size)
            else:
                unsure = dict(known.evidence)
                steps = self._block_steps(known, size, unsure)
                try:
                    items = yield from cache.asking_again(steps, unsure)
                except cache.ChangedError:
                    self.cache.drop(key)
                    known = None
            if known is not None:
                if known.heads.nbytes != before:
                    self.cache.put(key, version, known)
                return items
        seen: dict[Range, bytes] = {}
        layout = yield from cache.recording(self.find(self.first, size), seen)
        known = Known(layout, seen, Heads(_HEADS_BYTES))
        items = yield from self._block_steps(known, size)
        self.cache.put(key, version, known)
        return items

    def _block_steps(
        self,
        known: Known,
        size: int | None,
        unsure: dict[Range, bytes] | None = None,
    ) -> Generator[Asked, Any, _T]:
        """Read and decode blocks of a frame whose layout is known."""
        layout = known.layout
        self.check(layout)
        result, batches = self.wanted.begin(layout)
        frame = Frame(
            layout, kernel_of(layout.grid), self.policy, known.heads, unsure, size is None
        )
        yield from read_steps(groups(frame, batches))
        return result

    def decode(self, stored: bytes | memoryview, layout: Chunks | None = None) -> _T:
        """Decode what is wanted of an object in memory; return the result.

        Parameters
        ----------
        stored : bytes
            The object.
        layout : Chunks, optional
            Where its chunks are, if known.

        Raises
        ------
        FormatError, UnsupportedError
        """
        if layout is None:
            steps = self.find(len(stored), len(stored))
            layout = run(steps, partial(slices, memoryview(stored)))
        self.check(layout)
        result, batches = self.wanted.begin(layout)
        read_memory(stored, layout, kernel_of(layout.grid), batches)
        return result
