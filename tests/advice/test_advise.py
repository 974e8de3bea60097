"""Advice fits what is read, and its table is sorted by what the model predicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.advice.candidates import candidates
from caterva_cffi.geometry.grid import default_partition
from caterva_cffi.numcodecs import Caterva

SHAPE = (200, 300, 400)


def test_blocks_are_like_what_is_read():
    thin = cat.advise(SHAPE, "f4", "planes along 0")
    long = cat.advise(SHAPE, "f4", "lines along 0")
    assert thin.blocks[0] <= 2 < long.blocks[0]
    assert long.blocks[0] / math.prod(long.blocks[1:]) > 1
    both = cat.advise(SHAPE, "f4", ["planes along 0", cat.Access("lines along 0", 1000)])
    assert both.blocks[0] > thin.blocks[0]


@pytest.mark.parametrize(
    "store", ["memory", "local", "remote", cat.StoreCosts(latency=1, bandwidth=1e9)]
)
def test_the_table(store):
    advice = cat.advise(SHAPE, "i2", ["planes along 2", np.s_[:, 5, 5:20]], store=store)
    best, default, *others = advice.table
    assert (advice.chunks, advice.blocks) == (best.chunks, best.blocks)
    assert (default.chunks, default.blocks) == default_partition(SHAPE, 2)
    totals = [each.total for each in (best, *others)]
    assert totals == sorted(totals) and best.total <= default.total
    assert others and all(len(each.seconds) == 2 for each in advice.table)
    text = str(advice)
    assert text.startswith(f"chunks {advice.chunks}, blocks {advice.blocks}\n")
    assert "planes along 2" in text and "[:, 5, 5:20]" in text and "default" in text
    assert advice._repr_html_().count("<tr>") == len(advice.table) + 1


def test_chunks_that_are_given_stay():
    advice = cat.advise(SHAPE, "f4", "items", chunks=(100, 100, 100))
    assert {each.chunks for each in advice.table} == {(100, 100, 100)}


def test_a_sample_tells_the_ratio():
    sample = np.zeros((50, 60, 70), "f4")
    sample[::5] = np.random.default_rng(0).random((60, 70))
    advice = cat.advise(SHAPE, "f4", "items", sample=sample, codec=cat.Codec.ZSTD)
    assert all(each.ratio > 2.5 for each in advice.table)
    array = cat.asarray(np.ones((3, 3)))
    assert cat.advise(array.shape, array.dtype, "items", sample=array[...]).blocks == (3, 3)


def test_partitions_are_possible_and_differ():
    for shape in ((10**7,), (3, 5), (20, 1, 3000, 40), (2,) * 16, (0, 5), ()):
        grids = list(candidates(shape, 8, None, [shape]))
        assert len(set(grids)) == len(grids) > 0
        assert (grids[0].chunks, grids[0].blocks) == default_partition(shape, 8)
        assert all(grid.blocksize <= 512 * 1024 for grid in grids)


def test_errors():
    with pytest.raises(cat.ArgumentError, match="store is 'disk'"):
        cat.advise(SHAPE, "f4", "items", store="disk")
    with pytest.raises(TypeError):
        cat.advise(SHAPE, object, "items")


SAMPLE = np.cumsum(np.random.default_rng(0).integers(-1, 2, (64, 64, 64)), axis=0).astype("f4")
SLOW = cat.StoreCosts(latency=0, bandwidth=1000)
"""Only bytes count."""


def test_a_sample_chooses_a_codec():
    advice = cat.advise(SHAPE, "f4", "everything", sample=SAMPLE, store=SLOW)
    ratios = [each.ratio for each in advice.table]
    assert ratios[0] == max(ratios) > ratios[1]
    assert advice.configuration["cname"] == "zstd"
    assert advice.table[1].configuration == {"cname": "lz4", "clevel": 5, "shuffle": "shuffle"}
    assert all(each.error == 0 for each in advice.table)
    assert "zstd" in str(advice).splitlines()[0]
    array = cat.asarray(SAMPLE, **advice.compression)
    assert cat.Compression.of(array.schunk.ptr).codec_id == cat.Codec.ZSTD.value
    codec = Caterva(block_shape=advice.blocks, **advice.configuration)
    assert codec.cname == "zstd"


def test_a_bound_allows_lossy_codecs():
    noise = np.random.default_rng(0).random((64, 64, 64), "f4")
    advice = cat.advise(SHAPE, "f4", "everything", sample=noise, store=SLOW, max_error=0.1)
    assert advice.configuration == {"cname": "zfp_accuracy", "tolerance": 0.1}
    assert 0 < advice.table[0].error <= 0.1
    noise[0, 0, 0] = np.inf  # which zfp refuses
    exact = cat.advise(SHAPE, "f4", "everything", sample=noise, store=SLOW, max_error=0.1)
    assert all(each.error == 0 for each in exact.table)
    advice = cat.advise(SHAPE, "f4", "items", sample=noise, store=SLOW, max_relative_error=0.01)
    assert "trunc_prec" in str(advice) and advice.table[0].error > 0


def test_a_codec_that_is_given_stays():
    advice = cat.advise(SHAPE, "f4", "items", sample=SAMPLE, codec="zstd")
    assert advice.configuration is None and advice.compression is None


@pytest.mark.parametrize(
    "given",
    [
        {"max_error": 0.1},
        {"sample": SAMPLE, "max_error": 0.1, "codec": "zstd"},
        {"sample": SAMPLE, "max_error": 0.1, "max_relative_error": 0.1},
    ],
)
def test_bounds_without_a_sample_are_refused(given):
    with pytest.raises(cat.ArgumentError, match="with a sample and without a codec"):
        cat.advise(SHAPE, "f4", "items", **given)
