"""The Zarr codec on stores of many kinds, each of which answers ranges in its own way."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, LoggingStore, MemoryStore, ObjectStore, ZipStore
from zarr_arrays import pipeline  # noqa: F401 -- each test runs in both pipelines

from caterva_cffi.planning.policy import ReadPolicy, get_read_policy, set_read_policy
from caterva_cffi.zarr import CatervaCodec

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning"),
]


class Refusing(MemoryStore):
    """Refuses a range that reaches behind an object's end, as some stores do."""

    error: type[Exception] = ValueError

    def _check(self, key, byte_range):
        found = self._store_dict.get(key)
        if found is not None and byte_range is not None and byte_range.end > len(found):
            raise self.error(f"{byte_range} is outside of {len(found)} bytes")

    async def get(self, key, prototype=None, byte_range=None):
        self._check(key, byte_range)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key, *, prototype=None, byte_range=None):
        self._check(key, byte_range)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)


def icechunk_store(path):
    icechunk = pytest.importorskip("icechunk")
    storage = icechunk.local_filesystem_storage(str(path)) if path else icechunk.in_memory_storage()
    return icechunk.Repository.create(storage).writable_session("main").store


def caching_store(path):
    from zarr.experimental.cache_store import CacheStore

    return CacheStore(Refusing(), cache_store=MemoryStore())


def object_store(path):
    obstore = pytest.importorskip("obstore.store")
    return ObjectStore(obstore.LocalStore(path) if path else obstore.MemoryStore())


def fsspec_store(path):
    pytest.importorskip("fsspec")
    return FsspecStore.from_url(f"memory://{path.name}")


STORES = {
    "memory": lambda path: MemoryStore(),
    "local": LocalStore,
    "zip": lambda path: ZipStore(path / "a.zip", mode="w"),
    "logging": lambda path: LoggingStore(MemoryStore(), log_level="CRITICAL"),
    "refusing": lambda path: Refusing(),
    "fsspec": fsspec_store,
    "obstore": lambda path: object_store(None),
    "obstore on disk": lambda path: object_store(path),
    "icechunk": lambda path: icechunk_store(None),
    "icechunk on disk": icechunk_store,
    "caching": caching_store,
}


@pytest.fixture
def data():
    return np.random.default_rng(0).integers(0, 50, (40, 30)).astype("i4")


def create(store, data, **kwargs):
    codec = CatervaCodec(block_shape=(5, 6))
    given = {"shape": data.shape, "dtype": data.dtype, "chunks": (20, 20), "name": "a"}
    z = zarr.create_array(store, serializer=codec, compressors=None, **given, **kwargs)
    z[...] = data
    return z


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("first", [16, 1 << 20])
def test_partial_reads_and_writes(name, first, tmp_path, data):
    policy = ReadPolicy(first=first, gap=100, whole=1)
    before = {kind: set_read_policy(kind, policy) for kind in ("local", "remote")}
    try:
        z = create(STORES[name](tmp_path), data)
        for _ in range(2):  # the second time from what is remembered
            assert np.array_equal(z[3, 7:25], data[3, 7:25])
            assert np.array_equal(z.oindex[[1, 39], ::4], data[[1, 39], ::4])
        if name == "zip":
            return  # cannot change what it holds
        for value in (data[:20, :20] + 1, np.zeros((20, 20), "i4")):  # longer, shorter
            z[:20, :20] = data[:20, :20] = value
            z[2:4, 19:21] = data[2:4, 19:21] = 7
            assert z[19, 19] == data[19, 19]
            assert np.array_equal(z[...], data)
        assert (z[:20, :20] == 0).sum() == 398
    finally:
        for kind, policy in before.items():
            set_read_policy(kind, policy)


@pytest.mark.parametrize("error", [ValueError, RuntimeError, OSError, KeyError])
def test_a_refused_range_is_read_whole(error, data):
    store = Refusing()
    store.error = error
    z = create(store, data)
    assert z[39, 29] == data[39, 29]


@pytest.mark.parametrize("remembered", [True, False])
def test_the_second_error_is_shown(remembered, data):
    class Broken(MemoryStore):
        errors = None

        def _fail(self, key):
            if self.errors is not None and not key.endswith("json"):
                self.errors += 1
                raise ConnectionError(f"error {self.errors}")

        async def get(self, key, prototype=None, byte_range=None):
            self._fail(key)
            return await super().get(key, prototype, byte_range)

        def get_sync(self, key, *, prototype=None, byte_range=None):
            self._fail(key)
            return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    store = Broken()
    z = create(store, data)
    if remembered:
        assert z[3, 7] == data[3, 7]
    store.errors = 0
    with pytest.raises(ConnectionError, match=r"error [2-9]"):
        z[3, 7]
    store.errors = None
    assert z[3, 7] == data[3, 7]


def test_icechunk_sessions_and_commits(data):
    icechunk = pytest.importorskip("icechunk")
    repo = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repo.writable_session("main")
    create(session.store, data)
    first = session.commit("data")
    session = repo.writable_session("main")
    zarr.open_array(session.store, path="a")[5, 3:9] = -1
    session.commit("a part")
    old = zarr.open_array(repo.readonly_session(snapshot_id=first).store, path="a", mode="r")
    new = zarr.open_array(repo.readonly_session("main").store, path="a", mode="r")
    assert np.array_equal(old[4:7, 2:10], data[4:7, 2:10])
    data[5, 3:9] = -1
    assert np.array_equal(new[4:7, 2:10], data[4:7, 2:10])
    assert np.array_equal(new[...], data)


@pytest.mark.filterwarnings("ignore:Passing `None`:DeprecationWarning")  # older ones take only that
def test_icechunk_virtual_references(tmp_path, data):
    """Chunks that lie somewhere in a file, between other bytes."""
    icechunk = pytest.importorskip("icechunk")
    frames = MemoryStore()
    create(frames, data)
    blob, places = b"other bytes", {}
    for key, value in frames._store_dict.items():
        if not key.endswith("json"):
            places[key] = len(blob), len(value)
            blob += value.to_bytes() + b"more"
    (tmp_path / "blob").write_bytes(blob)
    prefix = f"{tmp_path.as_uri()}/"
    config = icechunk.RepositoryConfig.default()
    where = icechunk.local_filesystem_store(str(tmp_path))
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, where))
    repo = icechunk.Repository.create(
        icechunk.in_memory_storage(), config, authorize_virtual_chunk_access={prefix: None}
    )
    store = repo.writable_session("main").store
    for key, value in frames._store_dict.items():
        if key.endswith("json"):
            sync(store.set(key, value))
    for key, (offset, length) in places.items():
        store.set_virtual_ref(key, f"{prefix}blob", offset=offset, length=length)
    z = zarr.open_array(store, path="a")
    assert np.array_equal(z[3, 7:25], data[3, 7:25])
    z[3, 7:25] = data[3, 7:25] = 0
    assert np.array_equal(z[...], data)
    assert (tmp_path / "blob").read_bytes() == blob


@pytest.mark.parametrize("make", [object_store, fsspec_store])
def test_requests_are_learned_from(make, tmp_path, data, fixed_policy):
    set_read_policy("remote", fixed_policy)
    store = make(tmp_path)
    z = zarr.create_array(
        store,
        data=data,
        chunks=data.shape,
        serializer=CatervaCodec(block_shape=(8,) * data.ndim),
        compressors=None,
    )
    for k in range(12):
        np.testing.assert_array_equal(z[k], data[k])
    learned = get_read_policy("remote", store)
    assert 0 < learned.costs.latency + learned.costs.request < 1
    assert get_read_policy("remote", z) == learned
