"""Configurations of both codecs, and how far from the items each may be."""

from __future__ import annotations

import itertools
import math

import numpy as np

TRUNC = {"name": "trunc_prec", "bits": 10}
LOSSLESS = {
    "delta": ({"filters": ["delta", "shuffle"]}, "i2"),
    "bytedelta": ({"cname": "zstd", "filters": ["shuffle", "bytedelta"]}, "f4"),
    "ndcell": ({"filters": [{"name": "ndcell", "cell_shape": 3}, "shuffle"]}, "u4"),
    "three filters": (
        {"filters": [{"name": "ndcell", "cell_shape": 2}, "bitshuffle", "bytedelta"]}, "i8",
    ),
    "ndlz": ({"cname": "ndlz"}, "u1"),
    "ndlz, large cells": ({"cname": "ndlz", "cell_shape": 8, "filters": ["delta"]}, "i1"),
    "dictionary": ({"cname": "zstd", "use_dict": True}, "f8"),
    "dictionary of LZ4": ({"use_dict": True, "filters": ["shuffle", "bytedelta"]}, "u2"),
}  # fmt: skip
LOSSY = {
    "trunc_prec": ({"cname": "zstd", "filters": [TRUNC, "shuffle", "bytedelta"]}, "f4"),
    "trunc_prec, dropped": ({"filters": [{"name": "trunc_prec", "bits": -40}, "shuffle"]}, "f8"),
    "trunc_prec, delta": ({"filters": ["delta", TRUNC]}, "f4"),
    "int_trunc": ({"filters": [{"name": "int_trunc", "bits": -3}, "bitshuffle"]}, "i4"),
    "int_trunc, kept": ({"filters": [{"name": "int_trunc", "bits": 5}], "use_dict": True}, "u1"),
    "ndmean": ({"filters": [{"name": "ndmean", "cell_shape": 2}, "shuffle"]}, "f4"),
    "zfp_accuracy": ({"cname": "zfp_accuracy", "tolerance": 0.01}, "f4"),
    "zfp_precision": ({"cname": "zfp_precision", "precision": 12}, "f8"),
    "zfp_rate": ({"cname": "zfp_rate", "rate": 16}, "f4"),
}
CODINGS = LOSSLESS | LOSSY


def bound(codec, items, blocks):
    """Return the largest error of each item, as docs/zarr.md has it; infinite for a fixed rate."""
    if items.dtype.kind in "iu":
        bits = [spec.bits for spec in codec.filters or () if spec.name == "int_trunc"]
        kept = [each if each > 0 else 8 * items.itemsize + each for each in bits]
        return np.full(items.shape, max([2.0 ** (8 * items.itemsize - n) - 1 for n in kept] or [0]))
    info, size = np.finfo(items.dtype), np.abs(items.astype("f8"))
    largest, half_step = size.max(initial=0), 2.0 ** -(info.nmant + 1)
    flushed = 2.0**-95 if items.itemsize == 4 else 2.0**-959
    if codec.cname == "zfp_rate":
        return np.full(items.shape, np.inf)
    if codec.cname == "zfp_precision":
        return np.full(items.shape, largest * (2.0**-codec.precision + half_step) + flushed)
    if codec.cname == "zfp_accuracy":
        planes = 2.0 ** (2 * items.ndim + 3 - 8 * items.itemsize)
        limit = max(codec.tolerance, largest * planes) + largest * half_step + flushed
        return np.full(items.shape, limit)
    limit = np.zeros(items.shape)
    for spec in codec.filters or ():
        if spec.name == "trunc_prec":
            kept = spec.bits if spec.bits > 0 else info.nmant + spec.bits
            limit += 2.0**-kept * np.maximum(size, float(info.smallest_normal))
        elif spec.name == "ndmean":
            limit += _spread(items, blocks, spec.cell_shape) + 2 * half_step * largest * items.size
    return limit


def _spread(items, blocks, side):
    """Return the difference of the largest and the smallest item of each item's cell."""
    padded = np.pad(
        items.astype("f8"), [(0, -n % b) for n, b in zip(items.shape, blocks, strict=True)]
    )
    spread = np.empty(padded.shape)
    edges = [
        [slice(k + c, min(k + c + side, k + b)) for k in range(0, n, b) for c in range(0, b, side)]
        for n, b in zip(padded.shape, blocks, strict=True)
    ]
    for cell in itertools.product(*edges):
        spread[cell] = np.ptp(padded[cell])
    return spread[tuple(map(slice, items.shape))]


def error(items, found):
    """Return how far items are from what they should be."""
    if items.dtype.kind in "iu":  # wider than float64 has bits
        return np.abs(found.astype(object) - items.astype(object)).astype("f8")
    return np.abs(found.astype("f8") - items.astype("f8"))


def items_of(shape, dtype, seed, scale=1.0):
    """Return waves with noise, and some zeros."""
    random, dtype = np.random.default_rng(seed), np.dtype(dtype)
    n = math.prod(shape)
    if dtype.kind == "f":
        items = (np.sin(np.arange(n) / 9) + random.normal(size=n) / 50) * scale
    else:
        items = random.integers(0, 256, n * dtype.itemsize, dtype="u1").view(dtype)
        items[n // 2 :] >>= 2
    items[n // 3 : n // 2] = 0
    return items.astype(dtype).reshape(shape)
