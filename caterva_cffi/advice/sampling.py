"""A sample of data, compressed as it might be: how small, how fast to decode, how exact."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from caterva_cffi.arrays.constructors import asarray
from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.coding import Coding, compression_of
from caterva_cffi.geometry.grid import Grid

__all__ = ["Sampled", "keywords_of", "sampled"]

_ROUNDS = 3


class Sampled(NamedTuple):
    """What a sample tells.

    Attributes
    ----------
    ratio : float
        Bytes of its items by bytes that are stored.
    byte : float
        Seconds in which one thread decodes a byte.
    error : float
        How far the item that is farthest off is; NaN where items are no numbers.
    """

    ratio: float
    byte: float
    error: float


def keywords_of(coding: Coding, itemsize: int) -> dict[str, Any]:
    """Return a coding as keyword arguments of `asarray` and its like."""
    compression = compression_of(coding, itemsize)
    usual = Compression()
    values = {each.name: getattr(compression, each.name) for each in fields(Compression)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)}


def sampled(sample: npt.NDArray[Any], grid: Grid, compression: dict[str, Any]) -> Sampled:
    """Compress a sample with a partition, and decode it.

    Parameters
    ----------
    sample : ndarray
    grid : Grid
    compression : dict
        As `asarray` takes it.
    """
    chunks = tuple(map(min, sample.shape, grid.chunks))
    blocks = tuple(map(min, chunks, grid.blocks))
    array = asarray(sample, chunks=chunks, blocks=blocks, nthreads=1, **compression)
    out = np.empty(sample.shape, sample.dtype)
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        array.read(out=out)
        times.append(time.perf_counter() - start)
    ratio = max(sample.nbytes / max(array.cbytes, 1), 1e-3)
    return Sampled(ratio, min(times) / max(sample.nbytes, 1), _error(out, sample))


def _error(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float:
    if found.tobytes() == wanted.tobytes():
        return 0.0
    if wanted.dtype.kind not in "iuf":
        return float("nan")
    differ = (found != wanted) & ((found == found) | (wanted == wanted))  # NaN is NaN
    return float(np.abs(found[differ].astype("f8") - wanted[differ].astype("f8")).max(initial=0))
