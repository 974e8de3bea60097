"""Parts of chunks in files, written: blocks that stay are neither read nor compressed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest
import zarr
from system_reads import counted_by_the_system, system_reads
from zarr.storage import LocalStore
from zarr_arrays import PIPELINES, create, unstable

import caterva_cffi as cat
from caterva_cffi.storage.replacement import is_possible
from caterva_cffi.zarr import CatervaCodec
from caterva_cffi.zarr_chunks import edited_files as module

pytestmark = pytest.mark.skipif(not is_possible, reason="needs POSIX")

RNG = np.random.default_rng(0)
DATA = RNG.integers(0, 99, (80, 72), "<i4")
ELSEWHERE = [name for name in PIPELINES if name != "CatervaPipeline"][-1]


@pytest.fixture(autouse=True)
def pipeline(monkeypatch):
    monkeypatch.setattr(module, "_LEAST", 0)
    with zarr.config.set({"codec_pipeline.path": PIPELINES["CatervaPipeline"]}):
        yield


@pytest.fixture
def replaced(monkeypatch):
    """Record which files are replaced by ones that have parts of them."""
    found, replace = [], module.replace_file

    def replacing(path, *arguments):
        found.append(path)
        return replace(path, *arguments)

    monkeypatch.setattr(module, "replace_file", replacing)
    return found


def chunks_of(path):
    return {p.relative_to(path): p.read_bytes() for p in path.rglob("c/**/*") if p.is_file()}


@pytest.mark.parametrize(
    ("key", "count"),
    [
        (np.s_[3, 4], 1),
        (np.s_[5], 3),
        (np.s_[:, 7], 4),
        (np.s_[19:21, 23:25], 4),
        (np.s_[::14, 3::2], 12),
        (np.s_[0:20, 0:25], 1),  # one chunk is written whole
    ],
)
@pytest.mark.parametrize(
    "codec", [{}, {"checksum": True, "cname": "zstd"}, {"chunk_shape": (10, 24)}]
)
def test_the_bytes_are_those_of_zarrs_own_way(tmp_path, replaced, codec, key, count):
    codec = CatervaCodec(block_shape=(8, 8), **codec)
    ours = create(DATA, (20, 24), codec, tmp_path / "ours")
    with zarr.config.set({"codec_pipeline.path": PIPELINES[ELSEWHERE]}):
        theirs = create(DATA, (20, 24), codec, tmp_path / "theirs")
    expected = DATA.copy()
    for _ in range(2):
        new = RNG.integers(0, 99, DATA[key].shape, "<i4")
        expected[key] = ours[key] = theirs[key] = new
    assert len(replaced) == 2 * count
    np.testing.assert_array_equal(ours[...], expected)
    assert chunks_of(tmp_path / "ours") == chunks_of(tmp_path / "theirs")


@unstable
@pytest.mark.parametrize("dtype", [">f8", "S3", "<M8[s]", "bool"])
def test_dtypes(tmp_path, replaced, dtype):
    nbytes = 80 * 72 * np.dtype(dtype).itemsize
    data = (np.arange(nbytes) // 7 % 2).astype("u1").view(dtype).reshape(80, 72)
    array = create(data, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path)
    array[3:63, 5] = data[1, 1]
    data[3:63, 5] = data[1, 1]
    assert array[...].tobytes() == data.tobytes()
    assert len(replaced) == 4


def test_index_arrays_are_written_in_zarrs_way(tmp_path, replaced):
    array, expected = create(DATA, (20, 24), store=tmp_path), DATA.copy()
    array.oindex[[79, 0, 7], 5:9] = expected[[79, 0, 7], 5:9] = -1
    array.vindex[DATA > 95] = expected[DATA > 95] = -2
    np.testing.assert_array_equal(array[...], expected)
    assert replaced == []


def test_other_parameters_are_written_in_zarrs_way(tmp_path, replaced):
    create(DATA, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path)
    document = (tmp_path / "zarr.json").read_text()
    (tmp_path / "zarr.json").write_text(document.replace('"lz4"', '"zstd"'))
    array = zarr.open_array(tmp_path, mode="r+")
    array[5, 6] = -1
    assert array[5, 6] == -1 and (array[5, 7:] == DATA[5, 7:]).all()
    assert replaced == []


def test_chunks_of_the_fill_value_are_dropped(tmp_path):
    data = np.zeros_like(DATA)
    data[5, 6] = data[25, 6] = 7
    array = create(data, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path)
    array[5, 6] = 0
    array[45, 6] = 1
    assert sorted(map(str, chunks_of(tmp_path))) == ["c/1/0", "c/2/0"]


@counted_by_the_system
def test_only_blocks_that_change_are_read(tmp_path):
    data = RNG.random((256, 256, 32), "f4").round(4)
    array = create(data, data.shape, CatervaCodec(block_shape=(32, 32, 32)), tmp_path)
    size = (tmp_path / "c/0/0/0").stat().st_size
    with system_reads() as reads:
        array[100, 100, 10] = data[100, 100, 10] = -1
    assert reads[0].nbytes < 200_000 < size / 30
    np.testing.assert_array_equal(array[...], data)


def test_damage_elsewhere_in_a_chunk_does_not_hinder(tmp_path):
    array = create(DATA, (80, 72), CatervaCodec(block_shape=(8, 8), checksum=True), tmp_path)
    path = tmp_path / "c/0/0"
    frame = bytearray(path.read_bytes())
    frame[-130] ^= 1  # in the block that is stored last
    path.write_bytes(frame)
    array[0, 0] = 5
    assert array[0, 0] == 5
    with pytest.raises(cat.FormatError):
        array[...]
    with pytest.raises(cat.FormatError):
        array[::3, ::3] = 5


@pytest.mark.parametrize("happens", ["replaced", "changed", "deleted"])
def test_a_chunk_that_changes_meanwhile_is_edited_as_it_is_then(tmp_path, monkeypatch, happens):
    array = create(DATA, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path / "a")
    create(DATA + 1, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path / "other")
    path, replace = tmp_path / "a/c/0/0", module.replace_file

    def replacing(*arguments):
        if happens == "deleted":
            path.unlink()
        elif happens == "replaced":
            os.replace(tmp_path / "other/c/0/0", path)
        else:
            path.write_bytes((tmp_path / "other/c/0/0").read_bytes())
            os.utime(path)
        return replace(*arguments)

    monkeypatch.setattr(module, "replace_file", replacing)
    array[1, 2] = -1
    expected = DATA[:20, :24] + (happens != "deleted")
    expected[1, 2] = -1
    np.testing.assert_array_equal(array[:20, :24], expected)


CRASH = """
import os, sys, zarr
from caterva_cffi.zarr_chunks import edited_files
edited_files._LEAST = 0
write = os.writev
os.writev = lambda new, parts: write(new, parts[:1]) and os._exit(9)
zarr.config.set({"codec_pipeline.path": "caterva_cffi.zarr.CatervaPipeline"})
zarr.open_array(sys.argv[1], mode="r+")[1, 2] = -1
"""


def test_a_crash_leaves_the_old_chunk(tmp_path):
    create(DATA, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path)
    before = chunks_of(tmp_path)
    assert subprocess.run([sys.executable, "-c", CRASH, tmp_path], timeout=60).returncode == 9
    after = chunks_of(tmp_path)
    assert before.items() <= after.items()
    assert [path.suffix for path in after.keys() - before.keys()] == [".partial"]


def test_what_the_system_refuses_goes_zarrs_way(tmp_path, monkeypatch):
    array = create(DATA, (20, 24), CatervaCodec(block_shape=(8, 8)), tmp_path)

    def refuse(*_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "writev", refuse)
    array[1, 2] = -1
    assert array[1, 2] == -1 and (array[1, 3:] == DATA[1, 3:]).all()


def test_stores_that_are_read_only_stay_so(tmp_path):
    create(DATA, (20, 24), store=tmp_path)
    before = chunks_of(tmp_path)
    array = zarr.open_array(LocalStore(tmp_path, read_only=True), mode="r")
    with pytest.raises(ValueError, match="read-only"):
        array[1, 2] = -1
    assert chunks_of(tmp_path) == before


def test_descriptors_are_closed(tmp_path):
    array = create(DATA, (4, 4), CatervaCodec(block_shape=(2, 2)), tmp_path)
    before = len(os.listdir("/dev/fd"))
    array[1:39, 1:35] = DATA[1:39, 1:35]
    with pytest.raises(IndexError):
        array[1:3, 1:3] = [1, 2, 3]
    assert len(os.listdir("/dev/fd")) == before
