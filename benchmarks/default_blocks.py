"""What default blocks are worth: chunks of many proportions, read along each axis.

Ways of reading the same chunk, compressed with Zstandard, our other defaults unchanged: default
blocks; near-cubes of as many bytes, which say nothing of the chunk's shape; and blocks by hand,
whose numbers of parts along the axes have all proportions in steps of a third. All of them are
single chunks in memory. Beside them our codec in Zarr, with Zstandard too, in one chunk, and what
Zarr makes of the array by itself: its own chunks and its own codec.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

import caterva_cffi as cat
from benchmarks.data import Key, equal, in_turns
from benchmarks.timing import Budget, Samples, measure
from benchmarks.zarr_slices import BATCHED
from caterva_cffi.advice.model import Costs, mean_seconds
from caterva_cffi.geometry.grid import BLOCK_BYTES, Grid, default_blocks
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Access", "Size", "run"]

DEFAULT, CUBES = "default blocks", "near-cubes"
OURS, ZARR = "caterva_cffi's defaults in zarr", "zarr's defaults"
PLACES = 8
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Size:
    """Chunks with the dtypes of their items; how finely proportions of blocks by hand differ."""

    chunks: tuple[tuple[Shape, str], ...] = (
        ((24, 721, 1440), "f4"),
        ((1080, 1080, 12), "u1"),
        ((64, 1024, 1024), "u2"),
        ((365, 180, 360), "f4"),
        ((500_000, 40), "f4"),
        ((256, 256, 256), "f4"),
        ((2**23,), "f4"),
    )
    steps: int = 3


QUICK = Size(chunks=Size().chunks[:2], steps=2)
TINY = Size(chunks=(((4, 30, 40), "f4"), ((300,), "u1")), steps=1)


@dataclass(frozen=True)
class Access:
    """Seconds of one access to one chunk, by way; ways by hand are named by their blocks."""

    chunk: Shape
    dtype: str
    access: str
    seconds: dict[str, float]

    @property
    def by_hand(self) -> list[str]:
        """The ways with blocks by hand, near-cubes and default blocks among them."""
        return [way for way in self.seconds if way not in (OURS, ZARR)]


# --- items and selections -------------------------------------------------------------------------
def field(shape: Sequence[int], dtype: str) -> npt.NDArray[Any]:
    """Return waves along each axis with noise, rounded as packed formats do."""
    items = np.random.default_rng(0).standard_normal(shape, np.float32)
    items *= np.float32(0.1)
    for axis, places in enumerate(np.ogrid[tuple(map(slice, shape))]):
        items += (5 * np.sin(places / (20 + 13 * axis) + axis)).astype("f4")
    if dtype == "f4":
        return np.round(items * 64) / np.float32(64)
    unit, middle = (4, 128) if dtype == "u1" else (64, 2**15)
    return np.round(items * unit + middle).astype(dtype)


def accesses(shape: Shape) -> dict[str, list[Key]]:
    """Return planes and lines along each axis, a tile, a cube, an item and everything."""
    random, whole = np.random.default_rng(1), slice(None)
    places = [[int(random.integers(n)) for n in shape] for _ in range(PLACES)]
    axes = range(len(shape))

    def box(sides: Sequence[int | None]) -> list[Key]:
        """Return boxes with these sides; None is an index."""
        keys = []
        for at in places:
            starts = [min(k, n - (side or 1)) for k, n, side in zip(at, shape, sides, strict=True)]
            keys.append(
                tuple(
                    start if side is None else slice(start, start + side)
                    for start, side in zip(starts, sides, strict=True)
                )
            )
        return keys

    found: dict[str, list[Key]] = {}
    if len(shape) > 1:
        for axis in axes:
            found[f"plane of axis {axis}"] = box([None if d == axis else shape[d] for d in axes])
    if len(shape) > 2:
        for axis in axes:
            found[f"line along axis {axis}"] = box([shape[d] if d == axis else None for d in axes])
    longest = sorted(axes, key=lambda axis: -shape[axis])[:2]
    found["tile of 256²"] = box([min(256, shape[d]) if d in longest else None for d in axes])
    found["cube of 20"] = box([min(20, n) for n in shape])
    found["one item"] = box([None] * len(shape))
    found["everything"] = [(whole,) * len(shape)]
    return found


# --- blocks ---------------------------------------------------------------------------------------
def near_cubes(chunk: Shape, itemsize: int) -> Shape:
    """Return blocks with sides that are as equal as the chunk allows."""
    left, sides = BLOCK_BYTES / itemsize, list(chunk)
    for done, axis in enumerate(sorted(range(len(chunk)), key=lambda axis: chunk[axis])):
        most = max(1, int(left ** (1 / (len(chunk) - done)) + 1e-9))
        sides[axis] = -(-chunk[axis] // -(-chunk[axis] // most))
        left /= sides[axis]
    return tuple(sides)


def by_hand(chunk: Shape, itemsize: int, steps: int) -> Iterator[Shape]:
    """Yield blocks that share out the parts in all proportions: `steps` to axes, in any way."""
    parts = math.prod(chunk) * itemsize / BLOCK_BYTES
    for weights in product(range(steps + 1), repeat=len(chunk)):
        if sum(weights) == steps:
            counts = [max(1, round(parts ** (weight / steps))) for weight in weights]
            yield tuple(-(-n // min(n, count)) for n, count in zip(chunk, counts, strict=True))


def readers(
    items: npt.NDArray[Any], directory: Path, steps: int
) -> dict[str, Callable[[Any], Any]]:
    """Return what reads a chunk, by way."""
    shape, itemsize = items.shape, items.itemsize
    cuts = {DEFAULT: default_blocks(shape, itemsize), CUBES: near_cubes(shape, itemsize)}
    for blocks in by_hand(shape, itemsize, steps):
        if blocks not in cuts.values():
            cuts[" x ".join(map(str, blocks))] = blocks
    found: dict[str, Callable[[Any], Any]] = {
        way: cat.asarray(items, chunks=shape, blocks=blocks, codec=cat.Codec.ZSTD).__getitem__
        for way, blocks in cuts.items()
    }
    codec = CatervaCodec(cname="zstd")
    name, like = directory.name, {"shape": shape, "dtype": items.dtype}
    ours = {"chunks": shape, "serializer": codec, "compressors": None}
    for way, codecs in ((OURS, ours), (ZARR, {})):
        path = directory / f"{name}-{len(found)}.zarr"
        with zarr.config.set({"codec_pipeline.path": BATCHED}):
            array = zarr.create_array(path, overwrite=True, **like, **codecs)
            array[...] = items
        found[way] = array.__getitem__
    return found


def medians(samples: Samples) -> dict[str, float]:
    """Return the median of each way."""
    return {way: float(np.median(seconds)) for way, seconds in samples.items()}


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Access]:
    """Measure every access to every chunk; files go to `directory`."""
    for shape, dtype in size.chunks:
        items = field(shape, dtype)
        reads = readers(items, directory, size.steps)
        for access, keys in accesses(shape).items():
            for way, read in reads.items():
                equal(read(keys[0]), items[keys[0]], way)
            actions = {way: in_turns(read, keys) for way, read in reads.items()}
            yield Access(shape, dtype, access, medians(measure(actions, budget)))


def mean_ratio(rows: Sequence[Access], one: str, other: str) -> float:
    """Return the geometric mean of one way's times over another's."""
    logs = [math.log(row.seconds[one] / row.seconds[other]) for row in rows]
    return math.exp(float(np.mean(logs)))


def worst(rows: Sequence[Access], kind: str, way: str) -> float:
    """Return the longest time of the accesses of a kind to one chunk; 0 if there is none."""
    return max((row.seconds[way] for row in rows if row.access.startswith(kind)), default=0)


def best_by_hand(rows: Sequence[Access], kind: str) -> float:
    """Return the worst time of the blocks for which that is the shortest."""
    return min(worst(rows, kind, way) for way in rows[0].by_hand)


def fastest_by_hand(row: Access) -> float:
    """Return the seconds of the blocks that are best for one access alone."""
    return min(row.seconds[way] for way in row.by_hand)


def predicted(row: Access, way: str) -> float:
    """Return the seconds that the model of `advise` predicts for blocks by hand."""
    itemsize = np.dtype(row.dtype).itemsize
    known = {DEFAULT: default_blocks, CUBES: near_cubes}
    blocks = known[way](row.chunk, itemsize) if way in known else tuple(map(int, way.split(" x ")))
    grid = Grid(row.chunk, row.chunk, blocks, itemsize)
    keys = accesses(row.chunk)[row.access]
    selections = [normalize(key, row.chunk) for key in keys]
    return mean_seconds(grid, selections, None, Costs(), 1.0)


def rank_correlation(rows: Sequence[Access]) -> float:
    """Return Spearman's correlation of predicted and measured times."""
    pairs = [(predicted(row, way), row.seconds[way]) for row in rows for way in row.by_hand]
    ranks = [np.argsort(np.argsort(times)) for times in zip(*pairs, strict=True)]
    return float(np.corrcoef(*ranks)[0, 1])


def by_chunk(rows: Sequence[Access]) -> Mapping[tuple[Shape, str], list[Access]]:
    """Return the accesses to each chunk."""
    found: dict[tuple[Shape, str], list[Access]] = {}
    for row in rows:
        found.setdefault((row.chunk, row.dtype), []).append(row)
    return found
