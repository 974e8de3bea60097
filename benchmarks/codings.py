"""Codecs and filters on the smooth field, through Zarr: ratio, error, writing and reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks.data import Array, equal, in_turns, selections, smooth
from benchmarks.timing import Budget, Samples, Spread, measure
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Coded", "Size", "run"]

_TRUNC = {"name": "trunc_prec", "bits": 8}
CODINGS: list[dict[str, Any]] = [
    {"cname": "zstd"},
    {"cname": "zstd", "use_dict": True},
    {"cname": "zstd", "filters": ["delta", "shuffle"]},
    {"cname": "zstd", "filters": ["shuffle", "bytedelta"]},
    {"cname": "zstd", "filters": [_TRUNC, "shuffle", "bytedelta"]},
    {"cname": "zfp_accuracy", "tolerance": 0.01},
    {"cname": "zfp_accuracy", "tolerance": 0.1},
    {"cname": "zfp_precision", "precision": 10},
    {"cname": "zfp_rate", "rate": 8},
]
"""The first one is what the others are compared with."""


@dataclass(frozen=True)
class Size:
    """Sides of the array, which is one chunk, and of its blocks."""

    side: int = 256
    block: int = 32


QUICK, TINY = Size(128), Size(16, 8)


@dataclass(frozen=True)
class Coded:
    """What one configuration makes of the array.

    Attributes
    ----------
    coding : str
    ratio, unrounded : float
        Bytes of the items over those of the stored chunk; the same of the field before it is
        rounded.
    error : float
        The largest.
    seconds : dict of str to Spread
        By what is done.
    """

    coding: str
    ratio: float
    unrounded: float
    error: float
    seconds: dict[str, Spread]


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Coded]:
    """Write the field with each configuration to files, by Zarr's fused pipeline, and read it."""
    data = smooth((size.side,) * 3)
    keys = selections(size.side)
    wanted = {name: keys[name] for name in ("plane [k]", "plane [:, :, k]", "one item")}
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}):
        arrays = {}
        for number, coding in enumerate(CODINGS):
            codec = CatervaCodec(block_shape=(size.block,) * 3, **coding)
            arrays[codec.described()] = _create(directory / str(number), data, codec)
        times: dict[str, Samples] = {
            "write": measure(
                {name: lambda z=z: z.__setitem__(..., data) for name, z in arrays.items()}, budget
            )
        }
        errors = {name: float(np.abs(z[...] - data).max()) for name, z in arrays.items()}
        equal(errors[next(iter(errors))], 0.0, "zstd")
        for name, several in wanted.items():
            reads = {c: in_turns(z.__getitem__, several) for c, z in arrays.items()}
            times[name] = measure(reads, budget)
    ratios = {name: data.nbytes / z.nbytes_stored() for name, z in arrays.items()}
    data = smooth(data.shape, rounded=False)
    for name, z in arrays.items():
        z[...] = data
        shown = {what: Spread.of(samples[name]) for what, samples in times.items()}
        yield Coded(name, ratios[name], data.nbytes / z.nbytes_stored(), errors[name], shown)


def _create(path: Path, data: Array, codec: CatervaCodec) -> zarr.Array[Any]:
    return zarr.create_array(
        path, shape=data.shape, chunks=data.shape, dtype=data.dtype, serializer=codec,
        compressors=None,
    )  # fmt: skip
