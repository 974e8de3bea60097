"""Codings to try: lossless ones unless a bound is given, and then only those that keep it."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.advice.codings import codings
from caterva_cffi.advice.sampling import keywords_of
from caterva_cffi.codecs.coding import Coding

DTYPES = ["u1", "<i2", ">i4", "<u8", "<f4", "<f8", "c8", "?", "M8[s]", "S3"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_lost_without_a_bound(dtype):
    tried = list(codings(np.dtype(dtype), 3))
    assert tried[0] == Coding(shuffle="shuffle") and len(set(map(repr, tried))) == len(tried)
    assert {each.cname for each in tried} == {"lz4", "zstd"}
    assert not any(each.is_lossy for each in tried)


@pytest.mark.parametrize(
    ("dtype", "bounds", "lossy"),
    [
        ("<f4", {"max_error": 0.03}, {"zfp_accuracy, tolerance 0.01"}),
        ("<f4", {"max_relative_error": 0.01}, {"trunc_prec (bits 7)"}),
        ("<i2", {"max_error": 8}, {"int_trunc (bits -3)"}),
        ("<i2", {"max_error": 0.9}, set()),
        ("u1", {"max_error": 1e9}, {"int_trunc (bits -7)"}),
        ("<i2", {"max_relative_error": 0.01}, set()),
        ("S3", {"max_error": 1}, set()),
    ],
)
def test_bounds_are_kept(dtype, bounds, lossy):
    tried = [each for each in codings(np.dtype(dtype), 2, **bounds) if each.is_lossy]
    assert {name for each in tried for name in lossy if name in each.described()} == lossy
    assert bool(tried) == bool(lossy)
    random = np.random.default_rng(0)
    items = random.integers(0, 120, (40, 40)).astype(dtype)
    if items.dtype.kind == "f":
        items *= random.standard_normal(items.shape).astype(dtype)
    for each in tried:
        found = cat.asarray(items, **keywords_of(each, items.itemsize))[...]
        error = np.abs(found.astype("f8") - items.astype("f8"))
        most = bounds.get("max_error") or bounds["max_relative_error"] * np.abs(items)
        assert error.max() > 0 and (error <= most).all()


def test_zfp_takes_few_dimensions_and_no_foreign_byte_order():
    for dtype, ndim in (("<f4", 5), (">f4", 3)):
        assert not any(each.is_lossy for each in codings(np.dtype(dtype), ndim, 0.1))


@pytest.mark.parametrize("bound", [0, -1, float("nan"), float("inf")])
def test_bounds_are_positive(bound):
    for name in ("max_error", "max_relative_error"):
        with pytest.raises(cat.ArgumentError, match=f"{name} is .* a positive number"):
            list(codings(np.dtype("f4"), 3, **{name: bound}))
