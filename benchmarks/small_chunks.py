"""What chunks of a few items cost through Zarr: writing them, and the bytes that each takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from benchmarks.data import equal
from benchmarks.timing import Budget, Spread, measure, ratios
from caterva_cffi.zarr import CatervaCodec

__all__ = ["QUICK", "TINY", "Small", "run"]

NCHUNKS = 64
CODECS: dict[str, dict[str, Any]] = {
    "caterva": {"serializer": CatervaCodec(), "compressors": None},
    "zarr's default": {},
    "zarr, no compression": {"compressors": None},
}


@dataclass(frozen=True)
class Size:
    """How many items of one byte a chunk has."""

    nitems: tuple[int, ...] = (1, 100, 1000)


QUICK, TINY = Size((1, 1000)), Size((1,))


@dataclass(frozen=True)
class Small:
    """What writing one chunk of `case` takes.

    Attributes
    ----------
    case : str
    seconds : dict of str to Spread
        By codec.
    nbytes : dict of str to int
    against_default : Spread
        Our time over that of zarr's default codecs.
    """

    case: str
    seconds: dict[str, Spread]
    nbytes: dict[str, int]
    against_default: Spread


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Small]:
    """Write arrays of 64 chunks to memory, by Zarr's fused pipeline."""
    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}):
        for nitems in size.nitems:
            for shards in (None, (NCHUNKS * nitems,)):
                yield _measure(nitems, shards, budget)


def _measure(nitems: int, shards: tuple[int, ...] | None, budget: Budget) -> Small:
    items = np.random.default_rng(0).integers(1, 30, NCHUNKS * nitems).astype("u1")
    actions, nbytes = {}, {}
    for name, codecs in CODECS.items():
        store: dict[str, Any] = {}
        z = zarr.create_array(
            store, shape=items.shape, chunks=(nitems,), shards=shards, dtype="u1", **codecs
        )
        actions[name] = lambda z=z: z.__setitem__(slice(None), items)
        actions[name]()
        equal(z[:], items, name)
        stored = sum(len(value) for key, value in store.items() if not key.endswith("json"))
        nbytes[name] = stored // NCHUNKS
    samples = measure(actions, budget)
    per_chunk = {n: Spread.of(value / NCHUNKS for value in s) for n, s in samples.items()}
    inside = "in a shard" if shards else "an object each"
    against = ratios(samples, "caterva", "zarr's default")
    return Small(f"{nitems} B, {inside}", per_chunk, nbytes, against)
