"""What users name is opened as what it is, or an error says what it is instead."""

from __future__ import annotations

import re
import sys

import fsspec
import h5py
import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, ZipStore

import caterva_cffi as cat
from caterva_cffi.datasets.opening import open_tree, split_path
from caterva_cffi.zarr import CatervaCodec

ITEMS = np.arange(60, dtype="i4").reshape(5, 12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.h5", ("a.h5", "")),
        ("a.h5:x/y", ("a.h5", "x/y")),
        ("a.h5:/x/y/", ("a.h5", "x/y")),
        ("C:\\a.h5", ("C:\\a.h5", "")),
        ("C:\\a.h5:x", ("C:\\a.h5", "x")),
        ("s3://bucket/a.zarr", ("s3://bucket/a.zarr", "")),
        ("s3://bucket/a.zarr:x/y", ("s3://bucket/a.zarr", "x/y")),
        ("http://host:8080/a.h5", ("http://host:8080/a.h5", "")),
        ("http://user:word@host/a.h5:x", ("http://user:word@host/a.h5", "x")),
        ("memory://a.h5:x", ("memory://a.h5", "x")),
        ("simplecache::s3://b/a.h5:x", ("simplecache::s3://b/a.h5", "x")),
    ],
)
def test_paths_inside(text, expected):
    assert split_path(text) == expected


def test_colons_in_names_of_files(tmp_path):
    names = [str(tmp_path / name) for name in ("a:b", "c", "c:d")]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    for name, inside in zip(names, ("x:y", "z", "w"), strict=True):
        assert split_path(name) == (name, "")
        assert split_path(f"{name}:{inside}") == (name, inside)


def make(tmp_path):
    np.save(tmp_path / "a.npy", ITEMS)
    cat.asarray(ITEMS, urlpath=tmp_path / "a.b2nd", contiguous=True)
    cat.asarray(ITEMS, urlpath=tmp_path / "sparse")
    zarr.create_array(tmp_path / "a.zarr", data=ITEMS)
    with ZipStore(tmp_path / "a.zip", mode="w") as store:
        zarr.create_array(store, data=ITEMS)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("a", data=ITEMS)
    for name in ("a.b2nd", "a.h5"):
        with fsspec.open(f"memory://{tmp_path.name}/{name}", "wb") as there:
            there.write((tmp_path / name).read_bytes())
    zarr.create_array(f"memory://{tmp_path.name}/a.zarr", data=ITEMS)


def test_each_format_is_known_by_its_bytes(tmp_path):
    make(tmp_path)
    url = f"memory://{tmp_path.name}"
    sources = {
        "NumPy": [tmp_path / "a.npy", ITEMS],
        "frame": [tmp_path / "a.b2nd", tmp_path / "sparse", f"{url}/a.b2nd", cat.asarray(ITEMS)],
        "HDF5": [f"{tmp_path}/a.h5:a", f"{url}/a.h5:a"],
        "Zarr": [
            tmp_path / "a.zarr", tmp_path / "a.zip", f"{url}/a.zarr",
            zarr.open_array(tmp_path / "a.zarr", mode="r"), LocalStore(tmp_path / "a.zarr"),
        ],
    }  # fmt: skip
    for format, places in sources.items():
        for place in places:
            tree = open_tree(place)
            assert (tree.format, tree.is_array) == (format, True)
            items = tree.arrays[""].read((slice(1, 3), slice(0, 12)))
            np.testing.assert_array_equal(items, ITEMS[1:3])
            tree.close()


def test_arrays_of_zarr_that_are_opened_without_it(tmp_path):
    codec = {"serializer": CatervaCodec(block_shape=(2, 6)), "compressors": None}
    zarr.create_array(tmp_path / "a", shape=(5, 12), chunks=(3, 6), dtype="i4", **codec)[...] = (
        ITEMS
    )
    with cat.open(tmp_path / "a", mode="r") as array:
        done = cat.convert(array, tmp_path / "b.zarr", verify=True)
    assert done.plans[0].chunks == (3, 6)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "b.zarr")[...], ITEMS)
    with pytest.raises(TypeError, match="the source is list; expected a path, a URL, an array, or"):
        open_tree([1, 2])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"1,2,3", "a' begins with b'1,2,3'; expected a frame, HDF5, NetCDF 4, Zarr or .npy"),
        (b"", "a' begins with b''; expected"),
        (b"CDF\x01" + bytes(99), "is a file of NetCDF 3; expected NetCDF 4, which `nccopy"),
        (b"PK\3\4" + bytes(99), "begins as a zip file"),
        (b"\x93NUMPY" + bytes(99), "a'"),
    ],
)
def test_what_is_no_array(content, error, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(cat.FormatError, match=re.escape(error)):
        open_tree(tmp_path / "a")


def test_what_is_not_there_or_has_nothing_inside(tmp_path):
    make(tmp_path)
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "b", tmp_path / "empty", f"memory://{tmp_path.name}/b"):
        with pytest.raises(FileNotFoundError):
            open_tree(place)
    for name in ("a.npy", "a.b2nd", "sparse"):
        with pytest.raises(cat.ArgumentError, match=r"is one array; there is nothing at 'x' in"):
            open_tree(f"{tmp_path / name}:x")


@pytest.mark.parametrize(
    ("package", "name", "message"),
    [
        ("zarr", "a.zarr", r"need zarr 3\.1\.6 or later: `pip install caterva-cffi\[zarr\]`"),
        ("h5py", "a.h5", r"HDF5 files need h5py: `pip install h5py`"),
    ],
)
def test_packages_that_are_not_installed(package, name, message, tmp_path, monkeypatch):
    make(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("zarr_trees", "hdf5_trees", "netcdf"):
        monkeypatch.delitem(sys.modules, f"caterva_cffi.datasets.{module}", raising=False)
        monkeypatch.delattr(f"caterva_cffi.datasets.{module}", raising=False)
    with pytest.raises(ImportError, match=message):
        open_tree(tmp_path / name)
