"""What one gets without choosing: the README's table. All parameters but chunks are defaults."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from benchmarks.data import equal, in_turns, selections, smooth
from benchmarks.timing import Budget, measure
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Amount", "Size", "run"]


@dataclass(frozen=True)
class Size:
    """Sides of the array, of its chunks or shards, and of inner chunks, in items."""

    array: int = 512
    chunk: int = 256
    inner: int = 32


QUICK, TINY = Size(256, 128), Size(16, 8, 4)


@dataclass(frozen=True)
class Amount:
    """Seconds, or bytes, that `work` takes in each way; ours is the first one."""

    work: str
    amounts: dict[str, float]
    in_bytes: bool = False


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Amount]:
    """Write an array in each way, and read parts of it by zarr's default pipeline.

    The least of all rounds counts: what else the machine does only adds to it.
    """
    data = smooth((size.array,) * 3)
    large, inner = {"chunks": (size.chunk,) * 3}, {"chunks": (size.inner,) * 3}
    ways: dict[str, dict[str, Any]] = {
        "this codec": {**large, "serializer": CatervaCodec(), "compressors": None},
        "zarr's defaults": {},
        "sharding": {**inner, "shards": large["chunks"]},
        "zarr's Blosc": {**large, "compressors": BloscCodec()},
    }
    arrays, writing, stored = {}, {}, {}
    for way, coding in ways.items():
        path = directory / way
        z = zarr.create_array(path, shape=data.shape, dtype=data.dtype, **coding)
        start = time.perf_counter()
        z[...] = data
        writing[way] = time.perf_counter() - start
        stored[way] = float(sum(f.stat().st_size for f in path.rglob("*") if f.is_file()))
        arrays[way] = zarr.open_array(path, mode="r")
    wanted = {**selections(size.array), "everything": [np.s_[:, :, :]]}
    for work, keys in wanted.items():
        for way, array in arrays.items():
            equal(array[keys[0]], data[keys[0]], way)
        actions = {way: in_turns(array.__getitem__, keys) for way, array in arrays.items()}
        samples = measure(actions, budget)
        yield Amount(work, {way: min(s) for way, s in samples.items()})
    yield Amount("writing it", writing)
    yield Amount("stored", stored, in_bytes=True)
