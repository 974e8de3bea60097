"""Arrays whose codec is `imagecodecs_b2nd`: written by imagecodecs, read in part by ours."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import zarr
from checkout import TESTS
from zarr.registry import register_codec

import caterva_cffi as cat
from caterva_cffi.virtual.imagecodecs import ImagecodecsB2nd

GOLDEN = TESTS / "golden/imagecodecs"
ITEMS = np.arange(60 * 70, dtype="f4").reshape(60, 70)

register_codec("imagecodecs_b2nd", ImagecodecsB2nd)  # for installations from before it had a name
each_array = pytest.mark.parametrize("name", ["zstd.zarr", "default.zarr"])


@pytest.fixture(autouse=True)
def ours():
    name = f"{ImagecodecsB2nd.__module__}.{ImagecodecsB2nd.__qualname__}"
    with zarr.config.set({"codecs.imagecodecs_b2nd": name}):
        yield


@each_array
@pytest.mark.parametrize("opened", [cat.open, zarr.open_array])
def test_it_is_read(name, opened):
    array = opened(str(GOLDEN / name), mode="r")
    assert (array[...] == ITEMS).all()
    assert (array[7:50:3, 11] == ITEMS[7:50:3, 11]).all()


def test_a_part_takes_a_part_of_the_bytes():
    frame, asked = (GOLDEN / "zstd.zarr/c/0/0").read_bytes(), []

    class Ranges:
        size = len(frame)

        def read_ranges(self, ranges):
            asked.extend(stop - start for start, stop in ranges)
            return [frame[start:stop] for start, stop in ranges]

    before = cat.set_read_policy("remote", cat.ReadPolicy(first=256, gap=0, whole=1.0))
    try:
        assert (cat.open(Ranges())[0, :3] == ITEMS[0, :3]).all()
    finally:
        cat.set_read_policy("remote", before)
    assert 0 < sum(asked) < len(frame) / 2


def test_metadata_are_written_as_ours(tmp_path):
    shutil.copytree(GOLDEN / "zstd.zarr", tmp_path / "a.zarr")
    array = zarr.open_array(tmp_path / "a.zarr")
    array.update_attributes({"changed": True})
    array[0, 0] = -1
    (codec,) = json.loads((tmp_path / "a.zarr/zarr.json").read_text())["codecs"]
    assert codec["name"] == "caterva"
    assert codec["configuration"]["block_shape"] == [8, 10]
    assert zarr.open_array(tmp_path / "a.zarr")[0, :2].tolist() == [-1, 1]


@pytest.mark.parametrize(
    "configuration", [{"unknown": 1}, {"shuffle": "other"}, {"compressor": "snappy"}]
)
def test_what_is_unknown_is_refused(configuration):
    with pytest.raises(cat.ArgumentError):
        ImagecodecsB2nd.from_dict({"name": "imagecodecs_b2nd", "configuration": configuration})
    with pytest.raises(ValueError, match="expected 'imagecodecs_b2nd'"):
        ImagecodecsB2nd.from_dict({"name": "caterva"})


def test_a_delta_filter_is_kept():
    codec = ImagecodecsB2nd.from_dict(
        {"name": "imagecodecs_b2nd", "configuration": {"shuffle": "DELTA", "level": 20}}
    )
    assert codec.to_dict()["configuration"] == {"cname": "zstd", "clevel": 9, "filters": ["delta"]}
