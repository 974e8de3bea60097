"""Everything, and parts of chunks that exist, written through Zarr and by tensorstore.

What is written over was written before. Files are in the page cache; nothing waits for the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zarr

from benchmarks.data import Array, equal, smooth
from benchmarks.timing import Budget, Spread, measure, ratios
from benchmarks.zarr_slices import (
    PIPELINE,
    QUICK,
    SHARDING,
    TENSORSTORE,
    TINY,
    Size,
    Timed,
    open_tensorstore,
    write_blosc,
    write_caterva,
    write_shards,
)

__all__ = ["QUICK", "TINY", "Size", "run"]

OURS = "caterva_cffi in zarr, our pipeline"
BLOSC = "zarr Blosc"

FULL = Size()

Write = Callable[[Any, Any], object]


def run(directory: Path, budget: Budget, size: Size = FULL) -> Iterator[Timed]:
    """Time writing with LZ4; files go to `directory`."""
    data = smooth((size.array,) * 3)
    writers = _writers(directory, data, size)
    middle = size.chunk // 2
    keys = {
        "everything": (slice(None),) * 3,
        "plane of axis 0": (middle, slice(None), slice(None)),
        "plane of axis 2": (slice(None), slice(None), middle),
        "cube": (slice(middle, middle + min(20, middle)),) * 3,
        "item": (middle, middle, middle),
    }
    for name, key in keys.items():
        yield _timed(name, writers, key, data[key], budget)


def _writers(directory: Path, data: Array, size: Size) -> dict[str, tuple[Write, Any]]:
    """Write the arrays; return what writes into each of them, and what reads it."""
    paths = {
        OURS: write_caterva(directory / "caterva.zarr", data, size.chunk, size.block),
        BLOSC: write_blosc(directory / "blosc.zarr", data, size.chunk),
        SHARDING: write_shards(directory / "shards.zarr", data, size.chunk, size.block),
    }
    found: dict[str, tuple[Write, Any]] = {}
    for name, path in paths.items():
        with zarr.config.set({"codec_pipeline.path": PIPELINE}):
            # For arrays of other codecs it is Zarr's fused pipeline, where Zarr has one.
            array = zarr.open_array(path, mode="r+")
        found[name] = array.__setitem__, array.__getitem__
    shards = write_shards(directory / "other.zarr", data, size.chunk, size.block)
    theirs = open_tensorstore(shards, write=True)
    found[TENSORSTORE] = (
        lambda key, items: theirs[key].write(items).result(),
        lambda key: theirs[key].read().result(),
    )
    return found


def _timed(
    name: str, writers: dict[str, tuple[Write, Any]], key: Any, items: Any, budget: Budget
) -> Timed:
    values = [items + 1, items]

    def action(write: Write) -> Callable[[], object]:
        return lambda: [write(key, each) for each in values]

    samples = measure({who: action(write) for who, (write, _) in writers.items()}, budget)
    for who, (_, read) in writers.items():
        equal(read(key), items, who)
    halves = {who: [each / len(values) for each in times] for who, times in samples.items()}
    others = [who for who in samples if who != OURS]
    return Timed(
        name,
        {who: Spread.of(times) for who, times in halves.items()},
        [(OURS, other, ratios(samples, OURS, other)) for other in others],
    )
