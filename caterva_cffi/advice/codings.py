"""Codecs and filters to try on a sample: lossless ones, and lossy ones within bounds. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from caterva_cffi.codecs.coding import Coding
from caterva_cffi.codecs.needs import FLOATS, INTEGERS
from caterva_cffi.errors import wrong_value

__all__ = ["codings"]

_ZFP_NDIMS = range(1, 5)


def codings(
    dtype: np.dtype[Any],
    ndim: int,
    max_error: float | None = None,
    max_relative_error: float | None = None,
) -> Iterator[Coding]:
    """Yield what may compress items: the default first.

    Parameters
    ----------
    dtype : dtype
    ndim : int
    max_error : float, optional
        How far an item may be off: then codecs come, too, that keep this bound.
    max_relative_error : float, optional
        The same, as a share of the item.

    Raises
    ------
    ArgumentError
        For bounds that are no positive numbers.
    """
    for name, bound in (("max_error", max_error), ("max_relative_error", max_relative_error)):
        if bound is not None and not 0 < bound < math.inf:
            raise wrong_value(name, bound, "a positive number")
    for cname in ("lz4", "zstd"):
        for shuffle in ("shuffle", "bitshuffle"):
            yield Coding(cname=cname, shuffle=shuffle)
    if dtype.itemsize > 1:
        yield Coding(cname="zstd", filters=["shuffle", "bytedelta"])
    if max_error is not None:
        yield from _within(dtype, ndim, max_error)
    if max_relative_error is not None and dtype.name in FLOATS:
        bits = math.ceil(-math.log2(max_relative_error))
        if 0 < bits < np.finfo(dtype).nmant:
            yield from _truncated({"name": "trunc_prec", "bits": bits})


def _within(dtype: np.dtype[Any], ndim: int, bound: float) -> Iterator[Coding]:
    if dtype.name in FLOATS and dtype.isnative and ndim in _ZFP_NDIMS:
        power = math.floor(math.log10(bound) + 1e-9)
        if -128 <= power <= 127:
            yield Coding(cname="zfp_accuracy", tolerance=float(f"1e{power}"))
    if dtype.name in INTEGERS and bound >= 1:
        dropped = min(math.floor(math.log2(bound + 1)), 8 * dtype.itemsize - 1)
        yield from _truncated({"name": "int_trunc", "bits": -dropped})


def _truncated(first: dict[str, Any]) -> Iterator[Coding]:
    yield Coding(cname="lz4", filters=[first, "shuffle"])
    yield Coding(cname="zstd", filters=[first, "shuffle"])
    yield Coding(cname="zstd", filters=[first, "shuffle", "bytedelta"])
