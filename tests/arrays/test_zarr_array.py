"""Arrays that Zarr wrote, opened without Zarr: items are Zarr's, and chunks are read together."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import dask.array
import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from zarr_arrays import hypothesis_settings, orthogonal, partitions, unstable
from zarr_directories import FORMATS, Counting, codecs, objects, settle, write

import caterva_cffi as cat
from caterva_cffi.arrays import object_items
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine import object_files
from caterva_cffi.storage import stored
from caterva_cffi.zarr import CatervaCodec

DATA = np.random.default_rng(0).integers(0, 99, (40, 36), "<i4")
DTYPES = ["?", "i1", "<u2", "f2", "<f4", "f8", "c8", "c16", "<M8[ms]", "<m8[s]", "S3", "<U2", "V5"]
STRUCTURE = np.dtype([("a", "<i2"), ("b", "<f4")])

pytestmark = [
    unstable,
    pytest.mark.filterwarnings("ignore::caterva_cffi.numcodecs.PartitionWarning"),
]


def equal(found, expected, dtype):
    """Compare items bit by bit, in a dtype: Zarr gives some in another byte order, scalars too."""
    assert isinstance(found, np.generic) or found.dtype == dtype
    found, expected = (np.asarray(each).astype(dtype, copy=False) for each in (found, expected))
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def random_items(shape, dtype, seed=0):
    count = math.prod(shape)
    raw = np.random.default_rng(seed).integers(0, 90, count * dtype.itemsize, "u1")
    if dtype.kind == "b":
        return (raw[:count] % 2 == 0).reshape(shape)
    if dtype.kind == "U":
        return (raw[:count] % 90).astype(dtype).reshape(shape)
    return np.frombuffer(raw.tobytes(), dtype).reshape(shape)


# --- items ----------------------------------------------------------------------------------------
@st.composite
def arrays(draw):
    """Draw an array, of which a part is written, and how it is stored."""
    zarr_format = draw(st.sampled_from(FORMATS))
    names = [*DTYPES, STRUCTURE, ">i4", ">f8", ">M8[s]"]
    dtype = np.dtype(draw(st.sampled_from(names)))
    shape, chunks, blocks = draw(partitions(min_side=0))
    inner = draw(st.sampled_from([None, tuple(map(max, blocks, (2,) * len(blocks)))]))
    options = {"block_shape": blocks, "chunk_shape": inner}
    fill = draw(st.booleans())
    if fill and dtype.names is None:
        options["fill_value"] = random_items((), dtype, 1)[()]
    separator = draw(st.sampled_from([".", "/"]))
    encoding = "v2" if zarr_format == 2 else draw(st.sampled_from(["default", "v2"]))
    options["chunk_key_encoding"] = {"name": encoding, "separator": separator}
    start = draw(st.integers(0, max(shape[0], 1)))
    return zarr_format, dtype, shape, chunks, options, start


@hypothesis_settings
@given(arrays(), st.data())
def test_items_are_those_of_zarr(tmp_path_factory, array, data):
    zarr_format, dtype, shape, chunks, options, start = array
    path = tmp_path_factory.mktemp("zarr")
    block_shape, chunk_shape = options.pop("block_shape"), options.pop("chunk_shape")
    z = zarr.create_array(
        path, shape=shape, dtype=dtype, chunks=chunks,
        **codecs(zarr_format, block_shape=block_shape, chunk_shape=chunk_shape), **options,
    )  # fmt: skip
    z[start:] = random_items(shape, dtype)[start:]
    z = zarr.open_array(path, mode="r")
    expected = np.asarray(z[...])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_RACY", data.draw(st.sampled_from([0, stored._RACY])))
        patch.setattr(object_files, "FILES", data.draw(st.sampled_from([1, 64])))
        patch.setattr(object_items, "_BLOCK_BYTES", data.draw(st.sampled_from([1, 1 << 20])))
        for a in (cat.open(path), cat.open(Counting(objects(path)))):
            assert (a.shape, a.dtype, a.chunks) == (z.shape, z.dtype, z.chunks)
            equal(a[...], expected, a.dtype)
            key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
            equal(a[key], expected[key], a.dtype)
            if math.prod(shape):
                key = data.draw(hnp.integer_array_indices(shape))
                equal(a[key], expected[key], a.dtype)
                key = tuple(
                    data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=4))
                    for n in shape
                )
                equal(a.oindex[key], orthogonal(expected, key), a.dtype)


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_arrays_without_dimensions(tmp_path, zarr_format):
    z = write(tmp_path, np.float32(7), (), zarr_format, fill_value=2.5)
    a = cat.open(tmp_path)
    assert (a[()], float(a), a.shape, a.nchunks) == (z[()], 7, (), 1)
    next(each for each in (tmp_path / "c", tmp_path / "0") if each.exists()).unlink()
    assert cat.open(tmp_path)[()] == 2.5


def test_chunks_without_a_length(tmp_path):
    document = {
        "zarr_format": 2, "shape": [0, 3], "chunks": [0, 3], "dtype": "<i4", "fill_value": None,
        "order": "C", "filters": None, "compressor": {"id": "caterva"},
    }  # fmt: skip
    (tmp_path / ".zarray").write_text(json.dumps(document))
    a = cat.open(tmp_path)
    assert (a.chunks, a.nchunks, a[...].shape) == ((0, 3), 0, (0, 3)) and a._repr_html_()


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_a_group_of_arrays(tmp_path, zarr_format):
    zarr.create_group(tmp_path, zarr_format=zarr_format).create_group("g h")
    write(tmp_path / "g h/a", DATA, (10, 12), zarr_format)
    store = Counting(objects(tmp_path))
    memory = fsspec.filesystem("memory")
    for key, data in store.objects.items():
        memory.pipe_file(f"/group/{key}", data)
    for where in (tmp_path, store, "memory://group"):
        for path in ("g h/a", "/g h/a/"):
            np.testing.assert_array_equal(cat.open(where, path=path)[5], DATA[5])
        with pytest.raises(cat.ArgumentError, match="is a group") as error:
            cat.open(where)
        assert ("'g h/a'" in str(error.value)) == (where is not store)
        with pytest.raises(FileNotFoundError, match="no array of Zarr"):
            cat.open(where, path="g h/b")
    memory.rm("/group", recursive=True)


def test_a_sparse_directory_is_none_of_zarrs(tmp_path):
    cat.asarray(DATA, urlpath=tmp_path / "sparse").close()
    (tmp_path / "sparse/zarr.json").write_text("{}")
    assert isinstance(cat.open(tmp_path / "sparse", "r"), cat.NDArray)
    with pytest.raises(IsADirectoryError):
        cat.open(tmp_path)


def test_zarr_writes(tmp_path):
    write(tmp_path, DATA, (10, 12))
    with pytest.raises(cat.ArgumentError, match="Zarr writes it"):
        cat.open(tmp_path, "a")
    a = cat.open(tmp_path, "r")
    assert a.read_only and not hasattr(a, "__setitem__")
    zarr.open_array(tmp_path)[3] = 1000
    assert (a[3] == 1000).all()  # what was written later is seen


# --- the object -----------------------------------------------------------------------------------
def test_properties(tmp_path):
    write(
        tmp_path, DATA, (10, 12), block_shape=(5, 6), fill_value=3, dimension_names=["x", None],
        attributes={"a": [1]},
    )  # fmt: skip
    a = cat.open(tmp_path)
    assert (a.dimension_names, a.fill_value, a.zarr_format) == (("x", None), 3, 3)
    assert (a.blocks, a.nchunks, a.checksum) == ((5, 6), 12, False)
    a.attributes["a"].append(2)
    assert a.attributes == {"a": [1]}
    assert a.cbytes == sum(each.stat().st_size for each in (tmp_path / "c").rglob("*/*"))
    assert str(tmp_path) in repr(a) and "(10, 12)" in repr(a)
    assert "ZarrArray (Zarr format 3)" in str(a.info) and "<svg" in a._repr_html_()
    store = cat.open(Counting(objects(tmp_path)))
    with pytest.raises(cat.UnsupportedError, match="local files"):
        _ = store.cbytes
    assert "Counting" in repr(store) and "Counting" in str(store.info)


def test_attributes_of_format_2(tmp_path):
    write(tmp_path, DATA, (10, 12), 2, attributes={"a": 1})
    a = cat.open(tmp_path)
    assert (a.attributes, a.dimension_names, a.zarr_format) == ({"a": 1}, None, 2)


def test_closed(tmp_path):
    write(tmp_path, DATA, (10, 12))
    with cat.open(tmp_path) as a:
        pass
    for use in (lambda: a[0], lambda: pickle.dumps(a)):
        with pytest.raises(cat.ClosedError):
            use()
    assert repr(a) == "<caterva_cffi.ZarrArray, closed>"


def test_out(tmp_path):
    write(tmp_path, DATA, (10, 12))
    a, out = cat.open(tmp_path), np.zeros((36, 40), "<i4").T
    assert a.read(out=out) is out
    np.testing.assert_array_equal(out, DATA)
    with pytest.raises(cat.ArgumentError, match="out has shape"):
        a.read(np.s_[0], out=out)


def test_crops(tmp_path):
    write(tmp_path, DATA, (10, 12))
    starts = np.random.default_rng(0).integers(0, 20, (50, 2))
    expected = [DATA[i : i + 15, k : k + 9] for i, k in starts.tolist()]
    for a in (cat.open(tmp_path), cat.open(Counting(objects(tmp_path)))):
        np.testing.assert_array_equal(a.read_many(starts, (15, 9)), expected)


def test_dask(tmp_path):
    write(tmp_path, DATA, (10, 12))
    lazy = dask.array.from_array(cat.open(tmp_path), chunks=(20, 12))
    np.testing.assert_array_equal((lazy + 1)[::3].compute(), DATA[::3] + 1)


def test_pickles_threads_and_forks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zarr.create_group("group")
    write("group/a", DATA, (10, 12))
    settle(tmp_path)
    local, far = cat.open("group", path="a"), cat.open(Counting(objects(tmp_path)), path="group/a")
    monkeypatch.chdir("/")
    for a in (local, far):
        copy = pickle.loads(pickle.dumps(a))
        with ThreadPoolExecutor(4) as pool:
            for k, found in enumerate(pool.map(copy.__getitem__, range(40))):
                np.testing.assert_array_equal(found, DATA[k])
        np.testing.assert_array_equal(copy[...], DATA)
        assert copy.urlpath == a.urlpath


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_in_a_child(tmp_path):
    write(tmp_path, DATA, (10, 12))
    settle(tmp_path)
    a = cat.open(tmp_path)
    np.testing.assert_array_equal(a[...], DATA)
    child = os.fork()
    if not child:
        os._exit(0 if (a[...] == DATA).all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("zarr_format", FORMATS)
def test_zarr_need_not_be_installed(tmp_path, zarr_format):
    write(tmp_path, DATA, (10, 12), zarr_format)
    script = """
import sys
sys.modules["zarr"] = sys.modules["numcodecs"] = None  # cannot be imported
import caterva_cffi as cat
print(cat.open(sys.argv[1])[...].sum())
"""
    command = [sys.executable, "-c", script, tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == str(DATA.sum()), found.stderr


# --- what is read ---------------------------------------------------------------------------------
@pytest.fixture
def calls(monkeypatch):
    """Record how many boxes each call of the kernel decodes, and which files are opened."""
    found = []
    decode, system_open = Kernel.decode, os.open

    def decoding(self, boxes, **options):
        found.append(len(boxes))
        return decode(self, boxes, **options)

    def opening(path, *arguments, **options):
        found.append(os.path.basename(path))
        return system_open(path, *arguments, **options)

    def decoding_shared(self, sources, which, *arguments):
        found.append(len(which))
        return decode_shared(self, sources, which, *arguments)

    decode_shared = Kernel.decode_shared
    monkeypatch.setattr(Kernel, "decode", decoding)
    monkeypatch.setattr(Kernel, "decode_shared", decoding_shared)
    monkeypatch.setattr(os, "open", opening)
    return found


@pytest.mark.parametrize(
    ("key", "opens", "boxes"),
    [
        (np.s_[...], 12, 12),
        (np.s_[5], 3, 3),
        (np.s_[::7, 3], 4, 4),
        (np.s_[9:11, 11:13], 4, 4),
        (np.s_[3, 4], 1, 1),
        (np.s_[[3, 4, 39], [0, 0, 35]], 2, 2),
        (np.s_[[3, 4, 39] * 4, [0, 0, 35] * 4], 2, 12),
    ],
)
def test_one_call_decodes_all_chunks(tmp_path, calls, key, opens, boxes):
    write(tmp_path, DATA, (10, 12))
    settle(tmp_path)
    a = cat.open(tmp_path)
    for _ in range(2):  # what the files begin with is unknown, then known
        calls.clear()
        np.testing.assert_array_equal(a[key], DATA[key])
        assert [call for call in calls if isinstance(call, int)] == [boxes]
        assert len(calls) == opens + 1


def test_chunks_that_are_not_there_are_no_call(tmp_path, calls):
    data = DATA.copy()
    data[:10] = 7
    write(tmp_path, data, (10, 12), fill_value=7)
    settle(tmp_path)
    a = cat.open(tmp_path)
    calls.clear()
    np.testing.assert_array_equal(a[:11, 5], data[:11, 5])
    assert [call for call in calls if isinstance(call, int)] == [1] and len(calls) == 3


def test_files_that_are_open_at_a_time(tmp_path, calls):
    write(tmp_path, DATA, (4, 4))
    settle(tmp_path)
    a = cat.open(tmp_path)
    calls.clear()
    np.testing.assert_array_equal(a[...], DATA)
    assert [call for call in calls if isinstance(call, int)] == [64, 26]


def test_a_chunk_that_is_replaced_meanwhile_is_read_again(tmp_path, monkeypatch):
    write(tmp_path / "a", DATA, (10, 12))
    write(tmp_path / "b", DATA + 1, (10, 12))
    settle(tmp_path)
    a, decode = cat.open(tmp_path / "a"), Kernel.decode

    def decoding(self, boxes, **options):
        monkeypatch.setattr(Kernel, "decode", decode)
        os.replace(tmp_path / "b/c/0/0", tmp_path / "a/c/0/0")
        return decode(self, boxes, **options)

    monkeypatch.setattr(Kernel, "decode", decoding)
    found = a[:10, :24]
    np.testing.assert_array_equal(found[:, :12], DATA[:10, :12] + 1)
    np.testing.assert_array_equal(found[:, 12:], DATA[:10, 12:24])


def test_a_chunk_that_is_changed_in_place_meanwhile(tmp_path, monkeypatch):
    write(tmp_path, DATA, (10, 12))
    settle(tmp_path)
    a, decode, path = cat.open(tmp_path), Kernel.decode, tmp_path / "c/0/0"

    def decoding(self, boxes, **options):
        os.utime(path, ns=(0, time.time_ns()))
        return decode(self, boxes, **options)

    monkeypatch.setattr(Kernel, "decode", decoding)
    with pytest.raises(cat.StorageError, match="changed in place"):
        a[0]


@pytest.mark.parametrize("how", ["file", "store"])
def test_a_damaged_chunk_is_named(tmp_path, how):
    write(tmp_path, DATA, (10, 12))
    path = tmp_path / "c/1/1"
    path.write_bytes(path.read_bytes()[:-3])
    settle(tmp_path)
    a = cat.open(tmp_path if how == "file" else Counting(objects(tmp_path)))
    with pytest.raises(cat.FormatError, match="c/1/1"):
        a[...]
    np.testing.assert_array_equal(a[:10], DATA[:10])


def test_a_frame_of_another_array(tmp_path):
    write(tmp_path / "a", DATA, (10, 12))
    write(tmp_path / "b", DATA.astype("<f4"), (10, 12))
    os.replace(tmp_path / "b/c/0/0", tmp_path / "a/c/0/0")
    with pytest.raises(cat.FormatError, match=r"c/0/0.*dtype float32"):
        cat.open(tmp_path / "a")[0, 0]


def test_a_directory_where_a_chunk_should_be(tmp_path):
    write(tmp_path, DATA, (10, 12), fill_value=5)
    (tmp_path / "c/0/0").unlink()
    (tmp_path / "c/0/0").mkdir()
    settle(tmp_path)
    assert cat.open(tmp_path)[0, 0] == 5


# --- behind a network -----------------------------------------------------------------------------
def test_rounds_of_a_store(tmp_path):
    data = np.random.default_rng(0).integers(0, 9, (128, 128, 128)).astype("f4")
    write(tmp_path, data, (64, 64, 64), block_shape=(16, 16, 16))
    store = Counting(objects(tmp_path))
    a = cat.open(store)
    assert len(store.rounds()) == 1
    np.testing.assert_array_equal(a[60:70, 60:70, 5], data[60:70, 60:70, 5])
    rounds = store.rounds()  # the beginnings, then the blocks that did not come with them
    assert len(rounds) == 2 and rounds[0] == 4
    np.testing.assert_array_equal(a[:, 60:70, 5], data[:, 60:70, 5])
    assert len(store.rounds()) == 1  # the beginnings are asked for once more beside the blocks
    np.testing.assert_array_equal(a[...], data)
    assert store.rounds() == [8]  # each is read whole
    del store.objects["c/0/0/0"]
    assert not a[:, 60:70, 5][:64, :4].any()
    assert len(store.rounds()) <= 2


def test_a_store_whose_objects_are_replaced(tmp_path):
    write(tmp_path, DATA, (40, 36), block_shape=(4, 4))
    store = Counting(objects(tmp_path))
    a = cat.open(store)
    assert a[0, 0] == DATA[0, 0]
    write(tmp_path, DATA * 1000, (40, 36), block_shape=(5, 5))
    store.objects.update(objects(tmp_path))
    np.testing.assert_array_equal(a[3:5, 7], DATA[3:5, 7] * 1000)


@pytest.fixture
def address(tmp_path):
    write(tmp_path / "a.zarr", DATA, (10, 12), block_shape=(5, 6))
    memory = fsspec.filesystem("memory")
    for key, data in objects(tmp_path).items():
        memory.pipe_file(f"/there/{key}", data)
    yield "memory://there/a.zarr"
    memory.rm("/there", recursive=True)


def test_a_url(address):
    for where in (address, f"{address}/"):
        a = cat.open(where)
        assert isinstance(a, cat.ZarrArray) and a.urlpath == where
        np.testing.assert_array_equal(a[3:15, 5:20], DATA[3:15, 5:20])
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(a))[...], DATA)
    a = cat.open("memory://there", path="a.zarr")
    assert a.urlpath == "memory://there, a.zarr"
    np.testing.assert_array_equal(a[...], DATA)
    with pytest.raises(FileNotFoundError):
        cat.open("memory://nowhere.zarr")


def test_over_http(nginx, web_directory):
    folder = web_directory / "zarr array"
    write(folder, DATA, (10, 12), fill_value=5)
    (folder / "c/0/0").unlink()
    expected = DATA.copy()
    expected[:10, :12] = 5
    url = f"{nginx.url}/{web_directory.name}"
    a = cat.open(f"{url}/zarr%20array")
    with nginx.counted() as requests:
        np.testing.assert_array_equal(a[...], expected)
    assert len(requests) == 12
    np.testing.assert_array_equal(cat.open(url, path="zarr array")[9:11], expected[9:11])


def test_from_s3(tmp_path, s3, bucket):
    write(tmp_path, DATA, (10, 12), fill_value=5)
    (tmp_path / "c/0/0").unlink()
    where, options = f"s3://{bucket}/a b", s3.storage_options()
    fs = fsspec.filesystem("s3", **options)
    for key, data in objects(tmp_path).items():
        fs.pipe_file(f"{bucket}/a b/{key}", data)
    a = cat.open(where, storage_options=options)
    with s3.counted() as requests:
        found = a[5:15, 5:15]
    assert (found[:5, :7] == 5).all() and len(requests) == 4
    np.testing.assert_array_equal(found[5:], DATA[10:15, 5:15])


def test_points_of_an_array_with_more_chunks_than_int64_can_number(tmp_path):
    side = 10**12
    codec = CatervaCodec(block_shape=(8, 8))
    z = zarr.create_array(tmp_path, shape=(side, side), chunks=(64, 64), dtype="i4", fill_value=-1,
                          serializer=codec, compressors=None)  # fmt: skip
    points = np.random.default_rng(0).integers(0, side, (2, 12))
    for number, (i, j) in enumerate(points.T.tolist()):
        z[i, j] = number
    for array in (cat.open(tmp_path), cat.open(Counting(objects(tmp_path)))):
        for times in (1, 30):  # points that are few to a block, and many
            rows, columns = np.repeat(points, times, axis=1)
            np.testing.assert_array_equal(array[rows, columns], np.repeat(np.arange(12), times))
        np.testing.assert_array_equal(array.read_many(points.T, (1, 1)).ravel(), np.arange(12))
        assert array.explain(tuple(points)).nblocks == 12
