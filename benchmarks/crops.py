"""Random crops, as for training: batches of boxes of one shape, from one process and from several.

All read 1 GiB of float32 on a local disk, in chunks of 256³ and blocks (inner chunks of shards) of
32³, compressed by LZ4 at level 5 after a shuffle. The seconds are those of one batch; several
processes read one batch each, at the same time.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

import caterva_cffi as cat
from benchmarks.data import Array, equal, in_turns, smooth
from benchmarks.timing import Budget, Spread, measure, ratios
from benchmarks.zarr_slices import (
    BATCHED,
    FUSED,
    HAS_FUSED,
    SHARDING,
    TENSORSTORE,
    Timed,
    open_tensorstore,
    write_b2nd,
    write_caterva,
    write_shards,
    zarr_reader,
)

__all__ = ["QUICK", "TINY", "Size", "run"]

OURS = "caterva_cffi, file, read_many"
ZARR = "caterva_cffi, Zarr array, read_many"
ONE_BY_ONE = "caterva_cffi, file, one by one"
BLOSC2 = "python-blosc2, same file"
BLOCKS = "the touched blocks alone, read_many"

Starts = npt.NDArray[np.int64]
ReadBatch = Callable[[Starts, int], Any]


@dataclass(frozen=True)
class Size:
    """Of the array, its chunks and blocks, and the crops; and how many of these a batch has."""

    shape: tuple[int, int, int] = (512, 1024, 512)
    chunk: int = 256
    block: int = 32
    sides: tuple[int, ...] = (64, 20)
    crops: int = 50
    batches: int = 80
    processes: tuple[int, ...] = (1, 4)


QUICK = Size(shape=(256, 256, 256), batches=8)
TINY = Size((16, 16, 16), 8, 4, (5,), 4, 2, (1, 2))


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Timed]:
    """Time batches of crops; files go to `directory`."""
    data = smooth(size.shape)
    paths = {
        "zarr": write_caterva(directory / "caterva.zarr", data, size.chunk, size.block),
        "shards": write_shards(directory / "shards.zarr", data, size.chunk, size.block),
        "b2nd": write_b2nd(directory / "a.b2nd", data, size.chunk, size.block),
    }
    rng = np.random.default_rng(2)
    for side, processes in product(size.sides, size.processes):
        most = np.array(size.shape) - side + 1
        batches = [rng.integers(0, most, (size.crops, 3)) for _ in range(size.batches)]
        yield _time(data, paths, side, batches, processes, budget, size.block)


def _time(
    data: Array,
    paths: dict[str, Path],
    side: int,
    batches: list[Starts],
    processes: int,
    budget: Budget,
    block: int,
) -> Timed:
    opened = {reader: (paths[path], reader) for reader, path in _READERS.items()}
    with ExitStack() as stack:
        actions: dict[str, Callable[[], object]] = {}
        for reader, (path, name) in opened.items():
            if processes == 1:
                read = _open(path, name)
                expected = [data[tuple(slice(s, s + side) for s in start)] for start in batches[0]]
                equal(read(batches[0], side), np.array(expected), reader)
                actions[reader] = in_turns(lambda starts, read=read: read(starts, side), batches)
            else:
                pool = ProcessPoolExecutor(
                    processes, multiprocessing.get_context("spawn"), _begin, (path, name)
                )
                stack.enter_context(pool)
                actions[reader] = _all_at_once(pool, side, batches, processes)
        if processes == 1:
            whole = _open(paths["b2nd"], OURS)
            corners = [_blocks_of(starts, side, block, data.shape) for starts in batches]
            actions[BLOCKS] = in_turns(lambda starts: whole(starts, block), corners)
        samples = measure(actions, budget)
    peers = (TENSORSTORE, BLOSC2, SHARDING)
    pairs = [(ours, peer) for ours in (OURS, ZARR) for peer in peers]
    pairs += [(OURS, BLOCKS)] if processes == 1 else []
    many = f"{processes} processes" if processes > 1 else "1 process"
    return Timed(
        f"{len(batches[0])} crops of {side}³, {many}",
        {name: Spread.of(values) for name, values in samples.items()},
        [(one, other, ratios(samples, one, other)) for one, other in pairs],
    )


def _blocks_of(starts: Starts, side: int, block: int, shape: Sequence[int]) -> Starts:
    """Return where the blocks begin in which some crop has items."""
    touched = np.zeros([n // block for n in shape], bool)
    for start in starts.tolist():
        touched[tuple(slice(s // block, (s + side - 1) // block + 1) for s in start)] = True
    return np.argwhere(touched) * block


# --- readers --------------------------------------------------------------------------------------
_READERS = {
    OURS: "b2nd",
    ZARR: "zarr",
    ONE_BY_ONE: "b2nd",
    BLOSC2: "b2nd",
    SHARDING: "shards",
    TENSORSTORE: "shards",
}


def _open(path: Path, reader: str) -> ReadBatch:
    """Open with a reader; what it returns reads a batch of crops of a side."""
    if reader in (OURS, ZARR):
        array = cat.open(str(path), mode="r")
        return lambda starts, side: array.read_many(starts, (side,) * 3)
    if reader == TENSORSTORE:
        theirs = open_tensorstore(path)

        def read_at_once(starts: Starts, side: int) -> Any:
            """Ask for all crops before the first one is awaited."""
            out = np.empty((len(starts), side, side, side), np.float32)
            reads = [theirs[_box(start, side)].read() for start in starts.tolist()]
            for place, read in zip(out, reads, strict=True):
                place[...] = read.result()
            return out

        return read_at_once
    if reader == SHARDING:
        get = zarr_reader(path, FUSED if HAS_FUSED else BATCHED)
    elif reader == BLOSC2:
        get = blosc2.open(str(path), mode="r").__getitem__
    else:
        get = cat.open(path, mode="r").__getitem__

    def read_one_by_one(starts: Starts, side: int) -> Any:
        out = np.empty((len(starts), side, side, side), np.float32)
        for place, start in zip(out, starts.tolist(), strict=True):
            place[...] = get(_box(start, side))
        return out

    return read_one_by_one


def _box(start: Sequence[int], side: int) -> tuple[slice, ...]:
    return tuple(slice(s, s + side) for s in start)


# --- several processes ----------------------------------------------------------------------------
_opened: list[ReadBatch] = []


def _begin(path: Path, reader: str) -> None:
    """Open in a worker."""
    _opened[:] = [_open(path, reader)]


def _read(starts: Starts, side: int) -> None:
    _opened[0](starts, side)


def _all_at_once(
    pool: ProcessPoolExecutor, side: int, batches: list[Starts], processes: int
) -> Callable[[], object]:
    """Return an action that lets each process read a batch."""
    turns = [batches[k : k + processes] for k in range(0, len(batches) - processes + 1, processes)]
    return in_turns(lambda some: list(pool.map(_read, some, [side] * processes)), turns)
