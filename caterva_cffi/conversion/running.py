"""Regions of an array converted, one after another or several at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from caterva_cffi import memory_pool
from caterva_cffi.binding.buffers import byte_view
from caterva_cffi.conversion.plans import ArrayPlan
from caterva_cffi.conversion.regions import chunks_in
from caterva_cffi.conversion.target import Target
from caterva_cffi.datasets.model import Dataset, NotCopyable, Region
from caterva_cffi.dtypes import as_dtype

__all__ = ["Counts", "at_the_same_time", "convert_region", "differs", "some_at_a_time"]

_T = TypeVar("_T")
_Map = Callable[[Callable[[_T], Any], Iterable[_T]], Iterable[Any]]


@dataclass(frozen=True)
class Counts:
    """What became of some chunks.

    Attributes
    ----------
    copied, encoded : int
        Chunks of the target.
    stored : int
        Bytes that this package wrote for them; 0 with codecs of Zarr.
    """

    copied: int = 0
    encoded: int = 0
    stored: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.copied + other.copied, self.encoded + other.encoded, self.stored + other.stored
        )


def convert_region(
    array: Dataset, target: Target, plan: ArrayPlan, number: int, run: _Map[Any] = map
) -> Counts:
    """Convert a region.

    Parameters
    ----------
    array : Dataset
    target : Target
    plan : ArrayPlan
    number : int
        Of the region.
    run : callable
        Does what `map` does, perhaps in several threads.
    """
    region = plan.cut[number]
    chunks = chunks_in(region, plan.unit)
    if plan.copied is not None:
        return sum(run(lambda each: _copy(array, target, plan, *each), chunks), Counts())
    items = _read(array, region, run)

    def encode(each: tuple[tuple[int, ...], Region]) -> Counts:
        at, box = each
        inside = _within(region, box)
        return Counts(0, 1, target.write_items(plan, at, items[inside]))

    return sum(run(encode, chunks), Counts())


def _copy(
    array: Dataset, target: Target, plan: ArrayPlan, at: tuple[int, ...], box: Region
) -> Counts:
    try:
        chunk = array.stored_chunk(at)
    except NotCopyable:
        chunk = None
    if chunk is None:
        return Counts(0, 1, target.write_items(plan, at, array.read(box)))
    return Counts(1, 0, target.write_chunk(plan, at, chunk))


def _within(region: Region, box: Region) -> Any:
    """Return a box as counted from a region's start."""
    inside = (
        slice(part.start - whole.start, part.stop - whole.start)
        for part, whole in zip(box, region, strict=True)
    )
    return (*inside, ...)


def _read(array: Dataset, region: Region, run: _Map[Any]) -> npt.NDArray[Any]:
    """Return the items of a region; each chunk is decoded once, and only a few at a time."""
    if array.chunks is None or array.decodes_into_place:
        return array.read(region)
    boxes = list(chunks_in(region, array.chunks))
    if len(boxes) == 1:
        return array.read(region)
    shape = [part.stop - part.start for part in region]
    # Memory that the allocator gets back is kept by it, for each thread.
    whole = np.empty if array.dtype.kind in "TO" else memory_pool.empty
    items: npt.NDArray[Any] = whole(shape, array.dtype)

    def read(each: tuple[tuple[int, ...], Region]) -> None:
        items[_within(region, each[1])] = array.read(each[1])

    for _ in run(read, boxes):
        pass
    return items


def differs(array: Dataset, target: Target, plan: ArrayPlan, region: Region) -> bool:
    """Whether what was written to a region is not, bit by bit, what the source has."""
    before, after = array.read(region), target.read(plan, region)
    if before.shape != after.shape:
        return True
    if array.dtype.kind in "TO":
        return not bool((before == after).all())
    before = as_dtype(before, after.dtype) if before.dtype != after.dtype else before
    return not np.array_equal(
        byte_view(np.ascontiguousarray(before)), byte_view(np.ascontiguousarray(after))
    )


def some_at_a_time(
    pool: ThreadPoolExecutor, most: int, function: Callable[[_T], Any], values: Iterable[_T]
) -> Iterator[Any]:
    """Do what `map` does in the threads of a pool, with at most so many calls under way."""
    left = iter(values)
    waiting: deque[Future[Any]] = deque()
    try:
        while True:
            more = islice(left, most - len(waiting))
            waiting.extend(pool.submit(function, each) for each in more)
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        for each in waiting:
            each.cancel()
        wait(waiting)


def at_the_same_time(
    work: Callable[[int], _T], numbers: Iterable[int], at_once: int
) -> Iterator[tuple[int, _T]]:
    """Yield numbers and results as they are ready; after an error, begin nothing more."""
    stop = threading.Event()

    def guarded(number: int) -> tuple[int, _T]:
        if stop.is_set():
            raise InterruptedError("another region failed")
        return number, work(number)

    left = iter(numbers)
    with ThreadPoolExecutor(at_once, "caterva-convert") as pool:
        waiting: set[Future[tuple[int, _T]]] = set()
        try:
            while True:
                more = islice(left, at_once + 1 - len(waiting))
                waiting |= {pool.submit(guarded, number) for number in more}
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for each in done:
                    yield each.result()
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
