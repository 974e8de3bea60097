"""Our pipeline: one call for all chunks of a selection, and Zarr's own way for all else."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import numpy as np
import obstore
import pytest
import zarr
from zarr.codecs import BytesCodec, ShardingCodec, TransposeCodec
from zarr.core import codec_pipeline
from zarr.core.buffer import BufferPrototype, cpu, default_buffer_prototype
from zarr.storage import LoggingStore, MemoryStore, ObjectStore, StorePath
from zarr_arrays import PIPELINES, create, unstable

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.zarr import CatervaCodec, CatervaPipeline, PartialReadsOffWarning
from caterva_cffi.zarr_chunks import pipeline as module
from caterva_cffi.zarr_chunks import stores

DATA = np.random.default_rng(0).integers(0, 99, (40, 36), "<i4")
CODEC = CatervaCodec(block_shape=(4, 4))


@pytest.fixture(autouse=True)
def pipeline():
    with zarr.config.set({"codec_pipeline.path": PIPELINES["CatervaPipeline"]}):
        yield


@pytest.fixture
def calls(monkeypatch):
    """Record what is decoded by which way: the boxes of a call, or the chunks that Zarr reads."""
    found = []
    decode, read = Kernel.decode, CatervaPipeline.__mro__[1].read

    def decoding(self, boxes, **options):
        found.append(len(boxes))
        return decode(self, boxes, **options)

    async def reading(self, batch, *arguments):
        batch = list(batch)
        found.append([stores.key_of(each[0]) for each in batch])
        return await read(self, batch, *arguments)

    def decoding_shared(self, sources, which, *arguments):
        found.append(len(which))
        return decode_shared(self, sources, which, *arguments)

    decode_shared = Kernel.decode_shared
    monkeypatch.setattr(Kernel, "decode", decoding)
    monkeypatch.setattr(Kernel, "decode_shared", decoding_shared)
    monkeypatch.setattr(CatervaPipeline.__mro__[1], "read", reading)
    return found


def stored(path, data=DATA, chunks=(10, 12), codec=CODEC, **options):
    """Return an array of files whose times of change are no longer the present."""
    create(data, chunks, codec, path, **options)
    while any(time.time() - each.stat().st_ctime < 0.1 for each in path.rglob("*")):
        time.sleep(0.02)
    return zarr.open_array(path, mode="r")


@pytest.mark.parametrize(
    ("key", "boxes"),
    [
        (np.s_[...], 12),
        (np.s_[5], 3),
        (np.s_[::7, 3], 4),
        (np.s_[9:11, 11:13], 4),
        (np.s_[3, 4], 1),
    ],
)
def test_one_call_decodes_all_chunks(tmp_path, calls, key, boxes):
    array = stored(tmp_path)
    for _ in range(2):  # what the files begin with is unknown, then known
        calls.clear()
        np.testing.assert_array_equal(array[key], DATA[key])
        assert calls == [boxes]


def test_index_arrays_and_masks(tmp_path, calls):
    array = stored(tmp_path)
    np.testing.assert_array_equal(array.oindex[[39, 0, 7], ::5], DATA[[39, 0, 7], ::5])
    for mask in (DATA > 60, DATA > 95):  # many points of a block, and few
        np.testing.assert_array_equal(array.vindex[mask], DATA[mask])
    assert all(isinstance(call, int) for call in calls) and len(calls) == 3


@pytest.mark.parametrize("most", [0, 100, 1000])
def test_more_items_than_are_decoded_beside_the_output(tmp_path, monkeypatch, most):
    monkeypatch.setattr("caterva_cffi.engine.many_frames._BYTES", most)
    monkeypatch.setattr("caterva_cffi.geometry.index_arrays._BYTES", most)
    mask = DATA > 60
    for name, data in (("big", DATA.astype(">i4")), ("little", DATA)):
        array = stored(tmp_path / name, data)
        np.testing.assert_array_equal(array[1:39, 1::2], DATA[1:39, 1::2])
        np.testing.assert_array_equal(array.vindex[mask], DATA[mask])
        np.testing.assert_array_equal(array.oindex[[39, 0, 7], 3:30], DATA[[39, 0, 7], 3:30])


def test_no_copy_is_made_where_items_can_be_decoded_into_the_output(tmp_path, monkeypatch):
    array = stored(tmp_path)
    monkeypatch.setattr(module, "allocate", None)
    monkeypatch.setattr(module, "_put", None)
    np.testing.assert_array_equal(array[3:33, 5:30], DATA[3:33, 5:30])


def test_more_files_than_are_open_at_a_time(tmp_path, calls):
    array = stored(tmp_path, chunks=(4, 4))
    np.testing.assert_array_equal(array[...], DATA)
    assert calls == [64, 26]


@unstable
@pytest.mark.parametrize("dtype", [">f8", "S3", "V7", "<M8[s]", [("a", "<i2"), ("b", "f4")]])
def test_dtypes(tmp_path, calls, dtype):
    data = np.arange(40 * 36 * np.dtype(dtype).itemsize, dtype="u1").view(dtype).reshape(40, 36)
    array = stored(tmp_path, data)
    assert np.asarray(array[3:33, 5], dtype).tobytes() == data[3:33, 5].tobytes()
    assert [type(call) for call in calls] == [int]


def test_missing_chunks_are_filled(tmp_path, calls):
    data = DATA.copy()
    data[:10, :12] = 7
    array = stored(tmp_path, data, fill_value=7)
    np.testing.assert_array_equal(array[:11, :13], data[:11, :13])
    assert calls == [3, ["c/0/0"]]
    np.testing.assert_array_equal(array[2:4, 2:4], data[2:4, 2:4])


def test_a_damaged_chunk_is_named(tmp_path):
    array = stored(tmp_path)
    path = tmp_path / "c/1/1"
    frame = bytearray(path.read_bytes())
    frame[-60:-40] = bytes(20)
    path.write_bytes(frame[:-3])
    with pytest.raises(cat.FormatError, match="c/1/1"):
        array[...]
    np.testing.assert_array_equal(array[:10], DATA[:10])


def test_a_chunk_that_is_replaced_meanwhile_is_read_again(tmp_path, monkeypatch):
    array = stored(tmp_path)
    other = stored(tmp_path / "other", DATA + 1)
    assert other[0, 0] == DATA[0, 0] + 1
    path, decode = tmp_path / "c/0/0", Kernel.decode

    def decoding(self, boxes, **options):
        monkeypatch.setattr(Kernel, "decode", decode)
        path.write_bytes((tmp_path / "other/c/0/0").read_bytes())  # in place
        return decode(self, boxes, **options)

    monkeypatch.setattr(Kernel, "decode", decoding)
    found = array[:10, :24]
    np.testing.assert_array_equal(found[:, :12], DATA[:10, :12] + 1)
    np.testing.assert_array_equal(found[:, 12:], DATA[:10, 12:24])


def test_descriptors_are_closed(tmp_path):
    folder = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    array = stored(tmp_path)
    (tmp_path / "c/3/2").write_bytes(b"no frame")
    before = len(os.listdir(folder))
    np.testing.assert_array_equal(array[:30], DATA[:30])
    with pytest.raises(cat.FormatError):
        array[...]
    assert len(os.listdir(folder)) == before


def test_few_descriptors_are_enough(tmp_path):
    resource = pytest.importorskip("resource")
    array = stored(tmp_path, chunks=(4, 4))
    used = max(map(int, os.listdir("/dev/fd")))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 20, hard))
    try:
        np.testing.assert_array_equal(array[...], DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


STORES = {"zarr": MemoryStore, "obstore": lambda: ObjectStore(obstore.store.MemoryStore())}
if hasattr(zarr.storage, "ManagedMemoryStore"):
    STORES["managed"] = zarr.storage.ManagedMemoryStore


@pytest.fixture(params=list(STORES))
def memory(request):
    return STORES[request.param]()


def frame_in(store, key):
    """Return the bytes of an object."""
    return asyncio.run(store.get(key, default_buffer_prototype())).to_bytes()


def replace(store, key, data):
    """Replace an object by bytes."""
    asyncio.run(store.set(key, cpu.Buffer.from_bytes(data)))


def test_one_call_decodes_all_chunks_in_memory(memory, calls):
    array = create(DATA, (10, 12), store=memory)
    for key, boxes in ((np.s_[...], 12), (np.s_[5], 3), (np.s_[::7, 3], 4), (np.s_[3, 4], 1)):
        calls.clear()
        np.testing.assert_array_equal(array[key], DATA[key])
        assert calls == [boxes]
    calls.clear()
    np.testing.assert_array_equal(array.vindex[DATA > 95], DATA[DATA > 95])
    kinds = [type(call) for call in calls]  # one for chunks in which points are few, and another
    assert kinds in ([int], [int, int])


def test_layouts_of_objects_in_memory_are_kept(memory, monkeypatch):
    array = create(DATA, (10, 12), store=memory)
    np.testing.assert_array_equal(array[...], DATA)
    monkeypatch.setattr("caterva_cffi.engine.many_frames.read_layout", None)
    np.testing.assert_array_equal(array[...], DATA)


def test_inner_chunks_in_memory(memory, calls):
    codec = CatervaCodec(block_shape=(2, 2), chunk_shape=(4, 4), checksum=True)
    array = create(DATA, (20, 18), codec, memory, name="few")
    np.testing.assert_array_equal(array[3:30, 5:], DATA[3:30, 5:])
    assert [type(call) for call in calls] == [int]
    calls.clear()
    codec = CatervaCodec(block_shape=(2, 2), chunk_shape=(2, 2))
    array = create(DATA, (40, 36), codec, memory, name="many")
    np.testing.assert_array_equal(array[...], DATA)
    assert calls[0] == ["many/c/0/0"]  # too many inner chunks to locate one by one


def test_objects_in_memory_that_are_replaced(memory):
    array = create(DATA, (10, 12), store=memory)
    before = frame_in(memory, "c/0/0")
    other = before.replace(b"b2nd", b"B2ND").replace(b"caterva", b"CATERVA")  # of the same size
    for damaged in (before[:-3], before + b"x", before[:40], b"", bytes(len(before)), other):
        replace(memory, "c/0/0", before)
        np.testing.assert_array_equal(array[...], DATA)
        replace(memory, "c/0/0", damaged)
        # Python views no empty array of Zarr's as bytes.
        with pytest.raises(cat.FormatError if damaged else (cat.FormatError, TypeError)) as error:
            array[:10]
        assert "c/0/0" in "".join([str(error.value), *getattr(error.value, "__notes__", [])])
        np.testing.assert_array_equal(array[10:], DATA[10:])


def test_objects_in_memory_that_are_written_and_deleted(memory):
    array = create(DATA, (10, 12), store=memory)
    expected = DATA.copy()
    for change in (1, 1000):
        array[:10, :12] += change
        expected[:10, :12] += change
        np.testing.assert_array_equal(array[...], expected)
    asyncio.run(memory.delete("c/0/0"))
    expected[:10, :12] = 0
    np.testing.assert_array_equal(array[...], expected)


@pytest.mark.parametrize("checksum", [False, True])
def test_a_damaged_block_in_memory_is_found_as_it_is_without_us(memory, checksum):
    create(DATA, (40, 36), CatervaCodec(block_shape=(8, 8), checksum=checksum), memory)
    frame = bytearray(frame_in(memory, "c/0/0"))
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(frame), 50):
        damaged = frame.copy()
        damaged[at] ^= 1 << rng.integers(8)
        replace(memory, "c/0/0", bytes(damaged))
        found = []
        for path in PIPELINES.values():
            with zarr.config.set({"codec_pipeline.path": path}):
                try:
                    found.append(zarr.open_array(memory, mode="r")[3:30, 5:33].tobytes())
                except cat.FormatError as error:
                    found.append(str(error))
        assert len(set(found)) == 1


def test_an_object_that_is_replaced_while_it_is_decoded(memory, monkeypatch):
    array = create(DATA, (10, 12), store=memory)
    assert array[0, 0] == DATA[0, 0]
    frame = frame_in(create(DATA + 1, (10, 12), store=MemoryStore()).store, "c/0/0")
    decode = Kernel.decode

    def decoding(self, boxes, **options):
        monkeypatch.setattr(Kernel, "decode", decode)
        replacing = threading.Thread(target=replace, args=(memory, "c/0/0", frame))
        replacing.start()
        replacing.join()
        return decode(self, boxes, **options)

    monkeypatch.setattr(Kernel, "decode", decoding)
    np.testing.assert_array_equal(array[...], DATA)
    np.testing.assert_array_equal(array[:10, :12], DATA[:10, :12] + 1)


def test_missing_chunks_in_memory_are_filled(memory, calls):
    data = DATA.copy()
    data[:10, :12] = 7
    array = create(data, (10, 12), store=memory, fill_value=7)
    np.testing.assert_array_equal(array[:11, :13], data[:11, :13])
    assert calls == [3, ["c/0/0"]]


def test_objects_in_memory_are_not_copied():
    store = MemoryStore()
    array = create(DATA, (10, 12), store=store)
    place = StorePath(store, "c/0/0")
    data = asyncio.run(stores.whole_object(place, default_buffer_prototype()))
    assert np.shares_memory(np.asarray(data), store._store_dict["c/0/0"].as_numpy_array())
    assert array[0, 0] == DATA[0, 0]


def test_a_buffer_with_gaps_goes_zarrs_way(calls):
    store = MemoryStore()
    array = create(DATA, (10, 12), store=store)
    frame = store._store_dict["c/0/0"].as_numpy_array()
    store._store_dict["c/0/0"] = cpu.Buffer(np.repeat(frame, 2)[::2])
    calls.clear()
    with pytest.raises(TypeError, match="contiguous") as error:
        array[...]
    assert calls == [11, ["c/0/0"]]
    assert "c/0/0" in error.value.__notes__[0]


class Items(np.ndarray):
    """Stands for what is not in this memory, such as that of a GPU."""


class ItemsBuffer(cpu.NDBuffer):
    @classmethod
    def empty(cls, shape, dtype, order="C"):
        return cls(np.empty(shape, dtype, order).view(Items))


def test_output_elsewhere_goes_zarrs_way(memory, calls):
    array = create(DATA, (10, 12), store=memory)
    calls.clear()
    prototype = BufferPrototype(buffer=cpu.Buffer, nd_buffer=ItemsBuffer)
    found = array.get_basic_selection((5,), prototype=prototype)
    np.testing.assert_array_equal(found, DATA[5])
    assert calls[0] == ["c/0/0", "c/0/1", "c/0/2"]


def test_shards_in_memory_go_zarrs_way(memory, calls):
    codec = ShardingCodec(chunk_shape=(10, 12), codecs=[CODEC])
    array = create(DATA, (20, 36), codec, memory)
    np.testing.assert_array_equal(array[3:30, 5:], DATA[3:30, 5:])
    assert calls[0] == ["c/0/0", "c/1/0"]


class Remote(zarr.abc.store.Store):
    """Has objects behind a network, where each round of requests takes its time."""

    supports_writes = supports_deletes = supports_listing = True

    def __init__(self, data):
        super().__init__(read_only=True)
        self.data, self.waiting, self.rounds = data, [], []

    def __eq__(self, other):
        return self is other

    async def get(self, key, prototype, byte_range=None):
        if key == "zarr.json":
            return await self.data.get(key, prototype)
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        if len(self.waiting) == 1:
            asyncio.get_running_loop().call_later(0.05, self.answer)
        await answer
        return await self.data.get(key, prototype, byte_range)

    def answer(self):
        waiting, self.waiting = self.waiting, []
        self.rounds.append(len(waiting))
        for each in waiting:
            each.set_result(None)

    async def get_partial_values(self, prototype, key_ranges):
        raise NotImplementedError

    async def exists(self, key):
        return await self.data.exists(key)

    async def set(self, key, value):
        raise NotImplementedError

    async def delete(self, key):
        raise NotImplementedError

    def list(self):
        return self.data.list()

    def list_prefix(self, prefix):
        return self.data.list_prefix(prefix)

    def list_dir(self, prefix):
        return self.data.list_dir(prefix)


@pytest.mark.skipif(not hasattr(codec_pipeline, "FusedCodecPipeline"), reason="an earlier zarr")
def test_chunks_behind_a_network_come_together():
    memory = MemoryStore()
    create(DATA, (4, 4), store=memory)
    store = Remote(memory)
    array = zarr.open_array(store, mode="r")
    store.rounds.clear()
    np.testing.assert_array_equal(array[...], DATA)
    assert store.rounds == [90]  # each is read whole
    store.rounds.clear()
    np.testing.assert_array_equal(array[5, :], DATA[5])
    assert store.rounds[0] == 9 and len(store.rounds) <= 2


def test_all_else_goes_zarrs_way(tmp_path, calls):
    store = LoggingStore(MemoryStore(), log_level="CRITICAL")
    np.testing.assert_array_equal(create(DATA, (10, 12), store=store)[5], DATA[5])
    assert calls[0] == ["c/0/0", "c/0/1", "c/0/2"]
    array = stored(tmp_path / "plain", codec=BytesCodec())
    np.testing.assert_array_equal(array[5], DATA[5])
    filters = [TransposeCodec(order=(1, 0))]
    with pytest.warns(PartialReadsOffWarning):
        array = stored(tmp_path / "turned", filters=filters)
        np.testing.assert_array_equal(array[5], DATA[5])
    assert [call for call in calls if isinstance(call, list)][-1] == ["c/0/0", "c/0/1", "c/0/2"]
