"""Files of netCDF-4, converted: xarray reads the same from Zarr as from the file."""

from __future__ import annotations

import h5netcdf
import h5py
import hdf5plugin
import numpy as np
import pytest
import xarray

import caterva_cffi as cat

RANDOM = np.random.default_rng(0)


def dataset():
    field = RANDOM.normal(size=(10, 20, 30)).astype("f4")
    field[0, 0] = np.nan
    return xarray.Dataset(
        {
            "t": (("time", "lat", "lon"), field, {"units": "K", "flags": np.array([1, 2], "i2")}),
            "packed": (("lat", "lon"), RANDOM.integers(0, 100, (20, 30)) / 2, {"long_name": "pö"}),
            "name": (("lat",), np.array([f"s{n}" for n in range(20)], object)),
            "scalar": ((), 3.0),
            "flag": (("lat",), np.arange(20) % 2 == 0),
        },
        coords={
            "time": np.datetime64("2000-01-01", "ns") + np.arange(10) * np.timedelta64(1, "D"),
            "lat": np.linspace(-90, 90, 20),
            "lon": np.arange(30.0),
            "area": (("lat", "lon"), RANDOM.normal(size=(20, 30))),
        },
        attrs={"title": "x", "n": np.int32(3), "v": [1.5, 2.5]},
    )


def test_a_dataset_is_identical(tmp_path):
    encoding = {
        "t": {"zlib": True, "chunksizes": (5, 10, 10), "_FillValue": np.float32(1e20)},
        "packed": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -99},
    }
    path = tmp_path / "a.nc"
    dataset().to_netcdf(path, engine="h5netcdf", encoding=encoding, unlimited_dims=["time"])
    cat.convert(path, tmp_path / "a.zarr", verify=True)
    with (
        xarray.open_dataset(path, engine="h5netcdf") as before,
        xarray.open_zarr(tmp_path / "a.zarr", chunks=None) as after,
    ):
        xarray.testing.assert_identical(before.load(), after.load())
        assert after.t.encoding["chunks"] == (5, 10, 10)


@pytest.mark.parametrize("group", [None, "inner"])
def test_groups_bare_dimensions_and_coordinates_of_two_dimensions(group, tmp_path):
    with h5netcdf.File(tmp_path / "a.nc", "w") as file:
        file.dimensions = {"x": 4, "y": 3}
        file.create_variable("x", ("x", "y"), data=np.arange(12.0).reshape(4, 3))
        file.create_variable("z", ("y",), "i4", fillvalue=7)[:2] = 1
        inner = file.create_group("inner")
        inner.dimensions = {"w": 2}
        inner.create_variable("w", ("w",), data=[1, 2])
        inner.create_variable("q", ("w", "y"), data=np.arange(6.0).reshape(2, 3))
    cat.convert(tmp_path / "a.nc", tmp_path / "a.zarr", verify=True)
    with (
        xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf", group=group) as before,
        xarray.open_zarr(tmp_path / "a.zarr", chunks=None, group=group) as after,
    ):
        xarray.testing.assert_identical(before.load(), after.load())


def test_variables_that_are_shorter_than_their_dimension(tmp_path):
    """Of a dimension without a limit, netCDF stores no more than what was written."""
    path = tmp_path / "a.nc"
    with h5netcdf.File(path, "w") as file:
        file.dimensions = {"t": None, "x": 3}
        file.create_variable("t", ("t",), "f8", chunks=(4,), fillvalue=-1.0)
        options = {"chunks": (4, 2), "fillvalue": 7, **hdf5plugin.Blosc2()}
        for name in ("long", "short", "none"):
            file.create_variable(name, ("t", "x"), "i4", **options)
        file.resize_dimension("t", 6)
        file["t"][:] = np.arange(6)
        for name in ("long", "short"):
            file[name][:] = np.arange(18).reshape(6, 3)
    with h5py.File(path, "a") as file:
        for name, length in (("t", 5), ("short", 3), ("none", 0)):
            file[name].resize(length, 0)
    cat.convert(path, tmp_path / "a.zarr", chunks={"t": 5, "x": 3}, verify=True)
    with (
        xarray.open_dataset(path, engine="h5netcdf") as before,
        xarray.open_zarr(tmp_path / "a.zarr", chunks=None) as after,
    ):
        assert before.sizes == {"t": 6, "x": 3} and before.none.isnull().all()
        xarray.testing.assert_identical(before.load(), after.load())
