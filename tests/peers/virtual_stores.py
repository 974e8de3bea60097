"""Virtual stores of what other libraries wrote: VirtualiZarr, icechunk and kerchunk read it by us.

`run.py peers virtual` runs these where those libraries are installed.
"""

from __future__ import annotations

import doctest
import importlib.util
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import blosc2
import fsspec
import h5py
import hdf5plugin
import icechunk
import kerchunk.hdf
import numcodecs
import numpy as np
import ocf_blosc2
import pytest
import servers
import virtualizarr
import xarray
import zarr
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import HTTPStore, LocalStore
from virtualizarr.parsers import HDFParser

import caterva_cffi as cat
from caterva_cffi.virtual import B2ndParser, HDF5Parser, open_hdf5, to_references
from caterva_cffi.virtual.numcodecs import Blosc2

TESTS = Path(servers.__file__).resolve().parents[1]
MAKE = TESTS / "golden/make_hdf5.py"
spec = importlib.util.spec_from_file_location("make_hdf5", MAKE)
make_hdf5 = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_hdf5)
items = make_hdf5.items

REGISTRY = ObjectStoreRegistry({"file://": LocalStore()})
REFUSED = ("refused-shuffle", "refused-cut")

# What Zarr says of dtypes that are not in its specification is not about us.
pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Files of the writers that are installed."""
    directory = tmp_path_factory.mktemp("written")
    for writer in ("hdf5plugin", "pytables", "h5netcdf"):
        command = [sys.executable, "-W", "ignore", MAKE, writer, directory]
        subprocess.run(command, check=True)
    return sorted(directory.iterdir())


def files(written):
    return [*sorted((TESTS / "golden/hdf5").iterdir()), *written]


def opened(parser, path, registry=REGISTRY):
    return zarr.open_group(parser(path.as_uri(), registry), mode="r")


def referenced(references):
    """Open references as kerchunk's users do, from JSON."""
    references = json.loads(json.dumps(references))
    fs = fsspec.filesystem("reference", fo=references, remote_protocol="file", asynchronous=True)
    return zarr.open_group(zarr.storage.FsspecStore(fs, read_only=True), mode="r")


def check(array, expected):
    assert array.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    for selection in (..., (slice(1, 9, 2),) * expected.ndim, (-1,) * expected.ndim):
        assert (array[selection] == expected[selection]).all()


# --- HDF5 ----------------------------------------------------------------------------------------


def test_hdf5_is_read_through_manifests_and_references(written):
    count = 0
    for path in files(written):
        drop = [*REFUSED, *(["grid-fletcher32"] if "pytables-3.8" in path.name else [])]
        store = HDF5Parser(drop_variables=drop)(path.as_uri(), REGISTRY)
        for group in (zarr.open_group(store, mode="r"), referenced(to_references(store))):
            with h5py.File(path) as file:
                for name in (name for name, each in file.items() if each.chunks):
                    if name not in drop:
                        check(group[name], items(name))
                        count += 1
    assert count == 2 * (41 + 16 + 6 + 1)


def test_filters_before_blosc2_are_refused(written):
    [path] = (path for path in written if path.name.startswith("hdf5plugin"))
    with pytest.raises(cat.UnsupportedError, match=r"'/refused-shuffle' has the filters shuffle"):
        HDF5Parser()(path.as_uri(), REGISTRY)


def test_a_chunk_that_was_cut_is_refused(written):
    [path] = (path for path in written if path.name.startswith("hdf5plugin"))
    array = opened(HDF5Parser(drop_variables=["refused-shuffle"]), path)["refused-cut"]
    with pytest.raises(cat.FormatError, match=r"refused-cut/c/.*expected \(4, 15, 5\)"):
        array[...]


@pytest.mark.parametrize(
    ("options", "prefix"), [({"group": "x/y"}, ""), ({}, "x/y/"), ({"drop_variables": "n"}, "x/y/")]
)
def test_groups_and_empty_datasets_are_parsed(tmp_path, options, prefix):
    path, data = tmp_path / "groups.h5", items("grid") > 50
    with h5py.File(path, "w") as file:
        inner, blosc = file.create_group("x/y"), hdf5plugin.Blosc2()
        inner.create_dataset("flags", data=data, chunks=(7, 15, 5), **blosc)
        inner.create_dataset("empty", (0, 4), "i2", chunks=(2, 4), maxshape=(None, 4), **blosc)
        inner["contiguous"], inner["scalar"] = data, 3.5
    group = opened(HDF5Parser(**options), path)
    check(group[f"{prefix}flags"], data)
    check(group[f"{prefix}contiguous"], data)
    assert group[f"{prefix}scalar"][()] == 3.5
    assert group[f"{prefix}empty"][...].shape == (0, 4)


@pytest.fixture
def days(tmp_path):
    """NetCDF4 files of two days, and what they hold."""
    paths, held = [], []
    for day in range(2):
        grid = np.arange(24 * 40 * 30, dtype="f4").reshape(24, 40, 30) + day
        data = xarray.Dataset({"t": (("hour", "y", "x"), grid, {"units": "K"})})
        paths.append(tmp_path / f"day{day}.nc")
        encoding = {"t": {"chunksizes": (24, 20, 30), **hdf5plugin.Blosc2()}}
        data.to_netcdf(paths[-1], engine="h5netcdf", encoding=encoding)
        held.append(grid)
    return paths, np.stack(held)


def test_days_become_one_array_in_icechunk(days, tmp_path):
    """Along a new dimension, so that chunks have one more dimension than frames."""
    paths, expected = days
    virtual = [
        virtualizarr.open_virtual_dataset(path.as_uri(), registry=REGISTRY, parser=HDF5Parser())
        for path in paths
    ]
    joined = xarray.concat(virtual, dim="day", coords="minimal", compat="override", join="override")
    place = f"file://{tmp_path}/"
    container = icechunk.VirtualChunkContainer(
        place, icechunk.local_filesystem_store(str(tmp_path))
    )
    config = icechunk.RepositoryConfig.default()
    config.set_virtual_chunk_container(container)
    access = {place: icechunk.credentials.LocalFileSystemAccess}
    repository = icechunk.Repository.create(
        icechunk.in_memory_storage(), config, authorize_virtual_chunk_access=access
    )
    session = repository.writable_session("main")
    joined.vz.to_icechunk(session.store)
    session.commit("days")
    store = repository.readonly_session("main").store
    check(zarr.open_group(store, mode="r")["t"], expected)
    found = xarray.open_zarr(store, consolidated=False)
    assert found["t"].dims == ("day", "hour", "y", "x") and found["t"].attrs["units"] == "K"
    assert (found["t"][1, 5, :, 7].values == expected[1, 5, :, 7]).all()


def test_plain_parsers_pass(days, written):
    """VirtualiZarr's own parser decodes whole chunks, earlier filters and byte orders, too."""
    path = days[0][0]
    check(opened(HDFParser(), path)["t"], days[1][0])
    [path] = (path for path in written if path.name.startswith("hdf5plugin"))
    group = opened(HDFParser(drop_variables=["refused-cut"]), path)
    for name in ("refused-shuffle", "grid-big", "row", "row-noise", "grid-fletcher32"):
        check(group[name], items(name))


@pytest.fixture
def _codec():
    """Let `blosc2` mean our codec: ocf-blosc2 has one of the same name, which reads no frames."""
    numcodecs.register_codec(Blosc2)


@pytest.mark.usefixtures("_codec")
def test_references_of_kerchunk_are_read(days):
    """kerchunk leaves the variable out, or the filter; a reference that names it is read."""
    path = days[0][0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        references = kerchunk.hdf.SingleHdf5ToZarr(str(path), inline_threshold=0).translate()
    assert "t/.zarray" not in references["refs"]
    with h5py.File(path) as file:
        infos = [file["t"].id.get_chunk_info(number) for number in range(2)]
    metadata = {
        "zarr_format": 2, "shape": [24, 40, 30], "chunks": [24, 20, 30], "dtype": "<f4",
        "compressor": {"id": "blosc2"}, "fill_value": None, "order": "C", "filters": None,
    }  # fmt: skip
    refs = {
        ".zgroup": '{"zarr_format":2}',
        "t/.zarray": json.dumps(metadata),
        **{f"t/0.{n}.0": [str(path), each.byte_offset, each.size] for n, each in enumerate(infos)},
    }
    check(referenced({"version": 1, "refs": refs})["t"], days[1][0])


def test_chunks_of_others_are_read_by_the_numcodecs_codec():
    data = np.arange(1000, dtype="i4")
    encoded = ocf_blosc2.Blosc2("zstd").encode(data.tobytes())
    assert Blosc2().decode(encoded).tobytes() == data.tobytes()


def test_code_of_the_page_runs(tmp_path):
    text = (TESTS.parent / "docs/howto/existing-files.md").read_text("utf-8")
    blocks = re.findall(r"^```py(?:thon)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    command = [sys.executable, "-c", "\n".join(blocks)]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert len(blocks) == 5


# --- .b2nd ---------------------------------------------------------------------------------------

GRID = np.cumsum(np.random.default_rng(2).integers(0, 3, (20, 30, 40)), axis=0)


def stored(path, dtype, **storage):
    """Write zeros, numbers over some of them, and NaN over others."""
    options = {"chunks": (8, 30, 20), "blocks": (4, 8, 10), "urlpath": str(path), **storage}
    array = blosc2.zeros(GRID.shape, dtype=dtype, **options)
    array[3:7] = GRID[3:7].astype(dtype)
    array[16:, :, :20] = GRID[16:, :, :20].astype(dtype)
    return array[...]


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "S5", [("a", "<i4"), ("b", "<f8")]])
@pytest.mark.parametrize("contiguous", [True, False])
def test_b2nd_is_read_through_manifests_and_references(tmp_path, dtype, contiguous):
    path = tmp_path / "array.b2nd"
    expected = stored(path, np.dtype(dtype), contiguous=contiguous)
    store = B2ndParser(dimension_names=["z", "y", "x"])(path.as_uri(), REGISTRY)
    for group in (zarr.open_group(store, mode="r"), referenced(to_references(store))):
        check(group["array"], expected)
        assert group["array"].metadata.dimension_names == ("z", "y", "x")
    assert len(store.to_virtual_dataset()["array"].data.manifest.dict()) == 3


@pytest.mark.parametrize("given", [{}, {"checksum": True}, {"contiguous": False}], ids=str)
def test_our_own_files_are_read(tmp_path, given):
    path = tmp_path / "ours.b2nd"
    options = {"chunks": (8, 30, 20), "blocks": (3, 8, 10), "contiguous": True, **given}
    cat.asarray(GRID, urlpath=path, **options)
    check(opened(B2ndParser(), path)["ours"], GRID)


def test_chunks_of_one_value_are_the_fill_value(tmp_path):
    path = tmp_path / "nan.b2nd"
    array = blosc2.nans((40, 10), "f8", chunks=(10, 10), blocks=(5, 5), urlpath=str(path))
    array[:10] = 3
    array[10:20] = np.zeros((10, 10))
    expected = array[...]
    for fill in (None, 0.0, 7.0):
        found = opened(B2ndParser(name="a", fill_value=fill), path)["a"]
        assert np.array_equal(found[...], expected, equal_nan=True)
        assert np.isnan(found.fill_value) if fill is None else found.fill_value == fill


def test_wrong_dimension_names_are_refused(tmp_path):
    path = tmp_path / "array.b2nd"
    stored(path, "f4")
    with pytest.raises(cat.ArgumentError, match="1 dimension names; the array has 3"):
        B2ndParser(dimension_names=["x"])(path.as_uri(), REGISTRY)


def test_a_virtual_dataset_is_made(tmp_path):
    path = tmp_path / "array.b2nd"
    expected = stored(path, "f4")
    parser = B2ndParser(name="t", dimension_names=["time", "y", "x"])
    store = parser(path.as_uri(), REGISTRY)
    assert store.to_virtual_dataset()["t"].dims == ("time", "y", "x")
    found = xarray.open_zarr(store, consolidated=False, mask_and_scale=False)
    assert (found["t"].sel(x=5).values == expected[:, :, 5]).all()


# --- over a network ------------------------------------------------------------------------------


def test_small_boxes_of_large_files_cost_little(tmp_path):
    """Files of 100 MB, in two chunks; half of the bytes of their items are noise."""
    noise = np.random.default_rng(0).integers(0, 2**16, (5100, 5100), "i4")
    shape, chunks = (2, *noise.shape), (1, *noise.shape)
    with h5py.File(tmp_path / "large.nc", "w") as file:
        dataset = file.create_dataset("a", shape, "i4", chunks=chunks, **hdf5plugin.Blosc2())
        dataset[0], dataset[1] = noise, noise ^ 1
    array = blosc2.zeros(
        shape, "i4", chunks=chunks, blocks=(1, 256, 256), urlpath=str(tmp_path / "large.b2nd")
    )
    array[0], array[1] = noise, noise ^ 1
    objects = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    box = np.s_[1, 2000:2010, 1000:1010]
    with servers.misbehaving(objects) as web:
        options = {"client_options": {"allow_http": True}}
        registry = ObjectStoreRegistry({web.url: HTTPStore.from_url(web.url, **options)})
        sources = [
            zarr.open_group(HDF5Parser()(f"{web.url}/large.nc", registry), mode="r")["a"],
            open_hdf5(f"{web.url}/large.nc", "a"),
            zarr.open_group(B2ndParser()(f"{web.url}/large.b2nd", registry), mode="r")["large"],
        ]
        for source in sources:
            with web.counted() as requests:
                found = source[box]
            assert (found == noise[2000:2010, 1000:1010] ^ 1).all()
            assert 0 < len(requests) <= 3
            assert 0 < sum(request.sent for request in requests) <= 150_000


@pytest.mark.parametrize("found", [B2ndParser, HDF5Parser, to_references])
def test_examples_of_the_reference(found, tmp_path, monkeypatch):
    """Those of the other names run in tests/project/test_reference.py."""
    monkeypatch.chdir(tmp_path)
    names = {"cat": cat, "data": np.arange(24, dtype="i4").reshape(4, 6)}
    test = doctest.DocTestParser().get_doctest(found.__doc__, names, found.__name__, None, 0)
    assert len(test.examples) > 5
    assert doctest.DocTestRunner().run(test).failed == 0
