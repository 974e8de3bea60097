"""Zarr's metadata for what is converted: format 2, and what xarray reads in it."""

from __future__ import annotations

import json

import h5py
import numcodecs
import numpy as np
import pytest
import xarray
import zarr

import caterva_cffi as cat
from caterva_cffi.numcodecs import Caterva

ITEMS = np.random.default_rng(0).normal(size=(50, 40)).astype("f4")
FORMATS = [{}, {"format": "plain-zarr"}]
pytestmark = [
    pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning"),
    pytest.mark.filterwarnings("ignore:Consolidated metadata"),
]


def dataset():
    field = ITEMS.copy()
    field[:30] = np.nan
    return xarray.Dataset(
        {
            "t": (("y", "x"), field, {"units": "K"}),
            "zeros": (("y",), np.zeros(50, "i2")),  # must not be masked
            "text": (("x",), np.array([f"s{n}" for n in range(40)], object)),
            "scalar": ((), 3.0),
            "z": (("y",), np.arange(50) * (1 + 2j)),
        },
        coords={
            "y": np.datetime64("2000-01-01", "ns") + np.arange(50) * np.timedelta64(1, "D"),
            "x": np.arange(40.0),
        },
        attrs={"title": "x"},
    )


ENCODING = {"t": {"_FillValue": np.float32(-1)}, "z": {"_FillValue": 1j}}


@pytest.mark.parametrize("options", FORMATS, ids=str)
@pytest.mark.parametrize("source", ["HDF5", "Zarr 2", "Zarr 3"])
def test_xarray_reads_the_same_from_format_2_and_back(source, options, tmp_path):
    path = tmp_path / "a"
    if source == "HDF5":
        names = ["t", "zeros", "text", "scalar"]
        dataset()[names].to_netcdf(path, engine="h5netcdf", encoding={"t": ENCODING["t"]})
        before = xarray.open_dataset(path, engine="h5netcdf").load()
    else:
        dataset().to_zarr(path, zarr_format=int(source[-1]), encoding=ENCODING, consolidated=True)
        before = xarray.open_zarr(path, chunks=None).load()
    cat.convert(path, tmp_path / "b", zarr_format=2, verify=True, **options)
    cat.convert(tmp_path / "b", tmp_path / "c", verify=True)
    assert (tmp_path / "b/.zmetadata").exists() and not list(tmp_path.rglob("b/**/zarr.json"))
    for name in "bc":
        after = xarray.open_zarr(tmp_path / name, chunks=None).load()
        xarray.testing.assert_identical(before, after)


def test_chunks_are_copied_from_and_to_format_2(tmp_path):
    cat.convert(ITEMS, tmp_path / "a.b2nd", chunks=(20, 16), blocks=(5, 16), cname="zstd")
    for source, out in (("a.b2nd", "b"), ("b", "c"), ("c", "d.b2nd"), ("c", "e")):
        form = None if out.endswith(".b2nd") else 3 if out == "e" else 2
        done = cat.convert(tmp_path / source, tmp_path / out, zarr_format=form, verify=True)
        assert (done.copied, done.encoded) == (9, 0)
    compressor = zarr.open_array(tmp_path / "c").metadata.compressor
    assert isinstance(compressor, Caterva)
    assert (compressor.block_shape, compressor.cname) == ((5, 16), "zstd")


@pytest.mark.parametrize(
    ("dtype", "order", "filters"), [(">f4", "C", None), ("<f4", "F", None), ("<f4", "C", "delta")]
)
def test_chunks_of_format_2_that_are_unlike_frames_of_format_3(dtype, order, filters, tmp_path):
    options = {"compressors": Caterva(), "filters": None, "zarr_format": 2}
    if filters:
        options["filters"] = [numcodecs.Delta("<f4")]
    z = zarr.create_array(
        tmp_path / "a", shape=(50, 40), chunks=(20, 16), dtype=dtype, order=order, **options
    )
    z[...] = ITEMS.round()
    assert cat.convert(tmp_path / "a", tmp_path / "b", verify=True).copied == 0


@pytest.mark.parametrize("options", FORMATS, ids=str)
def test_each_chunk_is_stored_where_there_is_no_fill_value(options, tmp_path):
    """Other readers of format 2 give anything for a chunk that is not there."""
    z = zarr.create_array(tmp_path / "a", shape=(8,), chunks=(4,), dtype="f4", dimension_names="x")
    z[4:] = -0.0
    cat.convert(tmp_path / "a", tmp_path / "b", zarr_format=2, verify=True, **options)
    assert json.loads((tmp_path / "b/.zarray").read_text())["fill_value"] is None
    assert (tmp_path / "b/0").exists() and (tmp_path / "b/1").exists()
    assert np.signbit(zarr.open_array(tmp_path / "b")[...]).tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("options", [*FORMATS, {"format": "plain-zarr", "shards": (8,)}], ids=str)
def test_not_any_nan_is_the_fill_value(options, tmp_path):
    items = np.full(8, np.nan, "f4")
    items.view("u4")[5:] |= 1
    zarr.create_array(tmp_path / "a", data=items, chunks=(4,), fill_value=np.nan)
    np.save(tmp_path / "a.npy", items)
    cat.convert(tmp_path / "a.npy", tmp_path / "b", chunks=(4,), verify=True, **options)
    assert zarr.open_array(tmp_path / "b")[...].tobytes() == items.tobytes()


@pytest.mark.parametrize("dtype", ["f4", str])
def test_a_fill_value_that_xarray_did_not_write_stays_an_attribute(dtype, tmp_path):
    attributes = {"_FillValue": [1, 2], "u": 1}
    options = {"dimension_names": ["y", "x"], "attributes": attributes}
    zarr.create_array(tmp_path / "a", shape=(2, 3), dtype=dtype, **options)
    cat.convert(tmp_path / "a", tmp_path / "b", zarr_format=2)
    found = dict(zarr.open_array(tmp_path / "b").attrs)
    assert found == {**attributes, "_ARRAY_DIMENSIONS": ["y", "x"]}


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["a\\b", "g/zarr.json", ".zattrs", "caterva-conversion.json"])
def test_names_that_zarr_takes_for_others_are_refused(name, zarr_format, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(name, data=ITEMS)
        file.create_dataset("g/ ü:x", data=ITEMS)
    with pytest.raises(cat.UnsupportedError, match=r"Zarr cannot have such a name.*\(exclude\)$"):
        cat.convert(tmp_path / "a.h5", tmp_path / "b", zarr_format=zarr_format)
    assert not (tmp_path / "b").exists()
    cat.convert(tmp_path / "a.h5", tmp_path / "b", zarr_format=zarr_format, exclude=[name])
    assert (zarr.open_group(tmp_path / "b")["g/ ü:x"][...] == ITEMS).all()
