"""Zarr arrays, verified in every store, in shards, and beside what is not ours."""

from __future__ import annotations

import asyncio
import json
import shutil

import icechunk
import numcodecs
import numpy as np
import obstore
import pytest
import zarr
from damage import CHECKED, FRAME, flipped, frame_of
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.storage import FsspecStore, MemoryStore, ObjectStore, ZipStore
from zarr_directories import settle

import caterva_cffi as cat
from caterva_cffi.__main__ import main
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec


def flip(path, at=-1):
    path.write_bytes(flipped(path.read_bytes(), at))


@pytest.fixture(params=["Batched", "Fused"])
def _pipeline(request):
    path = f"zarr.core.codec_pipeline.{request.param}CodecPipeline"
    if not hasattr(zarr.core.codec_pipeline, path.rpartition(".")[2]):
        path = "zarr.core.codec_pipeline.BatchedCodecPipeline"  # the only one of an older zarr
    with zarr.config.set({"codec_pipeline.path": path}):
        yield


def create(store, name=None, checksum=True, **kwargs):
    options = {
        "shape": (20, 12), "chunks": (5, 4), "dtype": "<i4", "compressors": None,
        "serializer": CatervaCodec(block_shape=(5, 2), checksum=checksum), **kwargs,
    }  # fmt: skip
    array = zarr.create_array(store, name=name, **options)
    array[:15] = np.arange(1, 181).reshape(15, 12)
    return array


SHARDS = {"chunks": (10, 12), "serializer": ShardingCodec(
    chunk_shape=(5, 4), codecs=[CatervaCodec(block_shape=(5, 2), checksum=True)],
    index_codecs=[BytesCodec()],
)}  # fmt: skip
BESIDE = {
    "alone": {},
    "gzip": {"compressors": GzipCodec()},
    "transpose": {"filters": [TransposeCodec(order=(1, 0))]},
    "shards": {"shards": (10, 12)},
    "gzip in shards": {"shards": (10, 12), "compressors": GzipCodec()},
    "shards without a checksum": SHARDS,
}


@pytest.mark.filterwarnings("ignore:partial reads are off", "ignore:block_shape")
@pytest.mark.parametrize("options", BESIDE.values(), ids=BESIDE)
@pytest.mark.usefixtures("_pipeline")
def test_zarr_arrays(options, tmp_path):
    path = tmp_path / "a.zarr"
    array = create(path, **options)
    for source in (path, array, array.async_array, array.store):
        found = cat.verify(source)
        assert found.whole and found.missing == 3
        assert found.checked.chunks == found.checksums.chunks == 9
        assert found.checked.blocks >= 18
        assert any("Zarr's metadata" in each and ": 3)" in each for each in found.unprotected)
        assert any("shards" in each for each in found.unprotected) is (options is SHARDS)
    stored = path / "c" / "0" / "0"
    flip(stored, len(stored.read_bytes()) // 2)
    found = cat.verify(path)
    assert 1 <= len(found) <= 2 and found.missing == 3
    assert all(f"{stored}" in damage.where for damage in found)


def test_our_pipeline_leaves_no_chunk_unchecked(tmp_path):
    create(tmp_path, shape=(20, 4))
    settle(tmp_path)  # before that, the pipeline reads no file
    stored = tmp_path / "c" / "1" / "0"
    with zarr.config.set({"codec_pipeline.path": "caterva_cffi.zarr.CatervaPipeline"}):
        found = cat.verify(tmp_path)
        assert found.whole and (found.checked.chunks, found.missing) == (3, 1)
        flip(stored)  # in the trailer, which no read needs
        settle(tmp_path)
        assert [damage.where for damage in cat.verify(tmp_path)] == [f"file://{stored}"]
        memory = create(MemoryStore(), shape=(20, 4))
        assert cat.verify(memory).checked.chunks == 3
        asyncio.run(memory.store.set("c/1/0", cpu.Buffer.from_bytes(stored.read_bytes())))
        assert [damage.where[-5:] for damage in cat.verify(memory)] == ["c/1/0"]


@pytest.mark.usefixtures("_pipeline")
def test_damage_in_shards_hides_no_other_damage(tmp_path):
    path = tmp_path / "a.zarr"
    create(path, shards=(20, 12))
    stored = path / "c" / "0" / "0"
    data = stored.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"b2frame", at)]
    assert len(starts) == 9
    for at in (starts[0], starts[4]):
        data = flipped(data, at + 200)
    stored.write_bytes(data)
    assert len(cat.verify(path)) == 2


def test_objects_that_are_not_of_the_array(tmp_path):
    path = tmp_path / "a.zarr"
    create(path, checksum=True)
    objects = [path / "c" / "0" / str(k) for k in range(3)]
    objects[0].write_bytes(b"a,b\n")
    objects[1].write_bytes(CHECKED)
    objects[2].write_bytes(frame_of(np.zeros((5, 4), "<i4"), chunks=(5, 4), blocks=(5, 4)))
    found = cat.verify(path)
    assert [damage.where for damage in found] == [f"file://{each}" for each in objects]
    assert "no Blosc2 frame" in found[0].message
    assert "shape (1000,)" in found[1].message
    assert "has no checksums, which the array's codec writes" in found[2].message


@pytest.mark.filterwarnings("ignore:partial reads are off")
def test_arrays_that_open_gave(tmp_path):
    create(tmp_path / "a")
    flip(tmp_path / "a/c/1/1")
    opened = cat.open(tmp_path / "a")
    assert cat.verify(opened) == cat.verify(tmp_path / "a")
    assert [each.where for each in cat.verify(opened).damages] != []
    (tmp_path / "a").rename(tmp_path / "b")
    with pytest.raises(cat.ArgumentError, match="give zarr's array"):
        cat.verify(opened)


def test_zarr_format_2(tmp_path):
    group = zarr.create_group(tmp_path / "g", zarr_format=2)
    items = np.arange(1, 241, dtype="<i4").reshape(20, 12)
    for name, options in {
        "alone": {"compressors": Caterva(checksum=True)},
        "filter": {"filters": [Caterva()], "compressors": numcodecs.Zlib()},
        "delta": {"filters": [numcodecs.Delta("<i4")], "compressors": Caterva()},
        "zlib": {"compressors": numcodecs.Zlib()},
        "none": {"compressors": None},
    }.items():
        group.create_array(name, shape=(20, 12), chunks=(5, 4), dtype="<i4", **options)[:] = items
    found = cat.verify(tmp_path / "g")
    assert found.decodes and not found.whole
    assert found.checked == cat.Counts(3, 36, 36) and found.checksums == cat.Counts(1, 12, 12)
    passed = {each.where.rpartition("/")[2]: each.reason for each in found.passed_over}
    assert passed == {"zlib": "encoded by zlib", "none": "encoded by no codec"}
    (tmp_path / "g" / "filter" / "1.1").write_bytes(b"?")
    flip(tmp_path / "g" / "alone" / "0.2", 150)
    (tmp_path / "g" / "delta" / "0.0").write_bytes(FRAME)
    assert {damage.where.partition("/g/")[2] for damage in cat.verify(tmp_path / "g")} == {
        "filter/1.1", "alone/0.2", "delta/0.0",
    }  # fmt: skip


def test_a_group_is_read_beside_what_cannot_be(tmp_path):
    path = tmp_path / "g"
    group = zarr.create_group(path)
    for name in ("ours", "unknown", "cut", "list", "strange", "sub/deep"):
        create(group.store_path, name=name)
    create(group.store_path, name="zstd", serializer="auto", compressors="auto")
    change(path / "unknown", lambda codecs: codecs.insert(1, {"name": "squeeze7"}))
    change(path / "strange", lambda codecs: codecs[0]["configuration"].update(clevel=77))
    (path / "cut" / "zarr.json").write_text('{"zarr_f')
    (path / "list" / "zarr.json").write_text("[]")
    (path / "stray").mkdir()
    (path / "stray" / "x").write_text("x")
    (path / "README").write_text("x")
    found = cat.verify(path)
    assert not found and found.checked.arrays == 2
    assert found.verdict == "not all of it can be read"
    assert [each.where.rpartition("/")[2] for each in found.unreadable] == [
        "cut", "list", "strange", "unknown",
    ]  # fmt: skip
    assert {each.where.rpartition("/")[2]: each.reason for each in found.passed_over} == {
        "stray": "no metadata of Zarr", "zstd": "encoded by bytes, zstd",
    }  # fmt: skip
    assert main(["verify", str(path)]) == 2


def change(path, edit):
    document = json.loads((path / "zarr.json").read_text())
    edit(document["codecs"])
    (path / "zarr.json").write_text(json.dumps(document))


def test_arrays_that_consolidated_metadata_do_not_list(tmp_path):
    path = tmp_path / "g"
    group = zarr.create_group(path)
    create(group.store_path, name="a")
    with pytest.warns(UserWarning, match="[Cc]onsolidated"):
        zarr.consolidate_metadata(path)
    create(group.store_path, name="b")
    assert cat.verify(path).checked.arrays == cat.verify(zarr.open(path)).checked.arrays == 2


def test_nothing_of_ours(tmp_path):
    create(tmp_path / "a", serializer="auto")
    zarr.create_group(tmp_path / "g")
    for source in ("a", "g"):
        with pytest.raises(cat.ArgumentError, match="no array that a codec of this package"):
            cat.verify(tmp_path / source)
    with pytest.raises(cat.ArgumentError, match="encoded by bytes"):
        cat.verify(zarr.open_array(tmp_path / "a"))
    with pytest.raises(cat.ArgumentError, match="neither a Zarr array nor a group"):
        cat.verify(MemoryStore())


STORES = {
    "memory": MemoryStore,
    "obstore": lambda: ObjectStore(obstore.store.MemoryStore()),
    "fsspec": lambda: FsspecStore.from_url("memory://verified"),
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_stores(make):
    store = make()
    array = create(store, name="a")
    assert cat.verify(array).whole and cat.verify(store).checked.arrays == 1
    key = array.store_path / "c/0/0"
    stored = zarr.core.sync.sync(key.get(default_buffer_prototype())).to_bytes()
    buffer = default_buffer_prototype().buffer.from_bytes(flipped(stored, -1))
    zarr.core.sync.sync(key.set(buffer))
    [damage], [same] = cat.verify(store), cat.verify(array)
    assert damage == same and damage.where.endswith("a/c/0/0") and "\n" not in damage.where


def test_icechunk():
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repository.writable_session("main")
    create(session.store, name="a")
    create(session.store, name="b", serializer="auto")
    session.commit("both")
    found = cat.verify(repository.readonly_session("main").store)
    assert found.whole and [each.where for each in found.passed_over] == ["IcechunkStore:b"]


def test_zip_files(tmp_path, capsys):
    path = tmp_path / "a.zip"
    with ZipStore(path, mode="w") as store:
        create(store)
    found = cat.verify(path)
    assert found.whole and found.checked.chunks == 9
    (tmp_path / "d").mkdir()
    shutil.make_archive(str(tmp_path / "empty"), "zip", tmp_path / "d")
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:300])
    for name in ("empty.zip", "cut.zip"):
        assert main(["verify", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err


class Failing(MemoryStore):
    async def get(self, key, prototype=None, byte_range=None):
        if key.endswith("c/0/1"):
            raise PermissionError(13, "not you", key)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key, *, prototype=None, byte_range=None):
        if key.endswith("c/0/1"):
            raise PermissionError(13, "not you", key)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)


@pytest.mark.filterwarnings("ignore:partial reads are off")
@pytest.mark.parametrize("options", [{}, {"compressors": GzipCodec()}])
@pytest.mark.usefixtures("_pipeline")
def test_what_a_store_does_not_give_is_not_damaged(options):
    store = MemoryStore()
    create(store, **options)
    found = cat.verify(zarr.open_array(Failing(store._store_dict), mode="r"))
    assert not found and found.checked.chunks == 8
    [place] = found.unreadable
    assert place.where.endswith("c/0/1") and "not you" in place.reason


def test_chunks_of_several_lengths(tmp_path):
    is_new = hasattr(zarr.Array, "write_chunk_sizes")  # an older zarr has no such chunks
    with zarr.config.set({"array.rectilinear_chunks": True}):
        create(tmp_path / "a", chunks=[[5, 15], [4, 8]] if is_new else (15, 8))
        found = cat.verify(tmp_path / "a")
    assert found.whole and found.checked.chunks == (4 if is_new else 2)


def test_shards_in_shards(tmp_path):
    inner = ShardingCodec(
        chunk_shape=(5, 4), codecs=[CatervaCodec(checksum=True)],
        index_codecs=[BytesCodec(), Crc32cCodec()],
    )  # fmt: skip
    serializer = ShardingCodec(chunk_shape=(10, 4), codecs=[inner])
    create(tmp_path / "a", chunks=(20, 12), serializer=serializer)
    found = cat.verify(tmp_path / "a")
    assert found.whole and found.checked.chunks == 9 and found.missing == 3
