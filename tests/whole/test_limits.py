"""Work is cut at limits that small arrays never reach. Here they are low, and no item is lost.

All memory for items holds a sentinel first, so that items that nobody writes are seen.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
from itertools import count

import h5py
import hdf5plugin
import numpy as np
import pytest
import zarr
from damage import flipped
from remote_arrays import Counting as RangeCounting
from system_reads import counted_by_the_system, system_reads
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore
from zarr_arrays import PIPELINES, orthogonal, unstable
from zarr_directories import Counting, objects, settle, write
from zarr_stores import empty_cache, reading

import caterva_cffi as cat
from caterva_cffi import dtypes, memory_pool, virtual
from caterva_cffi.planning.layout import whole_layout
from caterva_cffi.zarr import CatervaCodec

obstore = pytest.importorskip("obstore.store")
pytest.importorskip("fsspec")

COUNTS = {
    "arrays.object_items": ["_CHUNKS"],
    "binding.decoding": ["_FEW_RANGES"],
    "conversion.scheduling": ["_AHEAD"],
    "engine.crops": ["PARTS"],
    "engine.object_files": ["FILES"],
    "geometry.cutting": ["MANY", "AT_ONCE"],
    "geometry.index_arrays": ["_POINTS", "_FEW_POINTS", "_LEAST_POINTS"],
    "planning.layout": ["_MANY_EDGES"],
    "storage.atomic": ["_AT_ONCE"],
    "storage.replacement": ["_AT_ONCE"],
    "superchunk.schunk": ["_FEW"],
    "zarr_chunks.part_reads": ["_CHUNKS_AT_ONCE"],
    "zarr_chunks.pipeline": ["_FILES"],
    "zarr_chunks.written_chunks": ["_FRAMES", "_THREADS"],
}
"""Limits of how many chunks, boxes, ranges, or files there are at a time."""

SIZES = {
    "arrays.object_items": ["_BLOCK_BYTES"],
    "arrays.readable": ["_SLAB_BYTES"],
    "arrays.remote_items": ["_MERGED_BYTES", "_KNOWN_BYTES"],
    "engine.groups": ["GROUP_BYTES"],
    "engine.many_chunks": ["_BYTES", "_SMALL"],
    "engine.many_frames": ["_BYTES"],
    "engine.objects": ["_MOST_AT_ONCE", "_HEADS_BYTES"],
    "geometry.index_arrays": ["_BYTES"],
    "memory_pool": ["LEAST"],
    "storage.replacement": ["_PIECE"],
    "verification.zarr_arrays": ["_READ_BYTES"],
    "zarr_chunks.edited_files": ["_LEAST"],
    "zarr_chunks.part_reads": ["_BYTES_AT_ONCE"],
    "zarr_chunks.stores": ["_MERGED_BYTES"],
    "zarr_chunks.turns": ["_SMALL", "_LARGE"],
    "zarr_chunks.written_chunks": ["_BYTES"],
}
"""Limits of bytes at a time."""

LEVELS = [(1, 1), (2, 300), (3, 2000)]
"""Of both."""

SHAPE, CHUNKS, BLOCKS = (7, 6, 9), (3, 2, 4), (2, 2, 3)
FULL = np.arange(1, 1 + math.prod(SHAPE), dtype="<i4").reshape(SHAPE)
DATA = FULL * (np.arange(9) < 6)  # with chunks of zeros
BAD, BESIDE = 19, (slice(0, 6), (slice(6, 7), slice(2, None)))
"""A chunk, that at (2, 0, 1), and what is without it."""

numbers = count()


# --- low limits, and memory with a sentinel -------------------------------------------------------
def sentinels(make):
    def made(*args, **kwargs):
        array = make(*args, **kwargs)
        if type(array) is np.ndarray and not array.dtype.hasobject and array.flags.writeable:
            array.view(f"V{array.itemsize}")[...] = b"\xaa" * array.itemsize
        return array

    return made


def replace(patch, module, name, value):
    """Replace what a module of ours has, also where others have imported it."""
    owner = importlib.import_module(f"caterva_cffi.{module}")
    before = getattr(owner, name)
    for each in list(sys.modules.values()):
        is_ours = each.__name__.startswith("caterva_cffi") and not name.startswith("_")
        if each is owner or (is_ours and getattr(each, name, None) is before):
            patch.setattr(each, name, value)


@pytest.fixture
def limits(request):
    with pytest.MonkeyPatch.context() as patch:
        for limit, known in zip(request.param, (COUNTS, SIZES), strict=True):
            for module, names in known.items():
                for name in names:
                    replace(patch, module, name, limit)
        replace(patch, "dtypes", "allocate", sentinels(dtypes.allocate))
        patch.setattr(memory_pool, "empty", sentinels(memory_pool.empty))
        patch.setattr(np, "empty", sentinels(np.empty))  # Zarr's outputs
        empty_cache()
        yield request.param


def at_levels(*names):
    """Run a test with each of some values, and another level of the limits each time."""
    cases = [(*each, LEVELS[number % 3]) for number, each in enumerate(names)]
    return pytest.mark.parametrize(("kind", "how", "limits"), cases, indirect=["limits"], ids=str)


# --- reads and writes -----------------------------------------------------------------------------
class Ranges:
    """A frame that is read by ranges."""

    def __init__(self, frame):
        self.frame = frame

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]


def slices(rng):
    """Draw a slice or an integer for each dimension, several times."""
    yield ...
    yield (slice(1, None, 5), slice(None, None, 2), slice(None, None, 3))
    for _ in range(3):
        ends = [sorted(rng.integers(0, n + 1, 2).tolist()) for n in SHAPE]
        steps = rng.integers(0, 3, 3).tolist()
        yield tuple(
            slice(*end, step) if step else int(rng.integers(n))
            for end, step, n in zip(ends, steps, SHAPE, strict=True)
        )


def points_of(array):
    """Return what takes points, and masks."""
    return array.vindex if isinstance(array, zarr.Array) else array


def check_reads(array, data, seed=0):
    rng, equal = np.random.default_rng(seed), np.testing.assert_array_equal
    for key in slices(rng):
        equal(array[key], data[key])
    points = tuple(rng.integers(0, n, 90) for n in SHAPE)
    equal(points_of(array)[points], data[points])
    mask = rng.random(SHAPE) < 0.3
    equal(points_of(array)[mask], data[mask])
    lists = tuple(np.sort(rng.integers(0, n, n // 2)) for n in SHAPE)
    for key in (lists, (slice(None), lists[1], slice(1, None, 3))):
        equal(array.oindex[key], orthogonal(data, key))
    if isinstance(array, zarr.Array):
        return
    equal(array[::-1, ::-2], data[::-1, ::-2])
    equal(np.array(list(array)), data)
    check_read_many(array, data, rng)
    with pytest.MonkeyPatch.context() as patch:
        replace(patch, "geometry.cutting", "MANY", 256)  # less, and crops are read like points
        check_read_many(array, data, rng)


def check_read_many(array, data, rng):
    for box in ((2, 3, 4), (7, 6, 8)):
        starts = np.stack([rng.integers(0, n - k + 1, 6) for n, k in zip(SHAPE, box)], 1)  # noqa: B905
        found = array.read_many(starts, box)
        for (a, b, c), items in zip(starts, found, strict=True):
            expected = data[a : a + box[0], b : b + box[1], c : c + box[2]]
            np.testing.assert_array_equal(items, expected)


def check_writes(array, data):
    """Write to an array what is also written to `data`, and compare."""
    rng, equal = np.random.default_rng(1), np.testing.assert_array_equal
    for key in (*slices(rng), (0, 0, 0), (6, 5, 8), (5, ...)):
        data[key] = array[key] = rng.integers(0, 99, data[key].shape, "<i4")
        equal(array[...], data)
    points = np.unravel_index(rng.permutation(data.size)[:90], SHAPE)
    mask = rng.random(SHAPE) < 0.3
    for key, n in ((points, 90), (mask, mask.sum())):
        data[key] = points_of(array)[key] = rng.integers(0, 99, n, "<i4")
        equal(array[...], data)
    lists = ([0, 2, 3, 6], [1, 5], [0, 4, 5, 8])
    data[np.ix_(*lists)] = items = rng.integers(0, 99, (4, 2, 4), "<i4")
    if isinstance(array, zarr.Array):
        array.oindex[lists] = items
    else:
        array[np.ix_(*lists)] = items
    equal(array[...], data)


OURS = {
    "memory": {}, "frame": {"contiguous": True}, "file": {"contiguous": True, "urlpath": "f"},
    "directory": {"contiguous": False, "urlpath": "d"},
}  # fmt: skip
BOTH = [(kind, checksum) for checksum in (False, True) for kind in OURS]


@at_levels(*BOTH)
def test_arrays(tmp_path, monkeypatch, kind, how, limits):
    monkeypatch.chdir(tmp_path)
    equal, data = np.testing.assert_array_equal, DATA.copy()
    options = {"chunks": CHUNKS, "blocks": BLOCKS, "checksum": how}
    array = cat.asarray(data, **options, **OURS[kind])
    check_reads(array, data)
    check_writes(array, data)
    check_reads(array, data)
    frame = bytes(array.to_cframe())
    check_reads(cat.from_cframe(frame), data)
    for policy in (cat.get_read_policy("remote"), cat.ReadPolicy(first=64, gap=0, whole=1)):
        with reading(policy, "remote"):
            check_reads(cat.open(Ranges(frame)), data)
    equal(array.copy(chunks=(4, 4, 4))[...], data)
    array.save("saved")
    found = cat.verify("saved")
    assert not found and found.checked.chunks == 27
    array.append(data[:5])
    array.resize((15, 4, 20))
    expected = np.zeros((15, 4, 20), "<i4")
    expected[:12, :, :9] = np.concatenate([data, data[:5]])[:, :4]
    equal(array[...], expected)
    array.insert(3, expected[:2])
    array.delete(0, 2)
    equal(array[...], np.insert(expected, [3, 3], expected[:2], 0)[2:])


ZARR = {
    "chunks": {"chunks": CHUNKS, "serializer": CatervaCodec(block_shape=BLOCKS)},
    "one frame": {
        "chunks": SHAPE, "serializer": CatervaCodec(block_shape=BLOCKS, chunk_shape=CHUNKS)
    },
    "frames": {"chunks": (4, 6, 5), "serializer": CatervaCodec(
        block_shape=BLOCKS, chunk_shape=CHUNKS, checksum=True)},
    "shards": {
        "chunks": CHUNKS, "shards": (6, 4, 8), "serializer": CatervaCodec(block_shape=BLOCKS)
    },
}  # fmt: skip
STORES = {
    "local": lambda path: LocalStore(path),
    "memory": lambda path: MemoryStore(),
    "obstore": lambda path: ObjectStore(obstore.MemoryStore()),
    "fsspec": lambda path: FsspecStore.from_url(f"memory://limits{next(numbers)}"),
}
ALL = [
    (kind, f"{store} {list(PIPELINES)[(i + j) % len(PIPELINES)]}")
    for i, store in enumerate(STORES)
    for j, kind in enumerate(ZARR)
]
LOCAL = [(kind, f"local {pipeline}") for pipeline in PIPELINES for kind in ZARR]


@unstable
@at_levels(*dict.fromkeys(ALL + LOCAL))
def test_zarr_arrays(tmp_path, kind, how, limits):
    store, pipeline = how.split()
    data = DATA.copy()
    with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}):
        array = zarr.create_array(
            STORES[store](tmp_path), shape=SHAPE, dtype="<i4", compressors=None, **ZARR[kind]
        )
        array[...] = data
        settle(tmp_path)  # before that, files are read by steps
        check_reads(array, data)
        if store == "local" and kind != "shards":
            for ours in (cat.open(tmp_path), cat.open(Counting(objects(tmp_path)))):
                check_reads(ours, data)
        check_writes(array, data)
        check_reads(array, data)


@unstable
@at_levels(*((way, source) for source in ("f.b2nd", "z") for way in ("zarr", "shards", "b2nd")))
def test_conversions(tmp_path, kind, how, limits):
    array = zarr.create_array(tmp_path / "z", shape=SHAPE, dtype="<i4", compressors=None,
                              **ZARR["chunks"])  # fmt: skip
    array[...] = FULL
    cat.asarray(FULL, urlpath=tmp_path / "f.b2nd", chunks=CHUNKS, blocks=BLOCKS)
    to, options = tmp_path / f"to.{kind}", {"chunks": (2, 2, 4), "memory": 4000}
    if kind == "b2nd":
        cat.convert(tmp_path / how, to, format=kind, **options)
        found = cat.open(to)
    else:
        shards = (4, 4, 8) if kind == "shards" else None
        cat.convert(tmp_path / how, to, format="zarr", shards=shards, **options)
        found = zarr.open_array(to)
    np.testing.assert_array_equal(found[...], FULL)


# --- what reads cost ------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The same array, by all that tells what a read costs."""
    path, options = tmp_path_factory.mktemp("costs"), {"chunks": CHUNKS, "blocks": BLOCKS}
    cat.asarray(DATA, urlpath=str(path / "file"), contiguous=True, **options).close()
    cat.asarray(DATA, urlpath=str(path / "directory"), contiguous=False, **options).close()
    write(path / "chunks", DATA, CHUNKS, block_shape=BLOCKS)
    write(path / "one frame", DATA, SHAPE, block_shape=BLOCKS, chunk_shape=CHUNKS)
    with h5py.File(path / "hdf5", "w") as file:
        made = file.create_dataset("x", SHAPE, "<i4", chunks=CHUNKS, **hdf5plugin.Blosc2())
        padded = np.pad(DATA, [(0, -n % side) for n, side in zip(SHAPE, CHUNKS, strict=True)])
        for start in np.ndindex(3, 3, 3):
            first = tuple(k * side for k, side in zip(start, CHUNKS, strict=True))
            chunk = padded[tuple(slice(k, k + n) for k, n in zip(first, CHUNKS, strict=True))]
            frame = cat.asarray(chunk, **options).to_cframe()
            made.id.write_direct_chunk(first, bytes(frame))
    settle(path)
    return path


def counted_reads(path, kind):
    """Return an array, and what counts the requests and bytes of a read of it."""
    if kind == "reader":
        reader = RangeCounting((path / "file").read_bytes())
        array = cat.open(reader)

        def count(key):
            reader.counted()
            array[key]
            return reader.counted()[1:]
    elif kind.startswith("store"):
        store = Counting(objects(path / kind.removeprefix("store of ")))
        array = cat.open(store)

        def count(key):
            store.calls.clear()
            array[key]
            asked = [request for call in store.calls for request in call]
            answers = [store.read_objects([request])[0] for request in asked]
            return len(asked), sum(len(answer or b"") for answer in answers)
    else:
        is_hdf5 = kind == "hdf5"
        array = virtual.open_hdf5(str(path / kind), "x") if is_hdf5 else cat.open(path / kind)

        def count(key):
            with system_reads() as counted:
                array[key]
            return counted[0]

    return array, count


COSTS = ["reader", "store of chunks", "store of one frame", "file", "directory", "chunks",
         "one frame", "hdf5"]  # fmt: skip
POLICIES = {
    "default": dataclasses.replace(cat.get_read_policy("remote"), learn=False),
    "exact": cat.ReadPolicy(first=64, gap=0, whole=1),
}


@counted_by_the_system
@at_levels(*((kind, policy) for kind in COSTS for policy in POLICIES))
def test_reads_are_those_that_are_told(stored, kind, how, limits):
    rng = np.random.default_rng(0)
    points, mask = tuple(rng.integers(0, n, 90) for n in SHAPE), rng.random(SHAPE) < 0.3
    keys = [*slices(rng), points, mask, (slice(None), np.array([1, 3, 4]), slice(1, None, 3))]
    before = cat.set_nthreads(1)
    try:
        with reading(POLICIES[how], "remote"), reading(POLICIES[how], "local"):
            for key in keys:
                empty_cache()
                array, count = counted_reads(stored, kind)
                told = array.explain(key)
                assert (told.requests, told.nbytes) == count(key), key
    finally:
        cat.set_nthreads(before)


# --- errors in the midst of work ------------------------------------------------------------------
def damage(path, number):
    """Flip a bit of each block of a chunk."""
    data = path.read_bytes()
    start = whole_layout(data).range_of(number)[0] if data[2:9] == b"b2frame" else 0
    for at in np.frombuffer(data, "<i4", 4, start + 32).tolist():
        data = flipped(data, start + at)
    path.write_bytes(data)


READS = [
    lambda array: array[...],
    lambda array: array[:, ::2, ::3],
    lambda array: points_of(array)[tuple(map(np.ravel, np.indices(SHAPE)))],
    lambda array: array.oindex[np.arange(7), np.arange(6), ::2],
]
OUR_READS = [
    *READS,
    lambda array: list(array),
    lambda array: array.read_many(np.argwhere(np.ones((7, 6, 8))), (1, 1, 2)),
    lambda array: array.read_many([[0, 0, 0]] * 3, SHAPE),
]


def check_errors(array, where):
    for read in READS if isinstance(array, zarr.Array) else OUR_READS:
        with pytest.raises(cat.FormatError, match=where):
            read(array)
    for key in BESIDE:
        np.testing.assert_array_equal(array[key], FULL[key])


@at_levels(*((kind, stored) for kind in ("file", "directory") for stored in ("r", "a")))
def test_a_damaged_chunk_is_named(tmp_path, monkeypatch, kind, how, limits):
    monkeypatch.chdir(tmp_path)
    options = {"chunks": CHUNKS, "blocks": BLOCKS, "checksum": True, **OURS[kind]}
    cat.asarray(FULL, **options).close()
    damage(tmp_path / ("f" if kind == "file" else f"d/{BAD:08X}.chunk"), BAD)
    where = rf"chunk {BAD}\b"
    with cat.open(options["urlpath"], mode=how) as array:
        check_errors(array, where)
        with pytest.raises(cat.FormatError, match=where):
            array.copy(chunks=(4, 4, 4))
    if kind == "file":
        frame = (tmp_path / "f").read_bytes()
        check_errors(cat.from_cframe(frame), where)
        check_errors(cat.open(Ranges(frame)), where)


@unstable
@at_levels(*((kind, pipeline) for pipeline in PIPELINES for kind in ("chunks", "one frame")))
def test_a_damaged_zarr_chunk_is_named(tmp_path, kind, how, limits):
    path, is_one = tmp_path / "z", kind == "one frame"
    codec = CatervaCodec(block_shape=BLOCKS, chunk_shape=CHUNKS if is_one else None, checksum=True)
    stored, number = path / ("c/0/0/0" if is_one else "c/2/0/1"), BAD if is_one else 0
    where = rf"{stored.relative_to(path)}.*chunk {number}\b"
    with zarr.config.set({"codec_pipeline.path": PIPELINES[how]}):
        array = zarr.create_array(path, shape=SHAPE, dtype="<i4", compressors=None,
                                  **{**ZARR[kind], "serializer": codec})  # fmt: skip
        array[...] = FULL
        damage(stored, number)
        settle(path)
        for each in (array, cat.open(path), cat.open(Counting(objects(path)))):
            check_errors(each, where)
        with pytest.raises(cat.FormatError, match=where):
            cat.convert(path, tmp_path / "to", chunks=(2, 2, 2), memory=9000)
        found = cat.verify(path)
        assert {each.chunk for each in found} == {number} and found.checked.chunks == 27
        stored.unlink()
        without = FULL * (not is_one)
        without[6:, :2, 4:8] = 0
        for each in (array, cat.open(path), cat.open(Counting(objects(path)))):
            check_reads(each, without)
        assert cat.verify(path).missing == 1
