"""The Zarr codec held against zarr's own: the same assignments, accepted and refused, stored, read.

`docs/reliability.md` says how to let it run for long.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from zarr.codecs import BytesCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore
from zarr_arrays import PIPELINES

import caterva_cffi as cat
from caterva_cffi.storage.replacement import is_possible
from caterva_cffi.zarr import CatervaCodec
from caterva_cffi.zarr_chunks import edited_files

obstore = pytest.importorskip("obstore.store")
fsspec = pytest.importorskip("fsspec")

SEQUENCES = int(os.environ.get("CATERVA_CFFI_SEQUENCES", "100"))
SEED = int(os.environ.get("CATERVA_CFFI_SEED", "0"))
AT_ONCE = 1000
"""Hypothesis remembers what it has tried, and takes longer with each."""

CHUNKINGS = ["chunks", "shards"]
if zarr.config.get("array.rectilinear_chunks", None) is not None:
    CHUNKINGS.append("rectilinear")
DTYPES = [
    ("<i4", 0, 7),
    ("u1", 3, 3),
    (">f8", -0.0, np.nan),
    ("bool", False, True),
    ("<M8[s]", np.datetime64("NaT", "s"), 5),
    ("|S3", b"ab", b"abc"),
    ("|S200", b"", b"abc"),  # chunks of which a first read brings a part
    ("<U2", "", "xy"),
    ([("a", "<i2"), ("b", "<f4")], (1, 2.0), (0, 0.5)),
]


class Asynchronous(MemoryStore):
    """Has no synchronous methods that work, as remote stores have none."""

    _supports_sync_io = False


def fsspec_store(path):
    return FsspecStore.from_url(f"memory://{path}")


STORES = {
    "memory": lambda path: MemoryStore(),
    "asynchronous": lambda path: Asynchronous(),
    "local": LocalStore,
    "obstore": lambda path: ObjectStore(obstore.MemoryStore()),
    "obstore on disk": lambda path: ObjectStore(obstore.LocalStore(path, mkdir=True)),
    "fsspec": fsspec_store,
}


async def listed(store):
    return sorted([key async for key in store.list() if not key.endswith(".json")])


def wrong_shapes(shape):
    """Return shapes that a selection's shape may be broadcast from, or must not."""
    less = [(*shape[:d], n, *shape[d + 1 :]) for d in range(len(shape)) for n in {0, 1, 2}]
    with_one = [(*shape[:d], 1, *shape[d:]) for d in range(len(shape) + 1)]
    fewer = [shape[:d] + shape[d + 1 :] for d in range(len(shape))]
    flat = [(int(np.prod(shape)),), shape[::-1], (1,) * len(shape), ()]
    return [*less, *with_one, *fewer, *flat]


@st.composite
def indices(draw, length):
    """Draw an index of one dimension."""
    kind = draw(st.sampled_from(["all", "slice", "step", "int"]))
    if kind == "int" and length:
        return draw(st.integers(-length, length - 1))
    if kind == "all":
        return slice(None)
    start, stop = (draw(st.integers(0, length)) for _ in range(2))
    return slice(start, stop, draw(st.integers(1, 3)) if kind == "step" else None)


@st.composite
def arrays_of_positions(draw, length, size):
    return np.array(
        draw(st.lists(st.integers(-length, length - 1), min_size=size, max_size=size)), int
    )


class Assignments(RuleBasedStateMachine):
    """Two arrays that differ in their codec, and undergo the same."""

    longest, longest_chunk = 9, 4

    def __init__(self):
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="machine", dir=memory))
        self.places = 0
        self.policy = cat.get_read_policy("local"), cat.get_read_policy("remote")
        self.cache_size = cat.get_cache_size()
        self.least, edited_files._LEAST = edited_files._LEAST, 0  # parts of small files stay, too

    def teardown(self):
        edited_files._LEAST = self.least
        cat.set_cache_size(self.cache_size)
        for name, policy in zip(("local", "remote"), self.policy, strict=True):
            cat.set_read_policy(name, policy)
        shutil.rmtree(self.folder)
        with contextlib.suppress(FileNotFoundError):
            fsspec.filesystem("memory").rm(str(self.folder), recursive=True)

    @initialize(
        data=st.data(),
        pipeline=st.sampled_from(list(PIPELINES)),
        ndim=st.integers(0, 3),
        dtype=st.sampled_from(DTYPES),
        chunking=st.sampled_from(CHUNKINGS),
        store=st.sampled_from(list(STORES)),
        cache=st.sampled_from([0, 2000, 16 << 20]),
        whole=st.sampled_from([0.5, 1.0]),
    )
    def create(self, data, pipeline, ndim, dtype, chunking, store, cache, whole):
        cat.set_cache_size(cache)
        for name in ("local", "remote"):
            cat.set_read_policy(name, cat.ReadPolicy(first=64, gap=0, whole=whole))
        self.store, self.in_order = STORES[store], store in ("memory", "asynchronous")
        self.rng = np.random.default_rng(0)
        self.pipeline = pipeline
        lengths = st.integers(0, self.longest)
        shape = tuple(data.draw(lengths) for _ in range(ndim))
        chunks = tuple(data.draw(st.integers(1, self.longest_chunk)) for _ in range(ndim))
        shards = tuple(n * data.draw(st.integers(1, 3)) for n in chunks)
        self.resizable = ndim and chunking != "rectilinear"
        if chunking == "rectilinear" and all(shape):
            sides = []
            for length in shape:
                cuts = data.draw(st.sets(st.integers(1, length), max_size=3))
                edges = np.diff(sorted({0, *cuts, length}))
                sides.append(edges.tolist())
            chunks = sides
        self.dtype, fill, self.value = np.dtype(dtype[0]), dtype[1], dtype[2]
        if self.dtype.names and "FusedCodecPipeline" not in PIPELINES:
            chunking = "chunks"  # earlier releases of zarr cannot hash what they say of such shards
        given = {
            "shape": shape,
            "chunks": chunks,
            "shards": shards if chunking == "shards" and ndim else None,
            "dtype": self.dtype,
            "fill_value": np.array(fill, self.dtype)[()],
            "config": {"write_empty_chunks": data.draw(st.booleans())},
            "compressors": None,
        }
        if chunking == "chunks":
            codec = CatervaCodec(block_shape=tuple(data.draw(st.integers(1, n)) for n in chunks))
        else:
            codec = CatervaCodec()
        theirs = BytesCodec(endian=None) if self.dtype.itemsize == 1 else BytesCodec()
        self.stores = self.new_stores()
        with self.quiet():
            self.arrays = [
                zarr.create_array(place, serializer=serializer, **given)
                for place, serializer in zip(self.stores, (theirs, codec), strict=True)
            ]

    def new_stores(self):
        self.places += 2
        return [self.store(self.folder / str(n)) for n in (self.places, self.places + 1)]

    def quiet(self):
        stack = zarr.config.set(
            {
                "codec_pipeline.path": PIPELINES[self.pipeline],
                "array.rectilinear_chunks": True,
            }
        )
        warnings.simplefilter("ignore")
        return stack

    @property
    def shape(self):
        return self.arrays[0].shape

    def both(self, action):
        """Do the same to both arrays; compare what comes of it, and what is stored."""
        before, _ = self.read()
        results = []
        with warnings.catch_warnings(), self.quiet():
            for array in self.arrays:
                try:
                    results.append(action(array))
                except Exception as error:
                    results.append(error)
        theirs, ours = results
        if isinstance(theirs, Exception):
            assert isinstance(ours, Exception), theirs
            if self.in_order or self.arrays[0].nchunks == 1:  # of many, the first one that ends
                assert isinstance(ours, type(theirs)), (theirs, ours)
                assert str(ours) == str(theirs)
            self.settle(before)
        elif isinstance(ours, Exception):
            raise ours
        else:
            assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
        keys = [sync(listed(store)) for store in self.stores]
        assert keys[0] == keys[1]
        theirs, ours = self.read()
        assert theirs.dtype == ours.dtype
        assert theirs.tobytes() == ours.tobytes()

    def read(self):
        with warnings.catch_warnings(), self.quiet():
            return [np.asarray(array[...]) for array in self.arrays]

    def settle(self, before):
        """Go on in new stores after a refusal: Zarr may still write chunks that did fit."""
        if self.shape != before.shape:  # an array is longer before what is appended is looked at
            before = self.read()[0]
        elif self.arrays[1].nchunks == 1:
            assert self.read()[1].tobytes() == before.tobytes()
        stores, self.stores = self.stores, self.new_stores()
        for old, new in zip(stores, self.stores, strict=True):
            document = sync(old.get("zarr.json", default_buffer_prototype()))
            sync(new.set("zarr.json", document))
        with warnings.catch_warnings(), self.quiet():
            config = self.arrays[0].config
            self.arrays = [zarr.open_array(s, mode="r+", config=config) for s in self.stores]
            for array in self.arrays:
                array[...] = before

    def items(self, shape, kind):
        """Return items of a shape: random ones, the fill value, or one value."""
        if kind == "fill":
            return np.full(shape, self.arrays[0].fill_value, self.dtype)
        if kind == "value":
            return np.full(shape, np.array(self.value, self.dtype), self.dtype)
        integers = self.rng.integers(0, 100, shape)
        if self.dtype.itemsize == 200:
            noise = self.rng.integers(0, [2, 256][self.rng.integers(2)], (*shape, 200), "u1")
            return noise.view(self.dtype).reshape(shape)
        if self.dtype.names:
            items = np.empty(shape, self.dtype)
            for name in self.dtype.names:
                items[name] = integers
            return items
        return integers.astype(self.dtype)

    def values(self, data, shape):
        shapes = wrong_shapes(shape) if data.draw(st.booleans()) else [shape]
        kind = data.draw(st.sampled_from(["random", "fill", "value"]))
        value = self.items(data.draw(st.sampled_from(shapes)), kind)
        if self.dtype.names and data.draw(st.booleans()):
            value = value.view([("c", "<i2"), ("d", "<f4")])  # other names, the same bytes
        return value

    @rule(data=st.data())
    def assign(self, data):
        key = tuple(data.draw(indices(n)) for n in self.shape)
        value = self.values(data, np.empty(self.shape, "u1")[key].shape)
        self.both(lambda z: z.__setitem__(key if key else ..., value))

    @rule(data=st.data())
    def assign_everything(self, data):
        value = self.values(data, self.shape)
        self.both(lambda z: z.__setitem__(..., value))

    @precondition(lambda self: self.shape and all(self.shape))
    @rule(data=st.data())
    def assign_orthogonal(self, data):
        key = []
        for length in self.shape:
            if data.draw(st.booleans()):
                key.append(data.draw(arrays_of_positions(length, data.draw(st.integers(1, 3)))))
            else:
                key.append(data.draw(indices(length)))
        lengths = [
            len(k) if isinstance(k, np.ndarray) else len(range(n)[k])
            for k, n in zip(key, self.shape, strict=True)
            if not isinstance(k, int)
        ]
        value = self.values(data, tuple(lengths))
        self.both(lambda z: z.oindex.__setitem__(tuple(key), value))

    @precondition(lambda self: self.shape and all(self.shape))
    @rule(data=st.data())
    def assign_points(self, data):
        if data.draw(st.booleans()):
            key = self.rng.integers(0, 3, self.shape) == 0
            shape = (int(key.sum()),)
        else:
            size = data.draw(st.integers(1, 4))
            key = tuple(data.draw(arrays_of_positions(n, size)) for n in self.shape)
            shape = (size,)
        value = self.values(data, shape)
        self.both(lambda z: z.vindex.__setitem__(key, value))

    @precondition(lambda self: self.resizable)
    @rule(data=st.data())
    def resize(self, data):
        shape = tuple(data.draw(st.integers(0, self.longest)) for _ in self.shape)
        self.both(lambda z: z.resize(shape))

    @precondition(lambda self: self.resizable)
    @rule(data=st.data())
    def append(self, data):
        axis = data.draw(st.integers(0, len(self.shape) - 1))
        shape = (*self.shape[:axis], 2, *self.shape[axis + 1 :])
        value = self.values(data, shape)
        self.both(lambda z: z.append(value, axis=axis))

    @rule(data=st.data())
    def read_a_part(self, data):
        key = tuple(data.draw(indices(n)) for n in self.shape)
        with warnings.catch_warnings(), self.quiet():
            theirs, ours = (np.asarray(array[key if key else ...]) for array in self.arrays)
        assert theirs.shape == ours.shape
        assert theirs.tobytes() == ours.tobytes()

    @rule()
    def reopen(self):
        with warnings.catch_warnings(), self.quiet():
            self.arrays = [zarr.open_array(store, mode="r+") for store in self.stores]


class LargerFiles(Assignments):
    """The same with chunks in files of which blocks stay as they are."""

    longest, longest_chunk = 40, 30

    @initialize(
        data=st.data(),
        ndim=st.integers(1, 2),
        dtype=st.sampled_from(DTYPES),
        whole=st.sampled_from([0.5, 1.0]),
    )
    def create(self, data, ndim, dtype, whole):
        super().create(data, "CatervaPipeline", ndim, dtype, "chunks", "local", 16 << 20, whole)


@pytest.mark.parametrize("machine", [Assignments, LargerFiles])
def test_arrays_are_what_they_are_by_the_codec_of_zarr(machine, monkeypatch):
    replaced, replace = [], edited_files.replace_file
    monkeypatch.setattr(
        edited_files, "replace_file", lambda *args: replaced.append(replace(*args)) or replaced[-1]
    )
    for first in range(0, SEQUENCES, AT_ONCE):
        run_state_machine_as_test(
            seed(SEED + first)(machine),
            settings=settings(
                max_examples=min(AT_ONCE, SEQUENCES - first),
                stateful_step_count=12,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
    assert any(replaced) or machine is Assignments or not is_possible
