"""Selections of one array whose files are on the disk, but not in the page cache.

The copies are those of `zarr_slices`. Before each read the system drops the pages of all files.
What programs keep themselves, such as our layouts of the frames, stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

import caterva_cffi as cat
from benchmarks.data import Array, equal, in_turns, scattered, selections, smooth
from benchmarks.timing import Budget, Spread, measure, ratios
from benchmarks.zarr_slices import (
    BATCHED,
    BLOSC2,
    FUSED,
    HAS_FUSED,
    OURS,
    PIPELINE,
    SHARDING,
    TENSORSTORE,
    Read,
    Timed,
    open_tensorstore,
    open_zarr,
    write_b2nd,
    write_caterva,
    write_shards,
)

__all__ = ["QUICK", "TINY", "Cold", "Size", "run"]

IN_ZARR = f"{OURS} in zarr, our pipeline"
OPENED = f"{OURS}, cat.open on the Zarr array"
ON_FILE = f"{OURS}, NDArray on a file"
PAIRS = [(ours, TENSORSTORE) for ours in (IN_ZARR, OPENED, ON_FILE)] + [
    (IN_ZARR, SHARDING),
    (OPENED, BLOSC2),
    (ON_FILE, BLOSC2),
]


@dataclass(frozen=True)
class Size:
    """Sides of the array, of its chunks and of its blocks; and how many items are scattered."""

    array: int = 512
    chunk: int = 256
    block: int = 32
    items: int = 1000


QUICK = Size(array=256, chunk=128)
TINY = Size(array=16, chunk=8, block=4, items=10)


@dataclass(frozen=True)
class Cold:
    """Seconds of a selection with each reader, and the bytes that it read from the disk."""

    timed: Timed
    nbytes: dict[str, float]


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Cold]:
    """Time all selections with all readers; files go to `directory`."""
    data = smooth((size.array,) * 3)
    wanted: dict[str, list[Any]] = {**selections(size.array), "everything": [(slice(None),) * 3]}
    places = scattered(size.array, size.items)
    with ExitStack() as stack:
        basic, points = _readers(directory, data, size, stack)
        for name, keys in wanted.items():
            yield _time(name, basic, keys, data, directory, budget)
        yield _time(f"{size.items} items", points, places, data, directory, budget)


def _readers(
    directory: Path, data: Array, size: Size, stack: ExitStack
) -> tuple[dict[str, Read], dict[str, Read]]:
    """Write the copies and open them; return what reads slices, and what reads scattered items."""
    caterva = write_caterva(directory / "caterva.zarr", data, size.chunk, size.block)
    shards = write_shards(directory / "shards.zarr", data, size.chunk, size.block)
    b2nd = write_b2nd(directory / "a.b2nd", data, size.chunk, size.block)
    for path in _files(directory):
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
    zarrs = {
        IN_ZARR: open_zarr(caterva, PIPELINE),
        SHARDING: open_zarr(shards, FUSED if HAS_FUSED else BATCHED),
    }
    theirs = open_tensorstore(shards)
    opened, frame = cat.open(caterva), stack.enter_context(cat.open(b2nd, mode="r"))
    blosc = blosc2.open(str(b2nd), mode="r")
    ours: dict[str, Read] = {OPENED: opened.__getitem__, ON_FILE: frame.__getitem__}
    both = {**ours, TENSORSTORE: lambda key: theirs[key].read().result()}
    return (
        {**{name: z.__getitem__ for name, z in zarrs.items()}, **both, BLOSC2: blosc.__getitem__},
        {**{name: z.vindex.__getitem__ for name, z in zarrs.items()}, **both},
    )


def _time(
    name: str,
    readers: dict[str, Read],
    keys: list[Any],
    data: Array,
    directory: Path,
    budget: Budget,
) -> Cold:
    files = _files(directory)
    read: dict[str, list[int]] = {reader: [] for reader in readers}
    actions: dict[str, Callable[[], object]] = {}
    for reader, function in readers.items():
        for key in keys[:3]:
            equal(function(key), data[key], reader)
        actions[reader] = in_turns(_counting(function, read[reader]), keys)
    samples = measure(actions, budget, before=lambda: _drop(files))
    pairs = [pair for pair in PAIRS if set(pair) <= readers.keys()]
    timed = Timed(
        name,
        {reader: Spread.of(values) for reader, values in samples.items()},
        [(one, other, ratios(samples, one, other)) for one, other in pairs],
    )
    return Cold(timed, {reader: float(np.median(counts[1:])) for reader, counts in read.items()})


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def _drop(files: list[Path]) -> None:
    """Let the system forget the pages of files, which it has written to the disk."""
    for path in files:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _counting(read: Read, counts: list[int]) -> Read:
    """Return a reader that also notes how many bytes came from the disk."""

    def reading(key: Any) -> Any:
        before = _from_disk()
        found = read(key)
        counts.append(_from_disk() - before)
        return found

    return reading


def _from_disk() -> int:
    """Return how many bytes this process has caused to be read from disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])
