"""Codecs and filters through Zarr: parts of chunks read and written, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from codings import CODINGS, LOSSY, TRUNC, bound, error, items_of
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import ShardingCodec
from zarr.codecs.numcodecs import BitRound
from zarr_arrays import (
    PIPELINES,
    create,
    each,
    integers,
    objects,
    orthogonal,
    points,
    slices,
)

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

each_coding = pytest.mark.parametrize(("coding", "dtype"), CODINGS.values(), ids=CODINGS)


@st.composite
def partitions(draw, ndim):
    chunks = tuple(draw(st.integers(5, 14)) for _ in range(ndim))
    blocks = tuple(draw(st.integers(4, n)) for n in chunks)
    shape = tuple(draw(st.integers(1, 3 * n)) for n in chunks)
    if ndim == 1:
        shape, chunks, blocks = (shape[0] + 90,), (chunks[0] + 40,), (blocks[0] + 32,)
    elif ndim == 2:
        blocks, chunks = (8, 8), tuple(n + 8 for n in chunks)
    return shape, chunks, blocks


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_parts_are_read_and_written(data):
    draw = data.draw
    coding, dtype = draw(st.sampled_from(list(CODINGS.values())))
    ndim = 2 if coding.get("cname") == "ndlz" else draw(st.integers(1, 3))
    shape, chunks, blocks = draw(partitions(ndim))
    codec = CatervaCodec(block_shape=blocks, checksum=draw(st.booleans()), **coding)
    items = items_of(shape, dtype, draw(st.integers(0, 9)))
    with zarr.config.set({"codec_pipeline.path": draw(st.sampled_from(list(PIPELINES.values())))}):
        z = create(items, chunks, codec)
        kept = z[...]
        assert within(codec, items, kept, blocks)
        selection = each(draw, shape, slices, integers)
        assert z[selection].tobytes() == kept[selection].tobytes()
        selection = each(draw, shape, slices, integers, points)
        assert z.oindex[selection].tobytes() == orthogonal(kept, selection).tobytes()

        selection = each(draw, shape, slices, integers)
        new = items_of(kept[selection].shape, dtype, 77)
        wanted = kept.copy()
        wanted[selection] = new
        z[selection] = new
        found = z[...]
    assert within(codec, wanted, found, blocks)
    same = untouched(shape, chunks, blocks, selection)
    assert found[same].tobytes() == kept[same].tobytes()


def within(codec, items, found, blocks):
    """Whether items are near enough. Cells of ndmean reach into padding: here only ranges count."""
    if any(spec.name == "ndmean" for spec in codec.filters or ()):
        low, high = min(items.min(initial=0), 0), max(items.max(initial=0), 0)
        return bool(((found >= low - 1e-5) & (found <= high + 1e-5)).all())
    return bool((error(items, found) <= bound(codec, items, blocks)).all())


def untouched(shape, chunks, blocks, selection):
    """Return a mask of the items in blocks that a selection does not touch."""
    touched = np.zeros(shape, bool)
    touched[selection] = True
    same = np.ones(shape, bool)
    for at in np.argwhere(touched):
        box = []
        for k, chunk, block in zip(at, chunks, blocks, strict=True):
            first = k // chunk * chunk + k % chunk // block * block
            box.append(slice(first, min(first + block, (k // chunk + 1) * chunk)))
        same[tuple(box)] = False
    return same


@each_coding
def test_a_part_costs_its_blocks(coding, dtype, monkeypatch):
    """Except behind DELTA, which every block needs the first one for."""
    items, store = items_of((64, 64), dtype, 1), {}
    z = create(items, (64, 64), CatervaCodec(block_shape=(16, 16), **coding), store)
    (before,) = map(cat.from_cframe, (value.to_bytes() for value in objects(store).values()))
    asked = []
    plan = Kernel.plan
    monkeypatch.setattr(
        Kernel, "plan", lambda self, *args: asked.append(plan(self, *args)) or asked[-1]
    )
    z[20, 20]
    ranges = [each for _, part in asked for each in part]
    delta = "delta" in coding.get("filters", ())
    assert sum(stop - start for start, stop in ranges) < before.cbytes / (1 if delta else 4)
    z[20, 20] = 1
    (after,) = map(cat.from_cframe, (value.to_bytes() for value in objects(store).values()))
    same = [before[box].tobytes() == after[box].tobytes() for box in blocks_of(64, 16)]
    assert sum(same) >= 15


def blocks_of(side, block):
    corners = range(0, side, block)
    return [np.s_[i : i + block, j : j + block] for i in corners for j in corners]


@each_coding
def test_metadata_has_what_was_given_and_reads_again(coding, dtype):
    store, codec = {}, CatervaCodec(**coding)
    items = items_of((40, 40), dtype, 2)
    z = create(items, (40, 40), codec, store)
    stored = json.loads(store["zarr.json"].to_bytes())["codecs"][0]["configuration"]
    assert {name: stored[name] for name in coding} == coding
    again = zarr.open_array(store, mode="r")
    assert again.metadata.codecs == (codec,)
    assert again[...].tobytes() == z[...].tobytes()
    copied = zarr.create_array(  # as xarray does with the encoding of what it opened
        {}, shape=(40, 20), chunks=(20, 20), dtype=dtype, serializer=again.serializer,
        compressors=again.compressors or None,
    )  # fmt: skip
    copied[...] = items[:, :20]
    assert within(codec, items[:, :20], copied[...], (20, 20))


@each_coding
def test_without_zarr(coding, dtype, tmp_path):
    z = create(items_of((40, 40), dtype, 6), (20, 20), CatervaCodec(**coding), tmp_path / "a")
    with cat.open(tmp_path / "a", mode="r") as array:
        assert array[5:30, ::3].tobytes() == z[5:30, ::3].tobytes()


@each_coding
def test_in_shards(coding, dtype):
    codec = CatervaCodec(block_shape=(8, 8), **coding)
    items = items_of((32, 32), dtype, 3)
    z = create(items, (32, 32), ShardingCodec(chunk_shape=(16, 16), codecs=[codec]))
    kept = z[...]
    z[3, 3] = items[3, 3]
    same = untouched((32, 32), (16, 16), (8, 8), (3, 3))
    assert z[...][same].tobytes() == kept[same].tobytes()
    assert z[10, 8:20].tobytes() == kept[10, 8:20].tobytes()


@each_coding
def test_in_format_2(coding, dtype):
    items = items_of((30, 30), dtype, 4)
    z = zarr.create_array(
        {}, shape=(30, 30), chunks=(16, 16), dtype=dtype, zarr_format=2,
        compressors=Caterva(block_shape=(8, 8), **coding),
    )  # fmt: skip
    z[...] = items
    assert within(z.compressors[0], items, z[...], (8, 8))
    assert z[9, 5:].tobytes() == z[...][9, 5:].tobytes()


ZFP = LOSSY["zfp_accuracy"][0]


@pytest.mark.parametrize(
    ("coding", "kwargs", "match"),
    [
        (ZFP, {"dtype": "i4"}, "cname 'zfp_accuracy' takes float32 and float64"),
        (ZFP, {"chunks": (1, 64)}, r"the chunk's shape is \(1, 64\), .* such as \(4, 64\)"),
        (ZFP, {"chunks": (7,), "shape": (70,)}, r"at least 32 bytes; chunks of \(7,\) have 28"),
        (ZFP, {"shape": (9,) * 5, "chunks": (9,) * 5}, "takes 1 to 4 dimensions; 5 are given"),
        (
            ZFP,
            {"fill_value": np.nan},
            "fill_value is nan, expected one such as 0 .* 'zfp_accuracy' takes finite items",
        ),
        ({"filters": [TRUNC]}, {"dtype": "c8"}, "filter 'trunc_prec' takes float32 and float64"),
        (LOSSY["int_trunc"][0], {}, "filter 'int_trunc' takes int8, .* 'trunc_prec'"),
        ({"cname": "ndlz"}, {"dtype": "u2"}, "cname 'ndlz' takes uint8, int8 and bool"),
    ],
    ids=str,
)
def test_arrays_are_refused_when_they_are_made(coding, kwargs, match):
    made = {"shape": (64, 64), "chunks": (32, 32), "dtype": "f4", "compressors": None, **kwargs}
    with pytest.raises(cat.ArgumentError, match=match):
        zarr.create_array({}, serializer=CatervaCodec(**coding), **made)


if hasattr(zarr.core.metadata.v3, "RectilinearChunkGridMetadata"):

    def test_chunks_of_several_shapes_are_refused_when_one_is_too_short():
        made = {"shape": (12, 12), "dtype": "f4", "serializer": CatervaCodec(**ZFP)}
        with zarr.config.set({"array.rectilinear_chunks": True}):
            with pytest.raises(cat.ArgumentError, match=r"shape is \(3, 6\)"):
                zarr.create_array({}, chunks=[[4, 5, 3], [6, 6]], compressors=None, **made)
            zarr.create_array({}, chunks=[[4, 4, 4], [6, 6]], compressors=None, **made)


def test_values_are_refused_when_they_are_written():
    z = create(np.ones((64, 64), "f4"), (32, 32), CatervaCodec(block_shape=(8, 8), **ZFP))
    for key in (np.s_[:], np.s_[3], np.s_[3, 3]):
        with pytest.raises(cat.ArgumentError, match="takes finite items"):
            z[key] = np.nan
    assert (abs(z[...] - 1) <= 0.01).all()


def test_big_endian_arrays_are_stored_little_endian():
    items = items_of((32, 32), "f4", 5)
    z = create(items.astype(">f4"), (32, 32), CatervaCodec(**ZFP))
    assert (error(items, z[...]) <= 0.01).all()


@pytest.mark.filterwarnings("ignore:Numcodecs codecs")
@pytest.mark.filterwarnings("ignore::caterva_cffi.zarr.PartialReadsOffWarning")
def test_items_of_another_dtype_are_not_truncated():
    """A codec in front may hand over other items than the metadata says: BitRound gives int32."""
    made = {"shape": 8, "dtype": "f4", "compressors": None, "filters": [BitRound(keepbits=3)]}
    z = zarr.create_array({}, serializer=CatervaCodec(filters=[TRUNC]), **made)
    with pytest.raises(cat.ArgumentError, match=r"got items of dtype int32 .* expected float32"):
        z[...] = np.arange(8)


@pytest.mark.parametrize("shuffle", ["noshuffle", "shuffle", "bitshuffle"])
def test_metadata_that_was_written_before(shuffle):
    configuration = {"cname": "zstd", "clevel": 3, "shuffle": shuffle, "checksum": True}
    codec = CatervaCodec.from_dict({"name": "caterva", "configuration": configuration})
    assert codec == CatervaCodec(**configuration)
    assert codec.to_dict()["configuration"] == configuration
