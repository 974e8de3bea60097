"""Converting an array: this package's `convert`, and what users do without it.

Each way runs once in a process of its own for each round, since processor time and peak memory are
those of a process.
"""

from __future__ import annotations

import multiprocessing
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import caterva_cffi as cat
from benchmarks import peak
from benchmarks.data import smooth
from benchmarks.timing import Budget
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Converted", "Size", "run"]

CODEC = {"serializer": CatervaCodec(cname="zstd"), "compressors": None}
NAME = "a"


@dataclass(frozen=True)
class Size:
    """The array, and the chunks that it has and gets."""

    shape: tuple[int, ...] = (500, 500, 500)
    source: tuple[int, ...] = (50, 100, 500)
    target: tuple[int, ...] = (100, 250, 250)
    memory: int = 256 << 20

    def scaled(self, by: int) -> Size:
        """Return a smaller size of the same proportions."""
        shape, source, target = (
            tuple(n // by for n in sides) for sides in (self.shape, self.source, self.target)
        )
        return Size(shape, source, target, self.memory // by**3)


QUICK, TINY = Size().scaled(2), Size().scaled(25)


@dataclass(frozen=True)
class Converted:
    """What a way took, median of the rounds.

    Attributes
    ----------
    work, way : str
    processor, seconds : float
        Processor time of all threads, and time that passed.
    memory : int or None
        Bytes by which the peak was above what the process took before.
    """

    work: str
    way: str
    processor: float
    seconds: float
    memory: int | None


# --- ways of encoding anew, with other chunks -----------------------------------------------------


def _target(size: Size, destination: str) -> Any:
    return zarr.create_array(
        destination, name=NAME, shape=size.shape, chunks=size.target, dtype="f4", **CODEC
    )


def by_convert(size: Size, source: str, destination: str) -> None:
    cat.convert(source, destination, chunks=size.target, cname="zstd", memory=size.memory)


def by_chunks(size: Size, source: str, destination: str) -> None:
    before, after = zarr.open_group(source, mode="r")[NAME], _target(size, destination)
    starts = (range(0, n, step) for n, step in zip(size.shape, size.target, strict=True))
    for start in product(*starts):
        box = tuple(slice(a, a + n) for a, n in zip(start, size.target, strict=True))
        after[box] = before[box]


def by_slabs(size: Size, source: str, destination: str) -> None:
    before, after = zarr.open_group(source, mode="r")[NAME], _target(size, destination)
    for start in range(0, size.shape[0], size.source[0]):
        rows = slice(start, start + size.source[0])
        after[rows] = before[rows]


def by_from_array(size: Size, source: str, destination: str) -> None:
    before = zarr.open_group(source, mode="r")[NAME]
    zarr.from_array(destination, data=before, name=NAME, chunks=size.target, shards=None, **CODEC)


def by_dask(size: Size, source: str, destination: str) -> None:
    import dask.array

    before = dask.array.from_array(zarr.open_group(source, mode="r")[NAME], chunks=size.source)
    before.rechunk(size.target).store(_target(size, destination), lock=False)


def by_xarray(size: Size, source: str, destination: str) -> None:
    import xarray

    chunks = dict(zip("xyz", size.target, strict=True))
    dataset = xarray.open_zarr(source, consolidated=False).chunk(chunks)
    for name in ("chunks", "preferred_chunks", "compressors", "serializer", "filters", "shards"):
        dataset[NAME].encoding.pop(name, None)
    encoding = {"chunks": size.target, "serializer": CODEC["serializer"], "compressors": []}
    dataset.to_zarr(destination, encoding={NAME: encoding}, zarr_format=3, consolidated=False)


ENCODE: dict[str, Callable[[Size, str, str], None]] = {
    "convert": by_convert,
    "a loop over chunks": by_chunks,
    "a loop over slabs": by_slabs,
    "zarr.from_array": by_from_array,
    "dask": by_dask,
    "xarray's to_zarr": by_xarray,
}


# --- chunks that are copied -----------------------------------------------------------------------


def copied(size: Size, source: str, destination: str) -> None:
    done = cat.convert(source, destination, memory=size.memory)
    assert done.encoded == 0


def encoded(size: Size, source: str, destination: str) -> None:
    # Another level, so that nothing can be copied.
    done = cat.convert(source, destination, memory=size.memory, cname="zstd", clevel=4)
    assert done.copied == 0


COPY = {"copied": copied, "encoded anew": encoded}


# --- measuring ------------------------------------------------------------------------------------


def _sources(directory: Path, size: Size) -> dict[str, str]:
    import h5py
    import hdf5plugin

    items = smooth(size.shape)
    group = zarr.create_group(directory / "plain.zarr")
    group.create_array(
        NAME, shape=size.shape, chunks=size.source, dtype="f4", dimension_names=["x", "y", "z"]
    )[...] = items
    options: dict[str, Any] = {"chunks": size.source, "codec": "zstd", "contiguous": True}
    cat.asarray(items, urlpath=directory / "a.b2nd", **options)
    with h5py.File(directory / "a.h5", "w") as file:
        codec = hdf5plugin.Blosc2(cname="zstd", clevel=5)
        file.create_dataset(NAME, data=items, chunks=size.source, **codec)
    np.save(directory / "a.npy", items)
    return {
        "plain": str(directory / "plain.zarr"),
        "b2nd": str(directory / "a.b2nd"),
        "HDF5": f"{directory / 'a.h5'}:{NAME}",
        "npy": str(directory / "a.npy"),
    }


def _once(
    way: Callable[..., None], small: tuple[Any, ...], *arguments: Any
) -> tuple[float, float, int | None]:
    """Return processor time, time and peak memory of a call, in this process.

    It has converted a small array before, so that all that it needs is imported.
    """
    way(*small)
    before = peak.begin()
    start, processor = time.perf_counter(), time.process_time()
    way(*arguments)
    took = time.process_time() - processor, time.perf_counter() - start
    return *took, None if before is None else peak.since(before)


def _apart(directory: Path, way: Callable[..., None], small: str, size: Size, source: str) -> Any:
    """Measure a call in a new process."""
    warm_up = (TINY, small, str(directory / "out-small"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(_once, way, warm_up, size, source, str(directory / "out")).result()
    for path in directory.glob("out*"):
        shutil.rmtree(path)
    return found


def _check(destination: Path, items: str, inside: str) -> None:
    found: Any = zarr.open(destination, mode="r")
    found = found[inside] if inside else found
    expected = np.load(items, mmap_mode="r")
    for start in range(0, len(expected), 50):
        part = slice(start, start + 50)
        if not np.array_equal(found[part], expected[part]):
            raise AssertionError(f"{destination} has other items than NumPy")


def run(directory: Path, budget: Budget, size: Size | None = None) -> Iterator[Converted]:
    """Convert with other chunks, then with chunks that can be copied."""
    size = size or Size()
    sources = _sources(directory, size)
    (directory / "small").mkdir()
    small = _sources(directory / "small", TINY)
    works: list[tuple[str, str, dict[str, Any], str]] = [
        ("Zarr to other chunks", "plain", ENCODE, NAME),
        (".b2nd to Zarr", "b2nd", COPY, ""),
        ("HDF5 with Blosc2 to Zarr", "HDF5", COPY, ""),
    ]
    for work, format, ways, inside in works:
        source = sources[format]
        for way in ways.values():  # all give the same items
            way(size, source, str(directory / "out"))
            _check(directory / "out", sources["npy"], inside)
            shutil.rmtree(directory / "out")
        rounds: dict[str, list[Any]] = {name: [] for name in ways}
        for _ in range(budget.least):
            for name, way in ways.items():
                rounds[name].append(_apart(directory, way, small[format], size, source))
        for name, found in rounds.items():
            processor, seconds, memory = zip(*found, strict=True)
            most = None if None in memory else max(memory)
            yield Converted(
                work, name, statistics.median(processor), statistics.median(seconds), most
            )
