"""Selections of one array on a local disk, through Zarr, HDF5 and Blosc2, each in its own format.

All copies have the same large chunks, and blocks (inner chunks of shards) of the same shape where
the format has any; all are compressed by LZ4 at level 5 after a shuffle. But *zarr's defaults* are
what Zarr makes of the array without being told anything. Everything runs with the
threads that it takes by itself. Files are in the page cache: what is measured is decoding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Self

import b2h5py
import blosc2
import h5py
import hdf5plugin
import numpy as np
import tensorstore
import zarr
import zarrs
from zarr.abc.store import RangeByteRequest
from zarr.codecs import BloscCodec
from zarr.registry import register_codec

import caterva_cffi as cat
from benchmarks.data import Array, equal, in_turns, scattered, selections, smooth
from benchmarks.timing import Budget, Samples, Spread, fastest, measure, ratios
from caterva_cffi.zarr import CatervaCodec

Read = Callable[[Any], Any]

FUSED = "zarr.core.codec_pipeline.FusedCodecPipeline"
BATCHED = "zarr.core.codec_pipeline.BatchedCodecPipeline"
PIPELINE = "caterva_cffi.zarr.CatervaPipeline"
ZARRS = f"{zarrs.__name__}.ZarrsCodecPipeline"
HAS_FUSED = hasattr(zarr.core.codec_pipeline, "FusedCodecPipeline")  # zarr 3.4

OURS = "caterva_cffi"
FLOOR = "zarr itself"
SHARDING = "zarr sharding, fused pipeline" if HAS_FUSED else "zarr sharding, default pipeline"
TENSORSTORE = "tensorstore, same shards"
ON_FILE = "NDArray on a file"
OPENED = "cat.open on the Zarr array"
BLOSC2, MAPPED = "python-blosc2, same file", "python-blosc2, same file mapped"


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
class Timed:
    """Seconds of a selection with each reader; ratios of two of them, of each round."""

    selection: str
    seconds: dict[str, Spread]
    ratios: list[tuple[str, str, Spread]]


class ReadsTwice(CatervaCodec):
    """What zarr itself costs: for each chunk two short reads, and nothing decoded."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return super().from_dict({**data, "name": "caterva"})

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "name": "reads_twice"}

    def _decode_partial_sync(self, byte_getter: Any, selection: Any, spec: Any) -> Any:
        for part in SHORT:
            byte_getter.get_sync(prototype=spec.prototype, byte_range=part)
        return _nothing(selection, spec)

    async def _decode_partial_single(self, byte_getter: Any, selection: Any, spec: Any) -> Any:
        for part in SHORT:
            await byte_getter.get(spec.prototype, part)
        return _nothing(selection, spec)


SHORT = (RangeByteRequest(0, 4096), RangeByteRequest(4096, 8192))
register_codec("reads_twice", ReadsTwice)


def _nothing(selection: Any, spec: Any) -> Any:
    shape = np.broadcast_to(0, spec.shape)[selection].shape
    return spec.prototype.nd_buffer.from_numpy_array(np.zeros(shape, np.float32))


# --- copies ---------------------------------------------------------------------------------------
def write_zarr(path: Path, data: Array, chunk: int, **coding: Any) -> Path:
    """Write a Zarr array of cubic chunks."""
    with zarr.config.set({"codec_pipeline.path": FUSED if HAS_FUSED else BATCHED}):
        target = zarr.create_array(
            path, shape=data.shape, dtype=data.dtype, **{"chunks": (chunk,) * 3, **coding}
        )
        target[...] = data
    return path


def write_caterva(path: Path, data: Array, chunk: int, block: int) -> Path:
    """Write with our codec."""
    codec = CatervaCodec(block_shape=(block,) * 3)
    return write_zarr(path, data, chunk, serializer=codec, compressors=None)


def write_for_floor(path: Path, data: Array, chunk: int, block: int) -> Path:
    """Write what `ReadsTwice` is asked to read."""
    codec = ReadsTwice(block_shape=(block,) * 3)
    return write_zarr(path, data, chunk, serializer=codec, compressors=None)


def write_blosc(path: Path, data: Array, chunk: int) -> Path:
    """Write with zarr's Blosc codec."""
    return write_zarr(path, data, chunk, compressors=_blosc(data))


def write_shards(path: Path, data: Array, shard: int, inner: int) -> Path:
    """Write shards of inner chunks, which zarr's Blosc codec compresses."""
    return write_zarr(path, data, inner, shards=(shard,) * 3, compressors=_blosc(data))


def write_b2nd(path: Path, data: Array, chunk: int, block: int) -> Path:
    """Write one contiguous frame, which python-blosc2 and we read."""
    chunks, blocks = (chunk,) * 3, (block,) * 3
    cat.asarray(data, chunks=chunks, blocks=blocks, contiguous=True, urlpath=str(path)).close()
    return path


def write_hdf5(path: Path, data: Array, chunk: int, block: int) -> Path:
    """Write our frames as HDF5's chunks; its own Blosc2 filter cannot be told a block shape."""
    chunks, blocks = (chunk,) * 3, (block,) * 3
    how = hdf5plugin.Blosc2(cname="lz4", clevel=5, filters=hdf5plugin.Blosc2.SHUFFLE)
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "data", data.shape, data.dtype, chunks=chunks, compression=how
        )
        for corner in product(*(range(0, n, chunk) for n in data.shape)):
            box = tuple(slice(c, c + chunk) for c in corner)
            frame = cat.asarray(
                data[box], chunks=chunks, blocks=blocks, contiguous=True
            ).to_cframe()
            dataset.id.write_direct_chunk(corner, frame)
    return path


def _blosc(data: Array) -> BloscCodec:
    return BloscCodec(typesize=data.itemsize, cname="lz4", clevel=5, shuffle="shuffle")


# --- readers --------------------------------------------------------------------------------------
def zarr_reader(path: Path, pipeline: str) -> Read:
    """Read with zarr-python and one of its codec pipelines."""
    read: Read = open_zarr(path, pipeline).__getitem__
    return read


def open_zarr(path: Path, pipeline: str) -> zarr.Array[Any]:
    """Open with zarr-python and one of its codec pipelines."""
    with zarr.config.set({"codec_pipeline.path": pipeline}):
        return zarr.open_array(path, mode="r")


def tensorstore_reader(path: Path) -> Read:
    """Open with tensorstore, which keeps no chunk between two reads."""
    array = open_tensorstore(path)
    return lambda key: array[key].read().result()


def open_tensorstore(path: Path, *, write: bool = False) -> Any:
    """Open a Zarr array as a `tensorstore.TensorStore`."""
    store = {"driver": "file", "path": f"{path}/"}
    return tensorstore.open({"driver": "zarr3", "kvstore": store}, read=True, write=write).result()


def hdf5_reader(file: h5py.File, *, slicing: bool) -> Read:
    """Read a dataset through HDF5's filters, or with b2h5py's own slicing."""
    dataset = file["data"]
    read: Read = (b2h5py.B2Dataset(dataset) if slicing else dataset).__getitem__
    return read


@contextlib.contextmanager
def readers(directory: Path, data: Array, size: Size) -> Iterator[dict[str, Read]]:
    """Write all copies, open them with everything that can read them, and close them at the end."""
    caterva = write_caterva(directory / "caterva.zarr", data, size.chunk, size.block)
    blosc = write_blosc(directory / "blosc.zarr", data, size.chunk)
    shards = write_shards(directory / "shards.zarr", data, size.chunk, size.block)
    own = write_zarr(directory / "own.zarr", data, size.chunk, chunks="auto")
    b2nd = write_b2nd(directory / "a.b2nd", data, size.chunk, size.block)
    hdf5 = write_hdf5(directory / "a.h5", data, size.chunk, size.block)
    floor = write_for_floor(directory / "floor.zarr", data, size.chunk, size.block)
    found: dict[str, Read] = {}
    for label, pipeline in (("default", BATCHED), ("fused", FUSED)):
        if pipeline != FUSED or HAS_FUSED:
            found[f"{OURS} in zarr, {label} pipeline"] = zarr_reader(caterva, pipeline)
            found[f"zarr Blosc, {label} pipeline"] = zarr_reader(blosc, pipeline)
            found[f"zarr sharding, {label} pipeline"] = zarr_reader(shards, pipeline)
            found[f"zarr's defaults, {label} pipeline"] = zarr_reader(own, pipeline)
            found[f"{FLOOR}, {label} pipeline"] = zarr_reader(floor, pipeline)
    found[f"{OURS} in zarr, our pipeline"] = zarr_reader(caterva, PIPELINE)
    found[f"{FLOOR}, our pipeline"] = zarr_reader(floor, PIPELINE)
    found["zarr sharding, zarrs pipeline"] = zarr_reader(shards, ZARRS)
    found[TENSORSTORE] = tensorstore_reader(shards)
    with cat.open(b2nd, mode="r") as ours, h5py.File(hdf5, "r") as file:
        found[f"{OURS} {ON_FILE}"] = ours.__getitem__
        found[f"{OURS} {OPENED}"] = cat.open(caterva).__getitem__
        found[BLOSC2] = blosc2.open(str(b2nd), mode="r").__getitem__
        found[MAPPED] = blosc2.open(str(b2nd), mode="r", mmap_mode="r").__getitem__
        found["h5py with hdf5plugin"] = hdf5_reader(file, slicing=False)
        found["h5py with b2h5py"] = hdf5_reader(file, slicing=True)
        yield found


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Timed]:
    """Time all selections, and everything, with all readers; files go to `directory`."""
    data = smooth((size.array,) * 3)
    wanted: dict[str, list[Any]] = {**selections(size.array), "everything": [(slice(None),) * 3]}
    with readers(directory, data, size) as found:
        for name, keys in wanted.items():
            for reader, read in found.items():
                for key in keys[:3] if not reader.startswith(FLOOR) else ():
                    equal(read(key), data[key], reader)
            actions = {reader: in_turns(read, keys) for reader, read in found.items()}
            yield _timed(name, measure(actions, budget))
        places = scattered(size.array, size.items)
        points = _point_readers(directory, found)
        for reader, read in points.items():
            equal(read(places[0]), data[places[0]], reader)
        actions = {reader: in_turns(read, places) for reader, read in points.items()}
        yield _timed(f"{size.items} items", measure(actions, budget))


def _point_readers(directory: Path, found: dict[str, Read]) -> dict[str, Read]:
    """Return what reads scattered items."""
    caterva = open_zarr(directory / "caterva.zarr", PIPELINE)
    shards = open_zarr(directory / "shards.zarr", FUSED if HAS_FUSED else BATCHED)
    others = (TENSORSTORE, f"{OURS} {ON_FILE}", f"{OURS} {OPENED}", BLOSC2, MAPPED)
    return {
        f"{OURS} in zarr, our pipeline": caterva.vindex.__getitem__,
        SHARDING: shards.vindex.__getitem__,
        **{name: found[name] for name in others},
    }


def _timed(selection: str, samples: Samples) -> Timed:
    """Compare our codec with sharding, tensorstore and the best; our arrays with their peers."""
    codec = fastest(samples, [name for name in samples if name.startswith(f"{OURS} in zarr")])
    others = [name for name in samples if not name.startswith((OURS, FLOOR))]
    floor = codec.replace(f"{OURS} in zarr", FLOOR)
    pairs = [
        (codec, SHARDING),
        (codec, TENSORSTORE),
        (codec, fastest(samples, others)),
        (floor, codec),
        (f"{OURS} {ON_FILE}", BLOSC2),
        (f"{OURS} {ON_FILE}", MAPPED),
        (f"{OURS} {OPENED}", TENSORSTORE),
        (f"{OURS} {OPENED}", BLOSC2),
        (f"{OURS} {OPENED}", f"{OURS} {ON_FILE}"),
    ]
    return Timed(
        selection,
        {name: Spread.of(values) for name, values in samples.items()},
        [
            (one, other, ratios(samples, one, other))
            for one, other in dict.fromkeys(pairs)
            if one in samples and other in samples
        ],
    )
