"""What a second level of partition is worth: along each axis, by size of selection and of chunk.

The question is that of the slicing notebook with which python-caterva began: an array cut once,
into chunks that decode as a whole, against one that is cut twice, into chunks of blocks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np

import caterva_cffi as cat
from benchmarks import native
from benchmarks.data import PLACES, Array, cube, equal, in_turns, selections, smooth
from benchmarks.kernel import Case
from benchmarks.peak import peak
from benchmarks.timing import Budget, Spread, measure
from benchmarks.zarr_slices import (
    BATCHED,
    FUSED,
    HAS_FUSED,
    OURS,
    write_b2nd,
    write_blosc,
    write_caterva,
    write_shards,
    zarr_reader,
)

PIPELINE = FUSED if HAS_FUSED else BATCHED


@dataclass(frozen=True)
class Size:
    """Sides in items: of the array, of its chunks, of its blocks, and of other chunks to try."""

    array: int = 512
    chunk: int = 256
    block: int = 32
    chunks: tuple[int, ...] = (32, 64, 128, 256, 512)


QUICK = Size(array=256, chunk=128, chunks=(32, 64, 128, 256))
TINY = Size(array=16, chunk=8, block=4, chunks=(8,))


@dataclass(frozen=True)
class Point:
    """One measured value.

    Attributes
    ----------
    figure : {"axes", "selection", "chunk"}
    way : str
        What reads, and how the array is cut.
    what : str
        What is read.
    x : int
        Side of the selection or of the chunk, in items.
    seconds : Spread
    peak : int or None
        Bytes of memory that the call needs at its peak, the result included.
    """

    figure: str
    way: str
    what: str
    x: int
    seconds: Spread
    peak: int | None = None


def along_axes(data: Array, directory: Path, budget: Budget, size: Size) -> Iterator[Point]:
    """Read planes across each axis from arrays that are cut once and twice."""
    large, small = size.chunk, size.block
    cuts = {
        f"two levels: chunks {large}³ of blocks {small}³": (large, small),
        f"one level: chunks {large}³": (large, large),
        f"one level: chunks {small}³": (small, small),
    }
    ways: dict[str, Callable[[Any], Any]] = {}
    for number, (name, (chunk, block)) in enumerate(cuts.items()):
        path = write_b2nd(directory / f"{number}.b2nd", data, chunk, block)
        ways[f"NDArray, {name}"] = cat.open(path, mode="r").__getitem__
        path = directory / f"{number}.zarr"
        if chunk != block:
            write_caterva(path, data, chunk, block)
        else:
            write_blosc(path, data, chunk)
        ways[f"zarr, {name}"] = zarr_reader(path, PIPELINE)
    for what, keys in selections(size.array).items():
        if not what.startswith("plane"):
            continue
        for read in ways.values():
            equal(read(keys[0]), data[keys[0]])
        samples = measure({way: in_turns(read, keys) for way, read in ways.items()}, budget)
        for way, seconds in samples.items():
            yield Point("axes", way, what, size.array, Spread.of(seconds))


def by_selection(data: Array, budget: Budget, size: Size) -> Iterator[Point]:
    """Read cubes of all sizes from one chunk in memory, with one thread."""
    side = size.chunk
    items = np.ascontiguousarray(data[:side, :side, :side])
    array = Case("smooth", items, (size.block,) * 3, "lz4").array()
    frame = bytes(array.to_cframe())
    chunk = array.schunk.chunk(0)
    out = np.empty_like(items)
    decompress = native.decompressor(bytes(cat.ffi.buffer(chunk.pointer, chunk.size)), out)
    random = np.random.default_rng(3)
    edge = 1
    while edge <= side:
        places = random.integers(0, side - edge + 1, (PLACES if edge < side else 1, 3))
        keys = [cube(corner, edge) for corner in places.tolist()]
        c, b = native.caterva_reader(frame, items), native.b2nd_reader(frame, items)
        equal(array[keys[0]], items[keys[0]])
        actions = {
            OURS: in_turns(array.__getitem__, keys),
            "caterva_get_slice_buffer": in_turns(c, keys),
            "b2nd_get_slice_cbuffer": in_turns(b, keys),
            "blosc2_decompress_ctx, everything": decompress,
        }
        for way, seconds in measure(actions, budget).items():
            yield Point("selection", way, "cube", edge, Spread.of(seconds))
        edge *= 2


def _b2nd_reader(path: Path) -> Callable[[Any], Any]:
    read: Callable[[Any], Any] = blosc2.open(str(path), mode="r").__getitem__
    return read


def _zarr_reader(path: Path) -> Callable[[Any], Any]:
    return zarr_reader(path, PIPELINE)


def _call(reader: Callable[[Path], Callable[[Any], Any]], path: Path, key: Any) -> Any:
    """Return a call whose libraries have started, by a read of one item elsewhere."""
    read = reader(path)
    read((0,) * len(key))
    return lambda: read(key)


def by_chunk(data: Array, directory: Path, budget: Budget, size: Size) -> Iterator[Point]:
    """Read from chunks of all sizes, with the same blocks: time, and memory at its peak."""
    wanted = {
        what: keys
        for what, keys in selections(size.array).items()
        if what.startswith(("cube", "plane [k]"))
    }
    for chunk in size.chunks:
        formats: dict[str, tuple[Any, Path]] = {
            f"{OURS} in zarr": (
                _zarr_reader,
                write_caterva(directory / "c.zarr", data, chunk, size.block),
            ),
            "zarr Blosc": (_zarr_reader, write_blosc(directory / "b.zarr", data, chunk)),
            "zarr sharding": (
                _zarr_reader,
                write_shards(directory / "s.zarr", data, chunk, size.block),
            ),
            "python-blosc2": (
                _b2nd_reader,
                write_b2nd(directory / "b.b2nd", data, chunk, size.block),
            ),
        }
        for what, keys in wanted.items():
            actions = {}
            for way, (reader, path) in formats.items():
                read = reader(path)
                equal(read(keys[0]), data[keys[0]])
                actions[way] = in_turns(read, keys)
            for way, seconds in measure(actions, budget).items():
                reader, path = formats[way]
                memory = peak(_call, reader, path, keys[0])
                yield Point("chunk", way, what, chunk, Spread.of(seconds), memory)
        for _, path in formats.values():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Point]:
    """Measure everything; files go to `directory`."""
    data = smooth((size.array,) * 3)
    yield from along_axes(data, directory, budget, size)
    yield from by_selection(data, budget, size)
    yield from by_chunk(data, directory, budget, size)
