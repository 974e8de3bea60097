"""Datasets of HDF5 files that other libraries wrote, read without them; and what is refused."""

from __future__ import annotations

import importlib.util
import pickle

import h5py
import hdf5plugin
import numpy as np
import pytest
from checkout import TESTS
from zarr_stores import empty_cache, reading

import caterva_cffi as cat
from caterva_cffi.virtual import open_hdf5

FILES = TESTS / "golden/hdf5"
spec = importlib.util.spec_from_file_location("make_hdf5", TESTS / "golden/make_hdf5.py")
make_hdf5 = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_hdf5)
items = make_hdf5.items

REFUSED = {
    ("hdf5plugin-4.2.0.h5", "refused-shuffle"),
    ("hdf5plugin-7.1.0.h5", "refused-shuffle"),
    ("hdf5plugin-7.1.0.h5", "refused-cut"),
    ("pytables-3.8.0.h5", "grid-fletcher32"),  # the checksum is before Blosc2
}


def datasets():
    for path in sorted(FILES.iterdir()):
        with h5py.File(path) as file:
            for name, dataset in file.items():
                if dataset.chunks:
                    yield path.name, name


DATASETS = [each for each in datasets() if each not in REFUSED]


def selections(ndim):
    yield ...
    yield (slice(1, 9, 2),) * ndim
    yield (-1,) * ndim
    yield slice(None, None, -3)
    yield [1, 0, 1]


@pytest.mark.parametrize(("file", "name"), DATASETS, ids=str)
def test_what_others_wrote_is_read(file, name):
    expected = items(name)
    array = open_hdf5(FILES / file, name)
    assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
    for selection in selections(expected.ndim):
        assert array[selection].tobytes() == expected[selection].tobytes()


def test_the_files_are_of_every_writer():
    assert len(DATASETS) == 41
    assert {file.split("-")[0] for file, _ in DATASETS} == {"hdf5plugin", "pytables", "h5netcdf"}


@pytest.mark.parametrize(
    ("file", "name", "message"),
    [
        ("hdf5plugin-4.2.0.h5", "refused-shuffle", r"shuffle \(2\), blosc2 \(32026\); expected"),
        ("pytables-3.8.0.h5", "grid-fletcher32", r"fletcher32 \(3\), blosc2 \(32026\); expected"),
        ("h5netcdf-1.8.2.nc", "t", "the filters none"),
    ],
)
def test_other_filters_are_refused(file, name, message):
    with pytest.raises(cat.UnsupportedError, match=message):
        open_hdf5(FILES / file, name)


def test_a_chunk_that_was_cut_is_refused():
    array = open_hdf5(FILES / "hdf5plugin-7.1.0.h5", "refused-cut")
    assert (array[:4, :, :5] == items("refused-cut")[:4, :, :5]).all()
    with pytest.raises(cat.FormatError, match=r"a frame of shape \(4, 15, 2\) .*expected \(4, 15"):
        array[0, 0, 11]


def test_an_unknown_name_is_answered_with_known_ones():
    with pytest.raises(cat.ArgumentError, match="no dataset 'u'; Blosc2 compressed: 'grid'"):
        open_hdf5(FILES / "h5netcdf-1.8.2.nc", "u")


READS = [(*each, "default") for each in DATASETS]
READS += [(*each, "exact") for each in DATASETS if each[0] == "hdf5plugin-7.1.0.h5"]


@pytest.mark.parametrize(("file", "name", "policy"), READS, ids=str)
def test_reads_are_those_that_are_told(file, name, policy):
    array = open_hdf5(FILES / file, name)
    source, asked = array._items.source, []
    read = source._read

    def recorded(ranges, concurrency):
        asked.append([stop - start for start, stop in ranges])
        return read(ranges, concurrency)

    source._read = recorded
    policies = {
        "default": cat.get_read_policy("remote"),
        "exact": cat.ReadPolicy(first=64, gap=0, whole=1),
    }
    with reading(policies[policy], "remote"):
        empty_cache()
        for selection in (*selections(array.ndim), np.s_[:1], np.s_[-1]):  # ever more is known
            told = array.explain(selection)
            asked.clear()
            found = array[selection]
            requests = [size for sizes in asked for size in sizes]
            assert (told.rounds, told.requests, told.nbytes) == (
                len(asked), len(requests), sum(requests)
            )  # fmt: skip
            assert (told.selected, told.nitems) == (np.shape(found), np.size(found))
            assert told.ndecoded >= told.nblocks


def test_blocks_are_those_in_the_file(tmp_path):
    data = np.random.default_rng(0).integers(0, 2**31, (6, 20, 8), "i4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = {"chunks": (1, 20, 8), "dtype": "i4", "fillvalue": 1, **hdf5plugin.Blosc2()}
        dataset = file.create_dataset("a", (7, 20, 8), **options)
        for k, plane in enumerate(data):
            frame = cat.asarray(plane, chunks=(20, 8), blocks=(6, 4), contiguous=True)
            dataset.id.write_direct_chunk((k, 0, 0), frame.to_cframe())
    array = open_hdf5(tmp_path / "a.h5", "a")
    told = array.explain(np.s_[2:, 5:7, 3])
    assert (told.blocks, told.nchunks, told.nblocks) == ((1, 6, 4), 5, 4 * 2)
    assert (told.nitems, told.ndecoded) == (10, 4 * 2 * 24)
    assert "8 of (1, 6, 4) are decoded" in str(told) and "<svg" in told._repr_html_()
    row = open_hdf5(FILES / "pytables-3.8.0.h5", "grid").explain(np.s_[0, :, 2:4])
    assert len(row.blocks) == 1 and "<svg" not in row._repr_html_()
    told = array.explain(np.s_[6])  # nothing is stored
    assert (told.nblocks, told.requests, told.nbytes) == (0, 0, 0)


@pytest.fixture
def holes(tmp_path):
    """A file with a chunk that is stored and one that is not."""
    path = tmp_path / "holes.h5"
    with h5py.File(path, "w") as file:
        options = {"chunks": (4, 4), "fillvalue": 7, **hdf5plugin.Blosc2()}
        dataset = file.create_dataset("group/a", (4, 8), "i2", **options)
        dataset[:, 4:] = np.arange(16).reshape(4, 4)
    return path


def test_chunks_that_are_not_stored_hold_the_fill_value(holes):
    array = open_hdf5(holes, "group/a")
    assert array[1].tolist() == [7, 7, 7, 7, 4, 5, 6, 7]
    assert array.fill_value == 7


def test_it_says_what_it_is(holes):
    array = open_hdf5(str(holes), "group/a")
    assert (array.name, array.urlpath, array.read_only) == ("/group/a", str(holes), True)
    assert (array.chunks, array.nchunks) == ((4, 4), 2)
    assert 0 < array.cbytes < holes.stat().st_size
    assert "group/a" in repr(array) and "fill" in str(array.info).lower()
    assert array.oindex[[0, 3], [4]].tolist() == [[0], [12]]


def test_it_can_be_pickled_and_closed(holes):
    array = pickle.loads(pickle.dumps(open_hdf5(holes, "group/a")))
    with array:
        assert array[3, 7] == 15
    assert "closed" in repr(array)
    with pytest.raises(cat.ClosedError):
        array[0]


def test_a_file_that_changes_is_refused(holes):
    array = open_hdf5(holes, "group/a")
    with h5py.File(holes, "a") as file:
        file["more"] = np.zeros(100)
    with pytest.raises(cat.StorageError, match="has changed since it was opened"):
        array[0, 4]


def test_a_url_is_read_too(holes):
    array = open_hdf5(holes.as_uri(), "group/a")
    assert array[1, 4:].tolist() == [4, 5, 6, 7]
    assert pickle.loads(pickle.dumps(array))[1, 0] == 7


@pytest.mark.build
def test_a_small_box_of_a_large_file_costs_little(nginx, web_directory):
    """A NetCDF4 file of 100 MB, in two chunks; half of the bytes of their items are noise."""
    noise = np.random.default_rng(0).integers(0, 2**16, (5100, 5100), "i4")
    with h5py.File(web_directory / "large.nc", "w") as file:
        shape, chunks = (2, *noise.shape), (1, *noise.shape)
        dataset = file.create_dataset("a", shape, "i4", chunks=chunks, **hdf5plugin.Blosc2())
        dataset[0], dataset[1] = noise, noise ^ 1
    array = open_hdf5(f"{nginx.url}/{web_directory.name}/large.nc", "a")
    assert array.cbytes > 100e6
    with nginx.counted() as requests:
        found = array[1, 2000:2010, 1000:1010]
    assert (found == noise[2000:2010, 1000:1010] ^ 1).all()
    assert len(requests) <= 3
    assert 0 < sum(request.sent for request in requests) <= 150_000
