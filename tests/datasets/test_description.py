"""What `info` tells: facts of each format, and what slices cost."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import caterva_cffi as cat
from caterva_cffi.datasets.description import describe, describe_tree
from caterva_cffi.datasets.opening import open_tree
from caterva_cffi.zarr import CatervaCodec

ITEMS = np.random.default_rng(0).integers(0, 9, (40, 30), "i2")


def facts(source):
    tree = open_tree(source)
    found = describe(tree.arrays[""], tree.format)
    tree.close()
    assert json.loads(json.dumps(found)) == found
    return found


def test_slices_cost_blocks_or_chunks(tmp_path):
    codec = CatervaCodec(block_shape=(5, 4), checksum=True)
    options = {"shape": (40, 30), "chunks": (20, 10), "dtype": "i2", "dimension_names": ["y", "x"]}
    for name, given in (("ours", {"serializer": codec, "compressors": None}), ("plain", {})):
        zarr.create_array(tmp_path / name, **options, **given)[...] = ITEMS
    ours, plain = facts(tmp_path / "ours"), facts(tmp_path / "plain")
    assert (ours["chunks"], ours["blocks"], ours["checksums"]) == ([20, 10], [5, 4], True)
    assert (plain["blocks"], plain["checksums"]) == (None, False)
    assert "caterva(block_shape=[5, 4]" in ours["codecs"][0] and "zstd" in plain["codecs"][1]
    names = ["one item", "one index of y", "one index of x"]
    assert [each["slice"] for each in ours["slices"]] == names
    assert [each["chunks"] for each in ours["slices"]] == [1, 3, 2]
    # A chunk has 4 by 3 blocks of 40 bytes; a row of the array touches 3 in each of 3 chunks.
    assert [each["decoded"] for each in ours["slices"]] == [40, 9 * 40, 8 * 40]
    assert [each["decoded"] for each in plain["slices"]] == [400, 3 * 400, 2 * 400]
    assert [each["bytes"] for each in ours["slices"]] == [2, 60, 80]
    assert plain["ratio"] == round(ITEMS.nbytes / plain["stored bytes"], 3)


@pytest.mark.parametrize("form", ["b2nd", "npy", "scalar"])
def test_other_formats(form, tmp_path):
    path = tmp_path / "a"
    if form == "b2nd":
        options = {"contiguous": True, "meta": {"mine": b"x"}, "chunks": (20, 30)}
        cat.asarray(ITEMS, urlpath=path, codec="zstd", clevel=3, **options).vlmeta["more"] = b"y"
        found = facts(path)
        assert found["codecs"] == ["zstd 3, shuffle"] and found["ratio"] > 1
        assert found["metalayers"] == ["caterva", "b2nd", "mine"]
        assert found["variable metalayers"] == ["more"]
        return
    with open(path, "wb") as file:
        np.save(file, ITEMS if form == "npy" else np.float32(3))
    found = facts(path)
    assert (found["chunks"], found["codecs"], found["ratio"]) == (None, ["none"], 1.0)
    assert [each["decoded"] for each in found["slices"]] == ([2, 60, 80] if form == "npy" else [])


def test_groups(tmp_path):
    root = zarr.create_group(tmp_path / "a", attributes={"t": 1})
    root.create_array("g/x", shape=(4,), dtype="i4")[...] = 1
    tree = open_tree(tmp_path / "a")
    found = describe_tree(tree)
    assert (found["groups"], found["arrays"], found["bytes"]) == (2, ["g/x"], 16)
    assert found["attributes"] == ["t"] and found["stored bytes"] > 0
