"""A sample is compressed as it is asked, and its worst error is told."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.advice.sampling import keywords_of, sampled
from caterva_cffi.codecs.coding import Coding, compression_of
from caterva_cffi.geometry.grid import Grid

GRID = Grid((40, 50, 60), (20, 50, 60), (10, 10, 20), 4)


@pytest.mark.parametrize(
    "coding",
    [
        Coding(),
        Coding(cname="zstd", clevel=9, filters=["shuffle", "bytedelta"]),
        Coding(filters=[{"name": "trunc_prec", "bits": 7}, "shuffle"]),
        Coding(cname="zfp_rate", rate=8),
    ],
)
def test_the_keywords_of_a_coding_are_those_of_asarray(coding):
    array = cat.asarray(np.ones((8, 8), "f4"), **keywords_of(coding, 4))
    wanted = compression_of(coding, 4)
    found = cat.Compression.of(array.schunk.ptr)
    for name in ("codec_id", "clevel", "filter_ids", "filter_metas", "codec_meta", "usedict"):
        assert getattr(found, name) == getattr(wanted, name)


def test_what_a_sample_tells():
    sample = np.zeros((30, 30, 30), "f4")
    assert sampled(sample, GRID, {}).ratio > 10
    sample[...] = np.random.default_rng(0).random(sample.shape)
    sample[0, 0, 0] = np.nan
    found = sampled(sample, GRID, {})
    assert found.error == 0 and found.byte > 0 and 0.9 < found.ratio < 2
    cut = {"filters": [cat.Filter.TRUNC_PREC, cat.Filter.SHUFFLE], "filtersmeta": [3, 0]}
    assert 2**-6 < sampled(sample, GRID, cut).error <= 2**-4


def test_other_items_than_numbers_have_no_distance():
    spoiling = {"filters": [cat.Filter.INT_TRUNC], "filtersmeta": [-2]}
    grid = Grid((64,), (64,), (64,), 8)
    assert np.isnan(sampled(np.arange(64).astype("M8[s]"), grid, spoiling).error)
