"""Chunks, shards and blocks: what is asked for, what the source has, what is advised."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import caterva_cffi as cat
from caterva_cffi.advice.accesses import Access
from caterva_cffi.zarr import CatervaCodec

ITEMS = np.random.default_rng(0).normal(size=(50, 40)).astype("f4")


def create(path, **options):
    z = zarr.create_array(
        path, shape=ITEMS.shape, chunks=(10, 8), dtype="f4", dimension_names=["y", "x"], **options
    )
    z[...] = ITEMS
    return path


@pytest.mark.parametrize(
    ("asked", "chunks", "shards"),
    [
        ({}, (10, 8), (20, 16)),
        ({"chunks": (5, 40)}, (5, 40), None),
        ({"shards": (30, 8)}, (10, 8), (30, 8)),
        ({"shards": -1}, (10, 8), (50, 40)),
        ({"chunks": (20, 16), "shards": {"y": -1}}, (20, 16), (60, 16)),
        ({"zarr_format": 2}, (20, 16), None),
    ],
)
def test_shards_of_plain_zarr(asked, chunks, shards, tmp_path):
    if asked.get("shards") == -1:
        asked = {"shards": (-1, -1)}
    create(tmp_path / "a", shards=(20, 16))
    done = cat.convert(tmp_path / "a", tmp_path / "b", format="plain-zarr", verify=True, **asked)
    z = zarr.open_array(tmp_path / "b", mode="r")
    assert (z.chunks, z.shards) == (chunks, shards) == (done.plans[0].chunks, done.plans[0].shards)
    np.testing.assert_array_equal(z[...], ITEMS)


def test_frames_in_shards_and_back(tmp_path):
    create(tmp_path / "a", serializer=CatervaCodec(block_shape=(5, 8)), compressors=None)
    done = cat.convert(tmp_path / "a", tmp_path / "b", shards=(20, 40), verify=True)
    assert (done.copied, done.encoded) == (0, 3)
    z = zarr.open_array(tmp_path / "b", mode="r")
    assert (z.chunks, z.shards) == ((10, 8), (20, 40))
    assert "chunks (10, 8) in shards (20, 40), blocks" in str(done.plans[0])
    cat.convert(tmp_path / "b", tmp_path / "c", verify=True)
    z = zarr.open_array(tmp_path / "c", mode="r")
    assert (z.chunks, z.shards) == ((20, 40), None)
    np.testing.assert_array_equal(z[...], ITEMS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": (15, 8)}, r"shards are \(15, 8\), chunks \(10, 8\); expected shards of whole"),
        ({"shards": (0, 8)}, "expected lengths of at least 1, or -1"),
        ({"shards": (20, 8), "zarr_format": 2}, "which Zarr has from format 3 on"),
        ({"shards": (20, 8), "format": "b2nd"}, "a frame, and shards given"),
        ({"zarr_format": 3, "format": "b2nd"}, "a frame, and zarr_format given"),
        (
            {"chunks": (10,)},
            r"chunks are \(10,\); expected some for 2 dimensions, named \('y', 'x'",
        ),
        ({"blocks": {"z": 3}}, "blocks are {'z': 3}; expected some for 2 dimensions"),
        ({"zarr_format": 1}, "zarr_format is 1; expected 2 or 3"),
        ({"advise": "items", "format": "plain-zarr"}, "Zarr's own codecs, and advise given"),
        ({"advise": "planes along 2"}, "access 'planes along 2' of an array of shape"),
    ],
)
def test_what_makes_no_sense(options, message, tmp_path):
    create(tmp_path / "a")
    with pytest.raises(cat.ArgumentError, match=message):
        cat.convert(tmp_path / "a", tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(("memory", "region"), [(1 << 20, (50, 40)), (12_000, (10, 40))])
def test_parts_of_shards_are_read_where_memory_is_small(memory, region, tmp_path):
    create(tmp_path / "a", shards=(50, 40), compressors=None)
    done = cat.convert(tmp_path / "a", tmp_path / "b", chunks=(10, 40), memory=memory, nthreads=1)
    assert (done.plans[0].cut.region, done.plans[0].cut.decoded) == (region, 1)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "b")[...], ITEMS)


def test_chunks_and_blocks_are_advised(tmp_path):
    root = zarr.create_group(tmp_path / "a")
    root.create_array("x", shape=(300, 200, 100), chunks=(10, 200, 100), dtype="f4")
    root.create_array("y", shape=(300,), chunks=(100,), dtype="f4")
    accesses = ["lines along 0", Access("planes along 2", 10)]
    done = cat.convert(tmp_path / "a", tmp_path / "b", advise=accesses, dry_run=True)
    plans = {plan.path: plan for plan in done.plans}
    advice = cat.advise((300, 200, 100), "f4", accesses)
    assert (plans["x"].chunks, plans["x"].blocks) == (advice.chunks, advice.blocks)
    assert plans["y"].chunks == (100,)  # it has no such planes
    given = cat.convert(
        tmp_path / "a", tmp_path / "b", path="x", advise=accesses, dry_run=True,
        chunks=(100, 100, 100),
    )  # fmt: skip
    advice = cat.advise((300, 200, 100), "f4", accesses, chunks=(100, 100, 100))
    assert given.plans[0].chunks == (100, 100, 100)
    assert given.plans[0].blocks == advice.blocks
