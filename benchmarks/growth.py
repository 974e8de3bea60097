"""What the same selections cost in arrays of more and more chunks: time must not grow with them.

Chunks have 32³ items of float32 in blocks of 16³, LZ4. The frame is a file. Of the Zarr array, only
the chunks that are read are stored; `caterva_cffi.open` and Zarr with our pipeline read it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import caterva_cffi as cat
from benchmarks.data import equal, rough
from benchmarks.timing import Budget, Spread, measure, ratios
from benchmarks.zarr_slices import PIPELINE, Timed, zarr_reader
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Size", "run"]

_SIDE, _BLOCK = 32, 16


@dataclass(frozen=True)
class Size:
    """How many chunks the arrays have; of the frame that is only opened, and one item read."""

    nchunks: tuple[int, ...] = (1_000, 10_000, 100_000)
    opened: int = 1_000_000


QUICK = Size(opened=100_000)
TINY = Size((8, 64), 100)


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Timed]:
    """Time selections of arrays of several sizes."""
    data = rough((2 * _SIDE,) * 3)
    opened: dict[str, dict[str, Callable[[Any], Any]]] = {}
    for nchunks in size.nchunks:
        for how, read in _arrays(directory, data, nchunks).items():
            opened.setdefault(how, {})[f"{nchunks:,} chunks"] = read
    scattered = tuple(np.random.default_rng(0).integers(0, 2 * _SIDE, (3, 100)))
    selections = {
        "one item": (5, 40, 60),
        "cube 20³ in 8 chunks": (slice(22, 42),) * 3,
        "8 chunks": (slice(2 * _SIDE),) * 3,
        "100 scattered items": scattered,
    }
    for how, reads in opened.items():
        for what, key in selections.items():
            if what.startswith("100") and how == "zarr, our pipeline":
                continue  # Zarr's brackets take no index arrays
            for name, read in reads.items():
                equal(read(key), data[key], f"{how}, {name}")
            actions = {name: (lambda read=read, key=key: read(key)) for name, read in reads.items()}
            yield _timed(f"{what}, {how}", measure(actions, budget))
    paths = {f"{n:,} chunks": directory / f"{n}.b2nd" for n in size.nchunks}
    name = f"{size.opened:,} chunks"
    paths[name] = directory / "opened.b2nd"
    cat.zeros((size.opened,), dtype="f4", chunks=(1,), blocks=(1,), contiguous=True,
              urlpath=str(paths[name])).close()  # fmt: skip
    actions = {name: (lambda path=path: _open_and_read(path)) for name, path in paths.items()}
    yield _timed("open a frame and read an item", measure(actions, budget))


def _open_and_read(path: Path) -> None:
    with cat.open(path, mode="r") as array:
        array[(0,) * array.ndim]


def _arrays(directory: Path, data: Any, nchunks: int) -> dict[str, Callable[[Any], Any]]:
    """Return readers of arrays of so many chunks, of which the first 2 x 2 x 2 have items."""
    rows = -(-nchunks // 4)
    shape = (rows * _SIDE, 2 * _SIDE, 2 * _SIDE)
    how = {"chunks": (_SIDE,) * 3, "blocks": (_BLOCK,) * 3}
    frame = directory / f"{nchunks}.b2nd"
    with cat.zeros(shape, dtype=data.dtype, contiguous=True, urlpath=str(frame), **how) as array:
        array[: 2 * _SIDE] = data
    path = directory / f"{nchunks}.zarr"
    codec = CatervaCodec(block_shape=(_BLOCK,) * 3, cname="lz4")
    z = zarr.create_array(
        path, shape=shape, dtype=data.dtype, chunks=(_SIDE,) * 3, serializer=codec, compressors=None
    )
    z[: 2 * _SIDE] = data
    return {
        "frame": cat.open(frame, mode="r").__getitem__,
        "caterva_cffi.open of a Zarr array": cat.open(path).__getitem__,
        "zarr, our pipeline": zarr_reader(path, PIPELINE),
    }


def _timed(work: str, samples: dict[str, list[float]]) -> Timed:
    first, *others = samples
    return Timed(
        work,
        {name: Spread.of(values) for name, values in samples.items()},
        [(other, first, ratios(samples, other, first)) for other in others],
    )
