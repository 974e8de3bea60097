"""Files whose pages the system has forgotten: the same items, and no bytes that nobody wants."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from system_reads import counted_by_the_system
from zarr_arrays import PIPELINES
from zarr_directories import settle, write

import caterva_cffi as cat

pytestmark = counted_by_the_system

SHAPE, CHUNKS, BLOCKS = (128, 256, 256), (64, 256, 256), (16, 32, 32)
DATA = np.random.default_rng(0).standard_normal(SHAPE, "f4")
SCATTERED = tuple(np.random.default_rng(1).integers(0, 128, (3, 40)))
PAGE = os.sysconf("SC_PAGESIZE")
AHEAD = 64 << 10  # that the system may read with the beginning of each file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cold")
    for name, contiguous in (("file", True), ("directory", False)):
        options = {"chunks": CHUNKS, "blocks": BLOCKS, "contiguous": contiguous}
        cat.asarray(DATA, urlpath=str(path / name), **options).close()
    write(path / "zarr", DATA, CHUNKS, block_shape=BLOCKS)
    for each in files(path):
        with open(each, "rb+") as file:
            os.fsync(file.fileno())
    settle(path)
    return path


def files(folder):
    return [each for each in folder.rglob("*") if each.is_file()]


def forget(folder):
    """Let the system drop the pages of all files."""
    for each in files(folder):
        with open(each, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def from_disk():
    """Return how many bytes came from disks for this process; none if there is no disk."""
    return int(re.search(r"\nread_bytes: (\d+)", Path("/proc/self/io").read_text())[1])


def opened(folder, kind):
    if kind != "pipeline":
        return cat.open(folder / kind)
    with zarr.config.set({"codec_pipeline.path": PIPELINES["CatervaPipeline"]}):
        return zarr.open_array(folder / "zarr", mode="r")


@pytest.mark.parametrize(
    "key",
    [np.s_[3, 4, 5], np.s_[5], np.s_[:, 100], np.s_[..., 200], np.s_[60:70, :20, 5:90], np.s_[...]],
)
@pytest.mark.parametrize("kind", ["file", "directory", "zarr", "pipeline"])
def test_what_is_wanted_is_read(folder, kind, key):
    array = opened(folder, kind)
    array[0, 0, 0]
    told = cat.open(folder / ("zarr" if kind == "pipeline" else kind)).explain(key)
    read = []
    for _ in range(3):  # pages of programs come from the disk as well, once in a while
        forget(folder)
        before = from_disk()
        found = array[key]
        read.append(from_disk() - before)
        np.testing.assert_array_equal(found, DATA[key])
    pages = 2 * PAGE * told.requests
    assert min(read) <= told.nbytes + pages + told.nchunks * AHEAD


@pytest.mark.parametrize("kind", ["file", "directory", "zarr"])
def test_scattered_items(folder, kind):
    array = opened(folder, kind)
    forget(folder)
    np.testing.assert_array_equal(array[SCATTERED], DATA[SCATTERED])
    starts = np.transpose(SCATTERED)
    forget(folder)
    crops = array.read_many(starts, (3, 20, 30))
    for crop, (i, j, k) in zip(crops, starts, strict=True):
        np.testing.assert_array_equal(crop, DATA[i : i + 3, j : j + 20, k : k + 30])
