"""Reads and writes of parts of Zarr chunks: which bytes are asked for, and what comes of them."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import zarr
from golden_frames import FRAMES
from hypothesis import given
from hypothesis import strategies as st
from system_reads import counted_by_the_system, system_reads
from zarr.codecs import BytesCodec
from zarr.storage import LocalStore, MemoryStore
from zarr_arrays import (
    create,
    each,
    hypothesis_settings,
    integers,
    masks,
    objects,
    orthogonal,
    partitions,
    pipeline,  # noqa: F401 -- each test runs in both pipelines
    points,
    slices,
    unstable,
)
from zarr_stores import (
    Asynchronous,
    RecordedLocal,
    RecordedMemory,
    _empty_cache,  # noqa: F401 -- each test begins with an empty one
    empty_cache,
    reading,
    stored_blocks,
    touched_blocks,
)

from caterva_cffi.planning.policy import ReadPolicy, get_read_policy
from caterva_cffi.zarr import CatervaCodec

KIB = 1024


# --- how much is asked for -------------------------------------------------------------------

SIDE, CHUNK, BLOCK = 512, 256, 32
HERE = (slice(CHUNK),) * 3


@pytest.fixture(scope="module")
def tile():
    """Waves with noise, rounded: they compress about as measured data do."""
    x = np.arange(CHUNK)
    waves = 5 * np.sin((x[:, None] + x) / 30)
    noise = np.random.default_rng(0).integers(0, 8, (CHUNK,) * 3, np.uint8)
    cube = waves + 8 * np.sin(x / 40)[:, None, None]
    return (np.rint(cube * 64).astype("f4") + noise) / np.float32(64)


@pytest.fixture(scope="module")
def cubes(tile, tmp_path_factory):
    """Return the same array of 512^3 items, in stores of each kind."""
    path = tmp_path_factory.mktemp("cube")
    z = zarr.create_array(
        path,
        shape=(SIDE,) * 3,
        chunks=(CHUNK,) * 3,
        dtype="f4",
        serializer=CatervaCodec(block_shape=(BLOCK,) * 3, cname="lz4"),
        compressors=None,
    )
    for number in itertools.product(range(2), repeat=3):
        z.blocks[number] = tile
    memory = MemoryStore()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            buffer = zarr.core.buffer.default_buffer_prototype().buffer
            memory._store_dict[str(file.relative_to(path))] = buffer.from_bytes(file.read_bytes())
    return {
        "file": LocalStore(path),
        "local": RecordedLocal(path),
        "memory": RecordedMemory(memory._store_dict),
        "asynchronous": Asynchronous(memory._store_dict),
    }


@pytest.fixture(params=["local", "memory", "asynchronous"])
def fetched(request, cubes):
    """Return a function that reads a selection, and gives for each touched chunk the number of
    requests, the bytes fetched, and the object."""
    store = cubes[request.param]
    # Opened anew, so that each of Zarr's pipelines is met.
    z = zarr.open_array(store, mode="r+")
    frames = {key: value.as_numpy_array() for key, value in stored_chunks(cubes).items()}

    def fetch(selection):
        store.forget()
        values = z[selection]
        counts, sizes = Counter(), Counter()
        for key, _, size in store.requests:
            counts[key] += 1
            sizes[key] += size
        return values, {key: (counts[key], sizes[key], frames[key]) for key in counts}

    return fetch


def stored_chunks(cubes):
    return {key: value for key, value in cubes["memory"]._store_dict.items() if key[0] == "c"}


def compressed(frame, selection):
    blocks = stored_blocks(frame, (CHUNK // BLOCK) ** 3)
    touched = touched_blocks(selection, (CHUNK,) * 3, (BLOCK,) * 3)
    return sum(stop - start for start, stop in (blocks[number] for number in touched))


# Files and remote stores are read by policies of their own, which must keep to the same bounds.
both_policies = pytest.mark.parametrize("kind", ["local", "remote"])


@both_policies
@pytest.mark.parametrize(
    ("selection", "nchunks", "requests", "factor"),
    [
        (np.s_[100, 100, 100], 1, 2, 1),
        (np.s_[300:320, 420:440, 100:120], 1, 2, 1),
        ((100,), 4, 28, 2),
        (np.s_[:, 100], 4, 28, 2),
        (np.s_[:, :, 100], 4, 28, 2),
    ],
    ids=["item", "cube", "plane of axis 0", "plane of axis 1", "plane of axis 2"],
)
def test_small_selections_cost_their_blocks(
    fetched, tile, kind, selection, nchunks, requests, factor
):
    with reading(get_read_policy(kind)):
        values, found = fetched(selection)
    inside = tuple(
        key % CHUNK
        if isinstance(key, int)
        else slice(key.start and key.start % CHUNK, key.stop and key.stop % CHUNK)
        for key in selection
    )
    assert np.array_equal(values[HERE[: values.ndim]], tile[inside])
    assert len(found) == nchunks
    for count, size, frame in found.values():
        assert count <= requests
        assert size <= factor * compressed(frame, inside) + 24 * KIB


@both_policies
def test_scattered_planes_cost_no_more_than_their_chunks(fetched, tile, kind):
    with reading(get_read_policy(kind)):
        values, found = fetched(np.s_[:, :, 100])
    assert np.array_equal(values[CHUNK:, :CHUNK], tile[:, :, 100])
    assert len(found) == 4
    for _, size, frame in found.values():
        assert compressed(frame, (slice(None), slice(None), 100)) < size <= len(frame)


@pytest.mark.parametrize("fetched", ["memory"], indirect=True)
def test_everything_is_read_once(fetched, tile):
    values, found = fetched(...)
    for corner in itertools.product((0, CHUNK), repeat=3):
        part = tuple(slice(first, first + CHUNK) for first in corner)
        assert np.array_equal(values[part], tile)
    assert len(found) == 8
    for count, size, frame in found.values():
        assert (count, size) == (1, len(frame))


@counted_by_the_system
@pytest.mark.parametrize(
    ("selection", "nchunks", "factor"),
    [
        (np.s_[100, 100, 100], 1, 1),
        (np.s_[300:320, 420:440, 100:120], 1, 1),
        ((100,), 4, 1.25),
        (np.s_[:, :, 100], 4, 1.5),
        (..., 8, 1.0001),
    ],
    ids=["item", "cube", "plane", "scattered plane", "everything"],
)
def test_selections_of_files_cost_their_blocks(cubes, tile, selection, nchunks, factor):
    z = zarr.open_array(cubes["file"], mode="r")
    frame = next(iter(stored_chunks(cubes).values())).as_numpy_array()
    keys = selection if isinstance(selection, tuple) else (selection,)
    inside = tuple(
        slice(key.start % CHUNK, key.stop % CHUNK)
        if isinstance(key, slice) and key.start
        else key % CHUNK
        if isinstance(key, int)
        else slice(None)
        for key in keys
    )
    with system_reads() as reads:
        values = z[selection]
    assert np.array_equal(values[HERE[: values.ndim]], tile[inside])
    [(calls, nbytes)] = reads
    assert nbytes <= nchunks * (factor * compressed(frame, inside) + 24 * KIB)
    assert nchunks < calls


# --- any geometry, any selection, any policy -------------------------------------------------

policies = st.builds(
    ReadPolicy,
    first=st.sampled_from([0, 40, 200, 5000]),
    gap=st.sampled_from([0, 20, 300, 1 << 20]),
    whole=st.sampled_from([0, 0.2, 0.5, 1]),
)


def exact(number, asked, found):
    """Answer with bytes that nothing lies around."""
    return found if found is None else type(found).from_bytes(found.to_bytes())


@st.composite
def cases(draw):
    """Draw an array, and a codec that stores it, perhaps with chunks inside the Zarr chunk."""
    shape, chunks, blocks = draw(partitions())
    inner = draw(
        st.sampled_from(
            [None, tuple(draw(st.integers(b, c)) for b, c in zip(blocks, chunks, strict=True))]
        )
    )
    dtype = np.dtype(
        draw(st.sampled_from(["u1", "<i4", ">f8", "S3", "V7", [("a", ">i2"), ("b", "f4")]]))
    )
    kind = draw(st.sampled_from(["noise", "few", "one"]))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    size = math.prod(shape) * dtype.itemsize
    raw = random.integers(1, {"noise": 120, "few": 3, "one": 2}[kind], size, np.uint8)
    codec = CatervaCodec(
        block_shape=blocks,
        chunk_shape=inner,
        cname=draw(st.sampled_from(["lz4", "zstd", "blosclz"])),
        clevel=draw(st.sampled_from([0, 5])),
    )
    return raw.view(dtype).reshape(shape), chunks, codec


def drawn_selections(draw, shape):
    """Yield functions that select the same of a Zarr array, and of NumPy's."""
    basic = each(draw, shape, slices, integers)
    yield lambda z: z[basic], lambda data: data[basic]
    outer = each(draw, shape, slices, integers, points, masks)
    yield lambda z: z.oindex[outer], lambda data: orthogonal(data, outer)
    count = draw(st.integers(1, 6))
    many = tuple(
        np.array(draw(st.lists(integers(n), min_size=count, max_size=count))) for n in shape
    )
    yield lambda z: z.vindex[many], lambda data: data[many]
    mask = draw(masks(math.prod(shape))).reshape(shape)
    yield lambda z: z.vindex[mask], lambda data: data[mask]


@unstable
@given(cases(), policies, st.data())
@hypothesis_settings
def test_selections_with_any_policy(case, policy, draws):
    data, chunks, codec = case
    store = draws.draw(st.sampled_from([RecordedMemory, Asynchronous]))()
    z = create(data, chunks, codec, store)
    sizes = {key: len(value) for key, value in store._store_dict.items()}
    store.answer = exact
    empty_cache()
    for of_zarr, of_numpy in drawn_selections(draws.draw, data.shape):
        store.forget()
        with reading(policy):
            found, expected = of_zarr(z), of_numpy(data)
        assert np.asarray(found, data.dtype).tobytes() == np.asarray(expected, data.dtype).tobytes()
        fetched = Counter()
        for key, asked, size in store.requests:
            assert asked is None or asked[0] == 0 or size == asked[1] - asked[0]
            fetched[key] += size
        assert all(fetched[key] <= sizes[key] for key in fetched)


@given(partitions(), policies, st.data())
@hypothesis_settings
def test_blocks_of_zarr_with_any_policy(partition, policy, draws):
    shape, chunks, blocks = partition
    data = np.arange(math.prod(shape), dtype="u2").reshape(shape)
    z = create(data, chunks, CatervaCodec(block_shape=blocks))
    number = tuple(
        draws.draw(st.integers(0, -(-length // side) - 1))
        for length, side in zip(shape, chunks, strict=True)
    )
    part = tuple(slice(k * side, (k + 1) * side) for k, side in zip(number, chunks, strict=True))
    with reading(policy):
        assert np.array_equal(z.blocks[number], data[part])


def test_chunks_inside_the_chunk_are_fetched_together():
    """Offsets of chunks, then those of the touched chunks' blocks, then the blocks."""
    data = np.random.default_rng(0).integers(0, 99, (200, 200), "i4")
    store = RecordedMemory()
    codec = CatervaCodec(block_shape=(10, 10), chunk_shape=(50, 50))
    z = create(data, (200, 200), codec, store)
    for selection, touched in [(np.s_[60, 60], 1), (np.s_[60:63, 62], 1), (np.s_[40:60, 5], 2)]:
        empty_cache()
        store.forget()
        with reading(ReadPolicy(first=0, gap=0, whole=0.5)):
            assert np.array_equal(z[selection], data[selection])
        assert len(store.requests) <= 2 + 2 * touched
        assert sum(request.size for request in store.requests) < 2 * KIB


# --- frames of other libraries ---------------------------------------------------------------

FILES = [frame for frame in FRAMES if frame.entry["kind"] == "file" and all(frame.entry["shape"])]


def zarr_of(frame, store):
    """Return a Zarr array whose only chunk is a golden frame, and what it holds."""
    expected = frame.expected
    if expected.dtype.kind not in "biufcmMSU":
        expected = expected.view(f"V{expected.dtype.itemsize}")
    z = zarr.create_array(
        store,
        shape=expected.shape,
        dtype=expected.dtype,
        chunks=expected.shape,
        serializer=CatervaCodec(),
        compressors=None,
    )
    key = z.metadata.encode_chunk_key((0,) * z.ndim)
    buffer = zarr.core.buffer.default_buffer_prototype().buffer
    store._store_dict[key] = buffer.from_bytes(frame.path.read_bytes())
    return z, expected


@unstable
@pytest.mark.parametrize("frame", FILES, ids=str)
def test_frames_of_other_libraries(frame):
    store = RecordedMemory()
    z, expected = zarr_of(frame, store)
    shape = expected.shape
    selections = [
        tuple(n // 2 for n in shape),
        tuple(slice(n // 3, n // 3 + 1) for n in shape),
        tuple(slice(n // 4, None, 2) for n in shape),
        ...,
    ]
    for policy, selection in itertools.product(
        [ReadPolicy(first=0, gap=0, whole=1), get_read_policy("local")], selections
    ):
        store.forget()
        with reading(policy):
            found = np.asarray(z[selection])
        wanted = np.asarray(expected[selection])
        assert found.astype(wanted.dtype).tobytes() == wanted.tobytes()
        # Without the reason to read all of it, a frame that is sound is never read again.
        whole = [request for request in store.requests if request.range is None]
        assert not whole or policy.whole < 1


# --- writes ----------------------------------------------------------------------------------


def written_to(codec, shape, chunks, fill_value, write_empty_chunks):
    store = RecordedMemory()
    z = zarr.create_array(
        store,
        shape=shape,
        chunks=chunks,
        dtype="f4",
        fill_value=fill_value,
        serializer=codec,
        compressors=None,
        config={"write_empty_chunks": write_empty_chunks},
    )
    return z, store


@given(partitions(), st.sampled_from([0, -0.0, 3, np.nan]), st.booleans(), st.booleans(), st.data())
@hypothesis_settings
def test_writes_are_as_with_zarrs_own_codec(partition, fill_value, keep_empty, inner, draws):
    shape, chunks, blocks = partition
    codec = CatervaCodec(block_shape=blocks, chunk_shape=blocks if inner else None)
    options = shape, chunks, fill_value, keep_empty
    (ours, store), (others, other_store) = (
        written_to(codec, *options) for codec in (codec, BytesCodec())
    )
    data = np.full(shape, fill_value, "f4")
    for _ in range(4):
        selection = each(draws.draw, shape, slices, integers)
        value = draws.draw(st.sampled_from([fill_value, 0.0, -0.0, 7, None]))
        if value is None:
            value = np.arange(data[selection].size, dtype="f4").reshape(data[selection].shape)
        for array in (data, ours, others):
            array[selection] = value
        for array in (ours, others):
            assert array[...].tobytes() == data.tobytes()
        assert objects(store._store_dict).keys() == objects(other_store._store_dict).keys()


def test_unstored_chunks_read_as_fill_value():
    z, store = written_to(CatervaCodec(), (8, 8), (4, 4), 5, False)
    assert (z[3:6, 2] == 5).all()
    assert z[7, 7] == 5
    z[:4] = 5
    assert not store.writes
    z[0, 0] = 1
    assert [key for key, _ in store.writes] == ["c/0/0"]
    assert z[0:6, 0].tolist() == [1, 5, 5, 5, 5, 5]


def test_whole_chunks_are_written_without_reading():
    store = RecordedMemory()
    z = create(np.arange(64, dtype="i4").reshape(8, 8) + 1, (4, 4), store=store)
    store.forget()
    z[:4] = 9
    assert not store.requests
    assert sorted(key for key, _ in store.writes) == ["c/0/0", "c/0/1"]
    z[:4] = 0
    assert sorted(store.deleted) == ["c/0/0", "c/0/1"]
