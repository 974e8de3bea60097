"""The Zarr codec over HTTP and S3: right items, few requests, few bytes, and no wrong data."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import servers
import zarr
from zarr.storage import FsspecStore, MemoryStore, ObjectStore
from zarr_arrays import PIPELINES

import caterva_cffi as cat
from caterva_cffi.zarr import CatervaCodec

obstore = pytest.importorskip("obstore.store")
s3fs = pytest.importorskip("s3fs")
aiohttp = pytest.importorskip("aiohttp")

CHUNK, BLOCK = 256, 32
SHAPE = (CHUNK, CHUNK, 2 * CHUNK)
WHOLE = slice(None)
STORES = ["s3fs", "S3 by obstore", "HTTP by obstore", "http"]

pytestmark = [
    # zarr's stores and fsspec leave connections to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(params=list(PIPELINES))
def pipeline(request):
    with zarr.config.set({"codec_pipeline.path": PIPELINES[request.param]}):
        yield request.param


@pytest.fixture(scope="module")
def data():
    """Items of six bits: they compress to less than half."""
    return np.random.default_rng(0).integers(0, 64, SHAPE, np.uint8).astype(np.float32)


@pytest.fixture(scope="module")
def objects(data):
    """A Zarr array of two chunks, by key."""
    store = {}
    codec = CatervaCodec(block_shape=(BLOCK,) * 3)
    z = zarr.create_array(
        store,
        shape=SHAPE,
        chunks=(CHUNK,) * 3,
        dtype=data.dtype,
        serializer=codec,
        compressors=None,
    )
    z[...] = data
    return {key: value.to_bytes() for key, value in store.items()}


def block_sizes(frame):
    """Return the compressed bytes of each block of a frame with one chunk."""
    (start,) = struct.unpack_from(">i", frame, 11)
    nbytes, blocksize, cbytes = struct.unpack_from("<3i", frame, start + 4)
    count = -(-nbytes // blocksize)
    offsets = np.frombuffer(frame[start + 32 : start + 32 + 4 * count], "<i4")
    order = np.argsort(offsets)
    sizes = np.empty_like(offsets)
    sizes[order] = np.diff(np.append(offsets[order], cbytes))
    return sizes.reshape((CHUNK // BLOCK,) * 3)


@pytest.fixture(scope="module")
def published(nginx, s3, objects):
    """The array on both servers, below "network-array"."""
    fs = s3fs.S3FileSystem(**s3.storage_options())
    s3.create_bucket("network-array")
    for key, value in objects.items():
        file = nginx.directory / "network-array" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(value)
        fs.pipe_file(f"network-array/{key}", value)


def open_store(name, nginx, s3, bucket="network-array", *, read_only=True):
    """Return a store that reads what is below a name."""
    match name:
        case "s3fs":
            return FsspecStore.from_url(
                f"s3://{bucket}", storage_options=s3.storage_options(), read_only=read_only
            )
        case "S3 by obstore":
            return ObjectStore(obstore.S3Store(bucket, **s3.obstore_options()), read_only=read_only)
        case "http":
            return FsspecStore.from_url(f"{nginx.url}/{bucket}", read_only=read_only)
        case "HTTP by obstore":
            store = obstore.HTTPStore.from_url(
                f"{nginx.url}/{bucket}/", client_options={"allow_http": True}
            )
            return ObjectStore(store, read_only=read_only)


@pytest.fixture(
    params=[
        (store, list(PIPELINES)[number % len(PIPELINES)]) for number, store in enumerate(STORES)
    ],
    ids=" ".join,
)
def opened(request, published, nginx, s3):
    """Return the array through each store, and the server that counts its requests."""
    store, pipeline = request.param
    with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}):
        z = zarr.open_array(open_store(store, nginx, s3), mode="r")
        yield z, s3 if "s3" in store.lower() else nginx


# --- reading --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "requests_per_chunk", "factor", "slack"),
    [
        pytest.param((100, 100, 300), 2, 1, 24 * 1024, id="one item"),
        pytest.param((slice(70, 90),) * 3, 2, 1, 24 * 1024, id="cube in a block"),
        pytest.param((slice(90, 110),) * 3, 9, None, 0, id="cube"),
        pytest.param((100,), 8, 1.7, 24 * 1024, id="plane [k]"),
        pytest.param((WHOLE, WHOLE, 100), None, None, 0, id="plane [:, :, k]"),
        pytest.param((WHOLE,), 1, None, 0, id="everything"),
    ],
)
def test_requests_and_bytes(opened, objects, data, key, requests_per_chunk, factor, slack):
    z, server = opened
    with server.counted() as requests:
        found = z[key]
    assert np.array_equal(found, data[key])

    touched = touched_bytes(objects, key)
    assert {r.path.rpartition("/c/")[2] for r in requests} == set(touched)
    for name, of_blocks in touched.items():
        mine = [r for r in requests if r.path.endswith(f"/c/{name}")]
        assert {r.status for r in mine} <= {200, 206}
        if requests_per_chunk is not None:
            # Before it reads a whole object, s3fs asks for its size.
            assert sum(r.method == "GET" for r in mine) <= requests_per_chunk
        limit = len(objects[f"c/{name}"])
        if factor is not None:
            limit = min(limit, factor * of_blocks + slack)
        assert sum(r.sent for r in mine) <= limit


def touched_bytes(objects, key):
    """Return the compressed bytes of the blocks that a selection touches, by chunk."""
    marks = np.zeros([n // BLOCK for n in SHAPE], bool)
    keys = (*key, *[WHOLE] * (3 - len(key)))
    marks[
        tuple(
            k // BLOCK
            if isinstance(k, int)
            else slice(k.indices(n)[0] // BLOCK, -(-k.indices(n)[1] // BLOCK))
            for k, n in zip(keys, SHAPE, strict=True)
        )
    ] = True
    found = {}
    for number, part in enumerate(np.split(marks, 2, axis=2)):
        if part.any():
            found[f"0/0/{number}"] = int(block_sizes(objects[f"c/0/0/{number}"])[part].sum())
    return found


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("oindex", ([3, 100, 255], slice(7, 200, 50), [0, 300])),
        ("vindex", ([3, 100, 255], [0, 1, 2], [0, 300, 511])),
        ("basic", (slice(2, 250, 100), slice(40, 30), 0)),
    ],
)
def test_selections(opened, data, kind, key):
    z, _ = opened
    if kind == "basic":
        assert np.array_equal(z[key], data[key])
    elif kind == "vindex":
        assert np.array_equal(z.vindex[key], data[key])
    else:
        expected = data[key[0]][:, key[1]][:, :, key[2]]
        assert np.array_equal(z.oindex[key], expected)


# --- writing --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", STORES[:2])
def test_writing(name, nginx, s3, bucket, pipeline):
    expected = np.arange(60 * 50, dtype="i4").reshape(60, 50)
    store = open_store(name, nginx, s3, bucket, read_only=False)
    z = zarr.create_array(
        store,
        shape=expected.shape,
        chunks=(20, 20),
        dtype=expected.dtype,
        serializer=CatervaCodec(block_shape=(5, 7)),
        compressors=None,
        fill_value=-1,
    )
    z[...] = expected
    z[10:30, 15:45] = expected[10:30, 15:45] = -expected[10:30, 15:45]
    z[7, 7] = expected[7, 7] = 5
    with s3.counted() as requests:
        z[:20, :20] = expected[:20, :20] = -1  # fill value: the object goes
    assert "DELETE" in {r.method for r in requests} or "?delete" in "".join(
        r.path for r in requests
    )
    again = zarr.open_array(open_store(name, nginx, s3, bucket), mode="r")
    assert np.array_equal(again[...], expected)


# --- networks that fail ---------------------------------------------------------------------------
SIDE = 64


@pytest.fixture(scope="module")
def small():
    """Items that do not compress, and an array that holds them in one chunk, by key."""
    items = np.random.default_rng(0).integers(0, 2**31, (SIDE, SIDE), "i4")
    store = {}
    z = zarr.create_array(
        store,
        shape=items.shape,
        chunks=items.shape,
        dtype=items.dtype,
        serializer=CatervaCodec(block_shape=(4, SIDE)),
        compressors=None,
    )
    z[...] = items
    return items, {key: value.to_bytes() for key, value in store.items()}


@pytest.fixture
def short_reads():
    """Let 16 KiB be worth several requests."""
    before = cat.set_read_policy("remote", cat.ReadPolicy(first=256, gap=0, whole=0.5))
    yield
    cat.set_read_policy("remote", before)


BEHAVIOURS = {
    "500": lambda frame: servers.fails(500),
    "416": lambda frame: servers.fails(416),
    "ranges ignored": lambda frame: servers.ignores_ranges,
    "less than asked": lambda frame: servers.sends_less,
    "broken off": lambda frame: servers.breaks_off,
    "shorter": lambda frame: servers.serves(frame[:-2000]),
    "longer": lambda frame: servers.serves(frame + bytes(2000)),
    "empty": lambda frame: servers.serves(b""),
}


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_no_wrong_data(behaviour, number, small, short_reads, misbehaving, pipeline):
    """What comes is right, or an error; and the next read is as good as the server."""
    data, objects = small
    server = misbehaving(objects)
    worse = servers.from_number(number, BEHAVIOURS[behaviour](objects["c/0/0"]))
    z = zarr.open_array(FsspecStore.from_url(server.url, read_only=True), mode="r")
    for key in [(3, 3), (slice(20, 50, 13), 5), (slice(None),)]:
        server.restart(worse)
        try:
            found = z[key]
        except (cat.CatervaError, aiohttp.ClientError) as error:
            assert behaviour != "ranges ignored" and str(error)
        else:
            assert np.array_equal(found, data[key])
            # All of an object that is none takes one request.
            assert behaviour == "ranges ignored" or number or key != (slice(None),)
        server.restart(servers.honest)
        assert np.array_equal(z[key], data[key])


class Replaced(dict):
    """Objects that are others once "c/0/0" was read so many times."""

    def __init__(self, first, second, number):
        super().__init__(first)
        self.second, self.number = second, number

    def __getitem__(self, key):
        if key == "c/0/0":
            self.number -= 1
            if self.number < 0:
                return self.second[key]
        return super().__getitem__(key)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("kind", ["HTTP by obstore", "memory"])
def test_no_two_versions_of_incompressible_chunks(kind, number, misbehaving, pipeline):
    """Their blocks say nothing of the version that they are of."""
    items = np.random.default_rng(1).integers(0, 256, (64, 64)).astype("u1")
    versions = []
    for data in (items, items[::-1]):
        store = {}
        codec = CatervaCodec(block_shape=(4, 4), clevel=0)
        options = {"serializer": codec, "compressors": None, "shape": (64, 64), "chunks": (64, 64)}
        zarr.create_array(store, dtype="u1", **options)[...] = data
        versions.append(store)
    if kind == "memory":
        store = MemoryStore(Replaced(*versions, number))
    else:
        first, second = ({k: v.to_bytes() for k, v in each.items()} for each in versions)
        server = misbehaving(first, servers.from_number(number, servers.serves(second["c/0/0"])))
        options = {"client_options": {"allow_http": True}}
        store = ObjectStore(obstore.HTTPStore.from_url(server.url, **options), read_only=True)
    policies = {name: cat.get_read_policy(name) for name in ("remote", "local")}
    try:
        for name in policies:
            cat.set_read_policy(name, cat.ReadPolicy(first=256, gap=0, whole=1.0))
        found = zarr.open_array(store, mode="r")[::9, ::9]
    finally:
        for name, policy in policies.items():
            cat.set_read_policy(name, policy)
    assert any(np.array_equal(found, data[::9, ::9]) for data in (items, items[::-1]))
