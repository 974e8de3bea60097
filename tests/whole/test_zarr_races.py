"""Zarr chunks that another process rewrites while they are read: each is old, new, or an error.

`docs/reliability.md` says how to let it run for long.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from functools import cache

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, ObjectStore
from zarr_arrays import PIPELINES

import caterva_cffi as cat
from caterva_cffi.engine import object_files
from caterva_cffi.storage import positioned_reads
from caterva_cffi.zarr import CatervaCodec

obstore = pytest.importorskip("obstore.store")

ROUNDS = int(os.environ.get("CATERVA_CFFI_ROUNDS", "60"))
SIDE, CHUNK = 64, 32
VERSIONS = 24
SEED = int(os.environ.get("CATERVA_CFFI_SEED", "0"))
STORES = {
    "local": LocalStore,
    "obstore": lambda path: ObjectStore(obstore.LocalStore(path, mkdir=True)),
}
"""Stores of files that tell which version a range is of; see docs/zarr.md for others."""

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@cache
def version(number):
    """Items of a chunk: zeros, few numbers, many that compress, or noise; each block names it."""
    rng = np.random.default_rng(number)
    items = rng.integers(0, [1, 3, 1 << 10, 1 << 31][number % 4], (CHUNK, CHUNK)).astype("<i4")
    items[::4, ::4] = number
    return items


def create(path, shards):
    z = zarr.create_array(
        LocalStore(path),
        shape=(SIDE, SIDE),
        chunks=(CHUNK, CHUNK),
        shards=(SIDE, SIDE) if shards else None,
        dtype="<i4",
        fill_value=0,
        serializer=CatervaCodec(block_shape=(4, 4)),
        compressors=None,
    )
    z[...] = np.tile(version(1), (2, 2))


def encoded(folder, shards):
    """Return the stored object of each version, by its number."""
    objects = {}
    for number in range(1, VERSIONS):
        path = folder / f"v{number}"
        create(path, shards)
        zarr.open_array(LocalStore(path), mode="r+")[...] = np.tile(version(number), (2, 2))
        objects[number] = (path / "c/0/0").read_bytes()
    return objects


def write_by_zarr(place, objects, number):
    z = zarr.open_array(LocalStore(place), mode="r+")
    z[...] = np.tile(version(number), (2, 2))


def write_a_part(place, objects, number):
    z = zarr.open_array(LocalStore(place), mode="r+")
    z[:CHUNK, :CHUNK] = version(number)


def replace(place, objects, number):
    (place / "new").write_bytes(objects[number])
    os.replace(place / "new", place / "c/0/0")


def write_in_place(place, objects, number):
    with open(place / "c/0/0", "r+b" if number % 2 else "wb", buffering=0) as file:
        file.write(objects[number])
        file.truncate()


def delete(place, objects, number):
    with contextlib.suppress(FileNotFoundError):
        os.remove(place / "c/0/0")


REPLACING = [write_by_zarr, write_a_part, replace, delete]


def rewrite(place, objects, ways, seed):
    rng = random.Random(seed)
    while True:
        rng.choice(ways)(place, objects, rng.randrange(1, VERSIONS))
        time.sleep(rng.choice([0, 0, 0.001, 0.003]))


SELECTIONS = [
    np.s_[:CHUNK, :CHUNK],
    np.s_[:CHUNK:2, :CHUNK:4],
    np.s_[3:22, 5:7],
    np.s_[0, :CHUNK],
    np.s_[8:13, 8:13],
]


@pytest.fixture(autouse=True)
def smallest_parts():
    policies = {name: cat.get_read_policy(name) for name in ("local", "remote")}
    for name in policies:
        cat.set_read_policy(name, cat.ReadPolicy(first=64, gap=0, whole=1.0))
    yield
    for name, policy in policies.items():
        cat.set_read_policy(name, policy)


def is_one_version(found, key):
    """Whether items are of one version; a chunk that is deleted has the fill value."""
    return not found.any() or any(
        np.array_equal(found, version(number)[key]) for number in range(1, VERSIONS)
    )


CASES = [
    ("local", "chunks", REPLACING),
    ("local", "shards", REPLACING),
    ("obstore", "chunks", REPLACING),
    ("obstore", "shards", REPLACING),
    ("local", "chunks", [write_in_place]),
    ("local", "shards", [write_in_place]),
]


@pytest.mark.parametrize("pipeline", list(PIPELINES))
@pytest.mark.parametrize(
    ("store", "chunking", "ways"), CASES, ids=[f"{s}-{kind}-{len(w)}" for s, kind, w in CASES]
)
def test_what_is_read_is_of_one_version(store, chunking, ways, pipeline, tmp_path):
    place, shards = tmp_path / "a", chunking == "shards"
    create(place, shards)
    objects = encoded(tmp_path, shards)
    child = os.fork()
    if not child:
        try:
            rewrite(place, objects, ways, SEED)
        finally:
            os._exit(1)
    read, mixed = 0, []
    try:
        with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}):
            z = zarr.open_array(STORES[store](str(place)), mode="r")
            for number in range(ROUNDS):
                key = SELECTIONS[number % len(SELECTIONS)]
                try:
                    found = z[key]
                except (cat.FormatError, cat.StorageError):
                    continue
                except ValueError as error:  # zarr's, of a shard's index
                    assert shards and ("shard" in str(error) or "checksum" in str(error)), error
                    continue
                read += 1
                if not is_one_version(found, key):
                    mixed.append(found)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert read and not mixed


@pytest.mark.parametrize(
    ("age", "stands_still"), [(0, True), (3600, False)], ids=["its time stands still", "old"]
)
def test_a_file_that_is_written_in_place_while_it_is_read(age, stands_still, tmp_path, monkeypatch):
    place = tmp_path / "a"
    create(place, shards=False)
    file = place / "c/0/0"
    objects = encoded(tmp_path, shards=False)  # of which 3 and 7 are noise
    assert len(objects[3]) == len(objects[7])
    file.write_bytes(objects[3])
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns - age * 10**9
    if age:
        os.utime(file, ns=times)
    read_ranges = positioned_reads.read_ranges

    def read_and_write(descriptor, ranges):
        found = read_ranges(descriptor, ranges)
        file.write_bytes(objects[7])
        if stands_still:
            os.utime(file, ns=times)
        return found

    z = zarr.open_array(LocalStore(place), mode="r")
    for module in (object_files, positioned_reads):
        monkeypatch.setattr(module, "read_ranges", read_and_write)
    with pytest.raises(cat.StorageError, match="was changed in place while it was read"):
        z[:CHUNK:9, :CHUNK:9]
    monkeypatch.undo()
    assert np.array_equal(z[:CHUNK, :CHUNK], version(7))
