"""What other programs make of what ours writes: the table of docs/compatibility.md."""

from __future__ import annotations

import re
from pathlib import Path

import blosc2
import dask.array
import icechunk
import numpy as np
import pytest
import tensorstore
import xarray
import zarr
import zarrs  # noqa: F401  registers its pipeline
from checkout import ROOT

import caterva_cffi as cat
from caterva_cffi.zarr import CatervaCodec

ITEMS = np.arange(60 * 70, dtype="f4").reshape(60, 70)
CODECS = [
    CatervaCodec(block_shape=(8, 10)),
    CatervaCodec(block_shape=(8, 10), chunk_shape=(16, 40), cname="zstd", checksum=True),
    CatervaCodec(filters=["delta", "shuffle"]),
]
each_codec = pytest.mark.parametrize("codec", CODECS, ids=repr)


def write(store, codec, **more):
    settings = {"shape": ITEMS.shape, "chunks": (30, 40), "dtype": "f4", "compressors": None}
    array = zarr.create_array(store, serializer=codec, **settings, **more)
    array[...] = ITEMS


@each_codec
def test_zarr_and_dask(codec, tmp_path):
    write(tmp_path, codec)
    assert (zarr.open_array(tmp_path)[3:40, 50] == ITEMS[3:40, 50]).all()
    assert (dask.array.from_zarr(str(tmp_path))[3:40, 50].compute() == ITEMS[3:40, 50]).all()


@each_codec
def test_xarray(codec, tmp_path):
    encoding = {"a": {"serializer": codec.to_dict(), "compressors": None, "chunks": (30, 40)}}
    source = xarray.Dataset({"a": (("y", "x"), ITEMS)})
    source.to_zarr(tmp_path, encoding=encoding, consolidated=False)
    opened = xarray.open_zarr(tmp_path, consolidated=False)
    assert (opened.a[3:40, 50].values == ITEMS[3:40, 50]).all()
    assert zarr.open_array(tmp_path, path="a").metadata.codecs == (codec,)


@each_codec
def test_icechunk(codec):
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repository.writable_session("main")
    write(session.store, codec, name="a")
    session.commit("written")
    store = repository.readonly_session("main").store
    assert (zarr.open_array(store, path="a", mode="r")[3:40, 50] == ITEMS[3:40, 50]).all()


@each_codec
def test_python_blosc2(codec, tmp_path):
    write(tmp_path, codec)
    array = blosc2.ndarray_from_cframe((tmp_path / "c/0/0").read_bytes())
    assert (array[:] == ITEMS[:30, :40]).all()
    path = tmp_path / "theirs.b2nd"
    blosc2.asarray(ITEMS, urlpath=str(path), mode="w")
    assert (cat.open(path)[3:40, 50] == ITEMS[3:40, 50]).all()


@pytest.mark.filterwarnings("ignore")
def test_zarrs_leaves_it_to_zarr(tmp_path):
    write(tmp_path, CODECS[0])
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        assert (zarr.open_array(tmp_path)[...] == ITEMS).all()


def test_tensorstore_does_not_know_it(tmp_path: Path):
    write(tmp_path, CODECS[0])
    spec = {"driver": "zarr3", "kvstore": f"file://{tmp_path}/"}
    with pytest.raises(ValueError, match='"caterva" is not registered'):
        tensorstore.open(spec).result()


def test_rows_name_tests_that_exist():
    page = (ROOT / "docs/compatibility.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == 12  # one of them is the head
    for row in rows[1:]:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row[-1])
        assert named or "not tried" in row[-1] or "by hand" in row[-1]
        assert all((ROOT / name).is_file() for name in named)
