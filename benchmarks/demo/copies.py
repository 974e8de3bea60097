"""Zarr copies of an array, each compressed in its own way: written, read, timed."""

from __future__ import annotations

import math
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from tqdm import tqdm
from zarr.codecs import BloscCodec
from zarr.errors import UnstableSpecificationWarning

from benchmarks.demo.axes import InputError
from benchmarks.demo.reads import Selection
from benchmarks.demo.sources import Source, one_line
from caterva_cffi.errors import CatervaError
from caterva_cffi.zarr import CatervaCodec

OURS, ZSTD, ADVISED = "Caterva", "Caterva zstd", "Caterva advised"
OWN, SHARDS, BLOSC = "Zarr's own", "sharding", "Blosc"
CHUNK_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Way:
    """How a copy is compressed.

    Parameters
    ----------
    name : str
    folder : str
    coding : mapping
        As `zarr.create_array` takes it.
    """

    name: str
    folder: str
    coding: Mapping[str, Any]


@dataclass
class Measured:
    """One copy: seconds of its writing and reading, bytes of its files."""

    write: float
    stored: int
    first: dict[str, float] = field(default_factory=dict)
    median: dict[str, float] = field(default_factory=dict)


def default_chunks(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Halve the longest side until a chunk has at most CHUNK_BYTES."""
    chunks = list(shape)
    while math.prod(chunks) * itemsize > CHUNK_BYTES and max(chunks) > 1:
        axis = chunks.index(max(chunks))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)


def boxes(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Cut an array into its chunks."""
    starts = [range(0, n, c) for n, c in zip(shape, chunks, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(start, min(start + c, n))
            for start, c, n in zip(corner, chunks, shape, strict=True)
        )


def ways(
    chunks: tuple[int, ...],
    codecs: Mapping[str, CatervaCodec],
    blosc: BloscCodec,
    blocks: tuple[int, ...],
) -> list[Way]:
    """Return all ways: ours, and the others. All but Zarr's own have the same chunks.

    Parameters
    ----------
    chunks : tuple of int
    codecs : mapping
        Ours, by the names of their ways.
    blosc : BloscCodec
        Of whole chunks, and of inner chunks.
    blocks : tuple of int
        Which inner chunks are as large as.
    """
    shards = tuple(-(-n // side) * side for n, side in zip(chunks, blocks, strict=True))
    ours = [
        Way(
            name,
            name.lower().replace(" ", "-"),
            {"chunks": chunks, "serializer": codec, "compressors": None},
        )
        for name, codec in codecs.items()
    ]
    return [
        *ours,
        Way(OWN, "own", {}),
        Way(SHARDS, "shards", {"chunks": blocks, "shards": shards, "compressors": blosc}),
        Way(BLOSC, "blosc", {"chunks": chunks, "compressors": blosc}),
    ]


def create(path: Path, source: Source, way: Way) -> zarr.Array[Any]:
    """Create one of the copies, empty.

    Raises
    ------
    InputError
        For an array that Zarr or the codec cannot store.
    """
    try:
        with warnings.catch_warnings():
            # Some dtypes are zarr's own, and other implementations may not read these copies.
            warnings.simplefilter("ignore", UnstableSpecificationWarning)
            return zarr.create_array(
                path, shape=source.shape, dtype=source.dtype, overwrite=True, **way.coding
            )
    except (ValueError, TypeError, CatervaError) as error:
        raise InputError(f"{way.name} refuses this: {one_line(error)}") from error


def write(array: zarr.Array[Any], source: Source, label: str) -> float:
    """Copy chunk by chunk; return the seconds that writing took, without reading the source."""
    seconds = 0.0
    total = source.dtype.itemsize * math.prod(source.shape)
    with tqdm(total=total, unit="B", unit_scale=True, desc=label, disable=None) as bar:
        for box in boxes(array.shape, array.shards or array.chunks):
            data = source.read(box)
            start = time.perf_counter()
            array[box] = data
            seconds += time.perf_counter() - start
            bar.update(data.nbytes)
    return seconds


def stored_bytes(path: Path) -> int:
    """Count the bytes of all files in a directory."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def forget_pages(path: Path) -> None:
    """Drop the files from the page cache where the system lets us (Linux), for a cold read."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(action: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that an action took, and its result."""
    start = time.perf_counter()
    result = action(*arguments)
    return time.perf_counter() - start, result


def open_and_read(path: Path, selection: Selection) -> Any:
    """Read from a copy as a new process would."""
    return zarr.open_array(path, mode="r")[selection]


def check_equal(found: Any, expected: Any, where: str) -> None:
    """Compare bytes, so that NaN equals NaN; end with a message where they differ."""
    # Zarr gives items in the machine's byte order, however they were stored.
    found, expected = (np.asarray(a) for a in (found, expected))
    found, expected = (a.astype(a.dtype.newbyteorder("=")) for a in (found, expected))
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        raise SystemExit(
            f"{where}: shape and dtype are {found.shape} {found.dtype}, "
            f"the source's {expected.shape} {expected.dtype}"
        )
    if found.tobytes() != expected.tobytes():
        raise SystemExit(f"{where}: the values differ from the source's")


def measure(
    paths: Mapping[str, Path], source: Source, results: Mapping[str, Measured], repeat: int
) -> None:
    """Time every read of all copies, in turns, and compare all of them with the source."""
    opened = {name: zarr.open_array(path, mode="r") for name, path in paths.items()}
    for read in tqdm(source.reads, desc="reading", disable=None):
        expected = source.read(read.selection)
        times: dict[str, list[float]] = {name: [] for name in paths}
        for name, path in paths.items():
            forget_pages(path)
            seconds, found = timed(open_and_read, path, read.selection)
            results[name].first[read.name] = seconds
            check_equal(found, expected, f"{name}, {read.name}")
        for _ in range(repeat):
            for name, array in opened.items():
                seconds, found = timed(array.__getitem__, read.selection)
                times[name].append(seconds)
                check_equal(found, expected, f"{name}, {read.name}")
        for name, taken in times.items():
            results[name].median[read.name] = statistics.median(taken)
    cut = list(boxes(source.shape, opened[BLOSC].chunks))
    for box in tqdm(cut, desc="comparing every value", disable=None):
        expected = source.read(box)
        for name, array in opened.items():
            check_equal(array[box], expected, f"{name}, {box}")
