"""The array of LDeakin's zarr_benchmarks, read at once and chunk by chunk, and written.

`(x + y²/32 + z³) mod 65536` in uint16, of 512 x 1024 x 1024 items, in chunks (or shards) of 256³
and inner chunks of 32³, compressed by BloscLZ at level 9 after a bit shuffle, as there. Files are
in the page cache. Chunks are read by so many threads at a time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from benchmarks.data import equal
from benchmarks.timing import Budget, Spread, fastest, measure, ratios
from benchmarks.zarr_slices import (
    BATCHED,
    FUSED,
    HAS_FUSED,
    PIPELINE,
    SHARDING,
    TENSORSTORE,
    ZARRS,
    Timed,
    open_tensorstore,
    zarr_reader,
)
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Size", "run"]

OURS = "caterva_cffi in zarr, our pipeline"
ZARRS_SHARDING = "zarr sharding, zarrs pipeline"

Items = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Size:
    """Of the array, its chunks and inner chunks; and how many chunks are read at a time."""

    shape: tuple[int, int, int] = (512, 1024, 1024)
    chunk: int = 256
    inner: int = 32
    at_a_time: tuple[int, ...] = (1, 8, 32)


QUICK = Size(shape=(256, 512, 512))
TINY = Size((16, 16, 16), 8, 4, (1, 2))


def formula(shape: tuple[int, ...]) -> Items:
    """Return the array."""
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    out = np.empty(shape, np.uint16)
    for k, plane in enumerate(out):
        plane[...] = (x[0] + y[0] ** 2 // 32 + int(z[k, 0, 0]) ** 3) % 65536
    return out


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Timed]:
    """Time reading and writing; files go to `directory`."""
    data = formula(size.shape)
    yield _timed("write everything", measure(_writes(directory, data, size), budget))
    for name, create in _formats(size).items():
        _write(directory / name, create, data)
    reads = _reads(directory)
    everything = {name: (lambda read=read: read(...)) for name, read in reads.items()}
    for name, read in everything.items():
        equal(read(), data, name)
    yield _timed("read everything", measure(everything, budget))
    boxes = [
        tuple(slice(c, c + size.chunk) for c in corner)
        for corner in product(*(range(0, n, size.chunk) for n in size.shape))
    ]
    for count in size.at_a_time:
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(count))
            actions = {name: _chunk_by_chunk(pool, read, boxes) for name, read in reads.items()}
            yield _timed(f"chunk by chunk, {count} at a time", measure(actions, budget))


def _chunk_by_chunk(
    pool: ThreadPoolExecutor, read: Callable[[Any], Any], boxes: list[Any]
) -> Callable[[], object]:
    def action() -> None:
        for done in pool.map(lambda box: read(box) is None, boxes):
            assert not done

    return action


def _formats(size: Size) -> dict[str, dict[str, Any]]:
    """Return how arrays are created, by the names of their directories."""
    chunk, inner = (size.chunk,) * 3, (size.inner,) * 3
    blosc = BloscCodec(typesize=2, cname="blosclz", clevel=9, shuffle="bitshuffle")
    caterva = CatervaCodec(cname="blosclz", clevel=9, shuffle="bitshuffle")
    return {
        "caterva": {"chunks": chunk, "serializer": caterva, "compressors": None},
        "blosc": {"chunks": chunk, "compressors": blosc},
        "shards": {"chunks": inner, "shards": chunk, "compressors": blosc},
    }


def _write(
    path: Path, how: dict[str, Any], data: Items, pipeline: str = FUSED if HAS_FUSED else BATCHED
) -> None:
    shutil.rmtree(path, ignore_errors=True)
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        array = zarr.create_array(path, shape=data.shape, dtype=data.dtype, **how)
        array[...] = data


def _writes(directory: Path, data: Items, size: Size) -> dict[str, Callable[[], None]]:
    formats = _formats(size)

    def write_by_tensorstore() -> None:
        path = directory / "written"
        shutil.rmtree(path, ignore_errors=True)
        zarr.create_array(path, shape=data.shape, dtype=data.dtype, **formats["shards"])
        open_tensorstore(path, write=True).write(data).result()

    def write(name: str, pipeline: str) -> Callable[[], None]:
        return lambda: _write(directory / "written", formats[name], data, pipeline)

    return {
        OURS: write("caterva", PIPELINE),
        "zarr Blosc": write("blosc", FUSED if HAS_FUSED else BATCHED),
        SHARDING: write("shards", FUSED if HAS_FUSED else BATCHED),
        ZARRS_SHARDING: write("shards", ZARRS),
        TENSORSTORE: write_by_tensorstore,
    }


def _reads(directory: Path) -> dict[str, Callable[[Any], Any]]:
    usual = FUSED if HAS_FUSED else BATCHED
    theirs = open_tensorstore(directory / "shards")
    return {
        OURS: zarr_reader(directory / "caterva", PIPELINE),
        "zarr Blosc": zarr_reader(directory / "blosc", usual),
        SHARDING: zarr_reader(directory / "shards", usual),
        ZARRS_SHARDING: zarr_reader(directory / "shards", ZARRS),
        TENSORSTORE: lambda key: theirs[key].read().result(),
    }


def _timed(work: str, samples: dict[str, list[float]]) -> Timed:
    best = fastest(samples, [name for name in samples if name != OURS])
    return Timed(
        work,
        {name: Spread.of(values) for name, values in samples.items()},
        [(OURS, best, ratios(samples, OURS, best))],
    )
