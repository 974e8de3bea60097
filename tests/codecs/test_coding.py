"""Configurations of codec and filters: what they keep, what is refused, and JSON."""

from __future__ import annotations

import json
import pickle
import re

import numcodecs
import numpy as np
import pytest
from codings import CODINGS, LOSSLESS, bound, error, items_of
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

each_coding = pytest.mark.parametrize(("coding", "dtype"), CODINGS.values(), ids=CODINGS)


def coded(name):
    return Caterva(**CODINGS[name][0])


@st.composite
def arrays(draw):
    """Draw one of the configurations, its block shape, and items of its dtype."""
    coding, dtype = draw(st.sampled_from(list(CODINGS.values())))
    ndim = 2 if coding.get("cname") == "ndlz" else draw(st.integers(1, 4))
    most = (90, 30, 12, 9)[ndim - 1]
    blocks = tuple(draw(st.integers(4, most)) for _ in range(ndim))
    if "cname" in coding and np.prod(blocks) * np.dtype(dtype).itemsize < 32:
        blocks = (32, *blocks[1:])
    shape = tuple(draw(st.integers(n, 2 * n)) for n in blocks)
    scale = 10.0 ** draw(st.integers(-40, 30))
    items = items_of(shape, dtype, draw(st.integers(0, 99)), scale)
    return Caterva(block_shape=blocks, checksum=draw(st.booleans()), **coding), items


@given(arrays())
@settings(deadline=None, max_examples=200)
def test_items_are_within_the_bound(drawn):
    codec, items = drawn
    found = codec.decode(codec.encode(items)).reshape(items.shape)
    assert (error(items, found) <= bound(codec, items, codec.block_shape)).all()
    if not codec.is_lossy:
        assert found.tobytes() == items.tobytes()


@each_coding
def test_lossy_is_what_loses(coding, dtype):
    codec = Caterva(**coding)
    items = items_of((40, 40), dtype, 0)
    found = codec.decode(codec.encode(items)).reshape(items.shape)
    assert codec.is_lossy == (found.tobytes() != items.tobytes())
    assert codec.is_lossy == ((coding, dtype) not in LOSSLESS.values())


@pytest.mark.parametrize("bits", [1, 5, 23])
def test_truncated_floats_keep_nan_and_infinities(bits):
    items = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-45], "f4")
    codec = Caterva(filters=[{"name": "trunc_prec", "bits": bits}])
    found = codec.decode(codec.encode(np.tile(items, 20)))[:6]
    assert np.array_equal(found[:5], items[:5], equal_nan=True)
    assert np.array_equal(np.signbit(found), np.signbit(items))


@each_coding
@pytest.mark.parametrize("kind", [Caterva, CatervaCodec])
def test_json(kind, coding, dtype):
    codec = kind(**coding)
    if kind is Caterva:
        config = json.loads(json.dumps(codec.get_config()))
        again = numcodecs.get_codec(dict(config))
        given = {k: v for k, v in config.items() if v is not None} | {}
        for name in ("id", "checksum"):
            del given[name]
    else:
        config = json.loads(json.dumps(codec.to_dict()))
        again = kind.from_dict(config)
        given = config["configuration"]
    assert again == codec == eval(repr(codec)) == pickle.loads(pickle.dumps(codec))
    assert hash(again) == hash(codec)
    # Nothing is written that the codec does not have.
    own = {"shuffle", "clevel"} if "filters" not in coding else {"clevel"}
    own = {"cell_shape"} | own - {"clevel"} if coding.get("cname") == "ndlz" else own
    own = set() if str(coding.get("cname")).startswith("zfp") else own
    assert given.keys() == coding.keys() | own | {"cname"}
    assert {name: given[name] for name in coding} == coding


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("trunc_prec", "zstd, level 5, trunc_prec (bits 10) then shuffle then bytedelta"),
        ("dictionary", "zstd, level 5, shuffle, a dictionary for each chunk"),
        ("ndlz", "ndlz, noshuffle, cell_shape 4"),
        ("zfp_accuracy", "zfp_accuracy, tolerance 0.01"),
    ],
)
def test_it_is_described_for_people(name, shown):
    assert coded(name).described() == shown


def test_a_shuffle_alone_is_no_list():
    assert Caterva(filters=["shuffle"]) == Caterva()
    assert Caterva(filters=[]) == Caterva(shuffle="noshuffle")
    assert Caterva(cname="zfp_rate", rate=8, filters=[], shuffle=None).filters is None


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"cname": "zfp_acc"}, "cname is 'zfp_acc'; expected one of .*Did you mean 'zfp_accuracy'"),
        ({"cname": "zfp_accuracy"}, "cname is 'zfp_accuracy'; expected tolerance with it"),
        ({"tolerance": 0.1}, "which cname 'lz4' does not take; expected cname 'zfp_accuracy'"),
        ({"cname": "zfp_accuracy", "tolerance": 0.05}, "0.05; expected a power of ten.* is 0.01"),
        ({"cname": "zfp_accuracy", "tolerance": 0}, "tolerance is 0; expected a power of ten"),
        ({"cname": "zfp_accuracy", "tolerance": float("nan")}, "tolerance is nan"),
        ({"cname": "zfp_accuracy", "tolerance": 1e-200}, "1e-200; .* is 1e-128"),
        ({"cname": "zfp_accuracy", "tolerance": 10**400}, r"is 1e\+127"),
        ({"cname": "zfp_precision", "precision": 60}, "60; expected an integer from 1 .* 59"),
        ({"cname": "zfp_precision", "precision": 8.0}, "precision is 8.0; expected an integer"),
        ({"cname": "zfp_rate", "rate": 65}, "rate is 65; expected bits"),
        ({"cname": "zfp_rate", "rate": "8"}, "rate is '8'"),
        ({"cname": "ndlz", "cell_shape": 5}, "cell_shape is 5; expected 4 or 8"),
        ({"cname": "ndlz", "clevel": 5}, "clevel is 5; cname 'ndlz' has no levels"),
        (
            {"cname": "zfp_rate", "rate": 8, "shuffle": "shuffle"},
            "shuffle is 'shuffle'; exp.* none",
        ),
        ({"cname": "zfp_rate", "rate": 8, "filters": ["delta"]}, "expected none with cname"),
        ({"cname": "zfp_rate", "rate": 8, "block_shape": (8, 3)}, r"\(8, 3\).* such as \(8, 4\)"),
        ({"cname": "zfp_rate", "rate": 8, "chunk_shape": (8,) * 5}, "1 to 4 dim.* nearest is 4"),
        ({"cname": "ndlz", "block_shape": (8, 8, 8)}, "takes 2 dimensions; 3 are given"),
        ({"shuffle": "shuffle", "filters": ["delta"]}, "shuffle is 'shuffle' and filters is"),
        ({"cname": "zlib", "use_dict": True}, "expected 'lz4' or 'lz4hc' or 'zstd'"),
        ({"use_dict": True, "clevel": 0}, "clevel is 0, .* expected 1 to 9 with use_dict"),
        ({"clevel": 0, "filters": [{"name": "int_trunc", "bits": 3}]}, "clevel is 0"),
        ({"use_dict": True, "filters": ["shuffle"] * 3}, "use_dict is True with 3 filters"),
        (
            {"use_dict": True, "filters": [{"name": "ndmean", "cell_shape": 4}]},
            "use_dict is True with filter 'ndmean'",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_cannot_be_is_refused_when_the_codec_is_made(config, match):
    for kind in (Caterva, CatervaCodec):
        with pytest.raises(cat.ArgumentError, match=match):
            kind(**config)


@pytest.mark.parametrize("name", ["use_dict", "checksum"])
def test_flags_are_booleans(name):
    with pytest.raises(TypeError, match=f"{name} is 1; expected True or False"):
        Caterva(**{name: 1})


ZFP, MEAN = coded("zfp_accuracy"), coded("ndmean")


@pytest.mark.parametrize(
    ("codec", "items", "match"),
    [
        (ZFP, np.ones((8, 8), "i4"), "takes float32 and float64; .* int32; .* 'int_trunc'"),
        (ZFP, np.ones((8, 8), ">f4"), "little-endian byte order; .* '>f4', expected '<f4'"),
        (ZFP, np.ones((8, 3), "f4"), r"chunk's shape is \(8, 3\), .* such as \(8, 4\)"),
        (ZFP, np.ones((8,) * 5, "f4"), "takes 1 to 4 dimensions; 5 are given, nearest is 4"),
        (ZFP, np.float32(1), "takes 1 to 4 dimensions; 0 are given"),
        (ZFP, np.ones(7, "f4"), r"at least 32 bytes; blocks of \(7,\) have 28"),
        (ZFP, np.array([1.0] * 31 + [np.nan]), "1 of 32 are not, the first is nan"),
        (ZFP, np.array([-np.inf] * 32), "32 of 32 are not"),
        (ZFP, np.full(32, 3e38, "f4"), "takes finite items, up to 8.5e.37; 32 of 32"),
        (MEAN, np.full((8, 8), np.nan), "filter 'ndmean' takes finite items"),
        (MEAN, np.ones((8, 8), "c8"), "takes float32 and float64; the array's dtype is complex64"),
        (MEAN, np.ones((8, 1), "f4"), "cells of 2 items along each axis"),
        (coded("trunc_prec"), np.ones(9, "f2"), "takes float32 and float64"),
        (coded("trunc_prec, dropped"), np.ones(9, "f4"), "bits -40; .* -22, .* nearest is -22"),
        (coded("int_trunc"), np.ones(9, "f4"), "the array's dtype is float32; .* 'trunc_prec'"),
        (coded("ndlz"), np.ones((8, 8), "u2"), "takes uint8, int8 and bool"),
        (coded("ndlz"), np.ones((8, 8, 8), "u1"), "takes 2 dimensions; 3 are given"),
        (coded("ndcell"), np.ones((8, 8), "V300"), "at most 255 bytes; the array's have 300"),
        (
            Caterva(cname="zfp_precision", precision=24),
            np.ones((8, 8, 8), "f4"),
            "expected 1 to 23 for float32 in 3 dimensions, nearest is 23",
        ),
        (Caterva(cname="zfp_rate", rate=40), np.ones(32, "f4"), "0.32 to 32 .* nearest is 32"),
    ],
    ids=str,
)
def test_arrays_that_do_not_fit_are_refused(codec, items, match):
    with pytest.raises(cat.ArgumentError, match=match):
        codec.encode(items)


def test_empty_arrays_fit():
    assert ZFP.decode(ZFP.encode(np.ones((0, 3), "f4"))).size == 0


@pytest.mark.parametrize(("itemsize", "meta"), [(4, 25), (8, 12)])
def test_rates_are_rounded_down_to_percents(itemsize, meta):
    codec = Caterva(cname="zfp_rate", rate=8)
    frame = cat.from_cframe(codec.encode(np.ones((64, 64), f"f{itemsize}")))
    assert frame.schunk.ptr.compcode_meta == meta


@pytest.mark.parametrize("shape", [(24, 721, 1440), (5, 4000, 4000), (6, 7)])
def test_default_blocks_are_whole_cells(shape):
    chunks, blocks = ZFP.partition(shape, 4)
    assert chunks == shape
    assert all(b % 4 == 0 or b == n for b, n in zip(blocks, shape, strict=True))
    assert all(b >= 4 for b in blocks)


def test_an_array_that_is_too_large_for_one_chunk_has_whole_cells():
    chunks, blocks = ZFP.partition((2000, 1000, 1000), 4)
    assert not any(n % 4 for n in (*chunks, *blocks))


def test_hints_for_other_names():
    with pytest.raises(TypeError, match=re.escape("Did you mean 'use_dict' by 'usedict'?")):
        Caterva(usedict=True)
