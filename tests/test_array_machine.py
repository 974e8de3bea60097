"""Arrays held against NumPy: every way of changing and reading, wherever and however stored.

`HYPOTHESIS_PROFILE=long` runs many more sequences (docs/reliability.md).
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import caterva_cffi as cat
from caterva_cffi import Codec, Filter
from caterva_cffi.schunk import SChunk

COMPRESSIONS = [
    {},
    {"filters": []},
    {"filters": [Filter.BITSHUFFLE], "codec": Codec.ZSTD},
    {"filters": [Filter.DELTA]},
    {"filters": [Filter.SHUFFLE, Filter.BYTEDELTA], "codec": Codec.BLOSCLZ},
    {"codec": Codec.ZSTD, "usedict": True},
    {"clevel": 0},
]
STORAGES = ["sparse", "contiguous", "frame", "file", "directory"]


class Bytes:
    """A reader of ranges."""

    def __init__(self, data):
        self.data, self.size = data, len(data)

    def read_ranges(self, ranges):
        return [self.data[start:stop] for start, stop in ranges]


class Arrays(RuleBasedStateMachine):
    """An array, and the NumPy array that it should be equal to."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)
        self.directory = Path(tempfile.mkdtemp())
        self.names = 0

    @initialize(
        data=st.data(),
        storage=st.sampled_from(STORAGES),
        checksum=st.booleans(),
        compression=st.sampled_from(COMPRESSIONS),
        dtype=st.sampled_from(["<i4", "u1", ">f8", "S3"]),
        ndim=st.integers(1, 2),
    )
    def create(self, data, storage, checksum, compression, dtype, ndim):
        self.dtype = np.dtype(dtype)
        shape = tuple(data.draw(st.integers(0, 14)) for _ in range(ndim))
        self.model = self.items(shape)
        chunks = tuple(data.draw(st.integers(1, 6)) for _ in range(ndim))
        blocks = tuple(data.draw(st.integers(1, n)) for n in chunks)
        given = {"chunks": chunks, "blocks": blocks, "checksum": checksum, **compression}
        self.path = None
        if storage in ("file", "directory"):
            self.path = self.directory / "a"
            given |= {"urlpath": self.path}
        given["contiguous"] = storage in ("contiguous", "file", "frame")
        self.array = cat.asarray(self.model, **given)
        if storage == "frame":
            self.array = cat.from_cframe(bytes(self.array.to_cframe()), copy=True)
        self.vlmeta = {}

    def items(self, shape):
        """Return random items, or equal ones."""
        if self.rng.integers(2):
            return np.full(shape, self.rng.integers(0, 3)).astype(self.dtype)
        return self.rng.integers(0, 99, shape).astype(self.dtype)

    def check(self, array):
        assert array.dtype == self.dtype
        assert array.shape == self.model.shape
        assert np.array_equal(array[...], self.model)

    def teardown(self):
        if hasattr(self, "model"):
            self.check(self.array)
            assert dict(self.array.vlmeta) == self.vlmeta
            self.array.close()
        shutil.rmtree(self.directory)

    # --- changes ------------------------------------------------------------------------------

    def keys(self, data):
        kinds = ["slices", "steps", "arrays", "mask"] if self.model.size else ["slices"]
        kind = data.draw(st.sampled_from(kinds))
        if kind == "mask":
            return self.rng.integers(0, 3, self.model.shape) == 0
        if kind == "arrays":
            count = data.draw(st.integers(1, 4))
            return tuple(self.rng.integers(-n, n, count) for n in self.model.shape)
        step = data.draw(st.sampled_from([2, -1, -3])) if kind == "steps" else None
        return tuple(
            slice(*sorted(data.draw(st.integers(0, n)) for _ in range(2)))
            if step is None
            else slice(None, None, step)
            for n in self.model.shape
        )

    @rule(data=st.data())
    def assign(self, data):
        key = self.keys(data)
        value = self.items(self.model[key].shape)
        self.array[key] = self.model[key] = value

    @precondition(lambda self: self.model.size)
    @rule(data=st.data())
    def assign_orthogonal(self, data):
        key = tuple(np.unique(self.rng.integers(0, n, 3)) for n in self.model.shape)
        value = self.items(tuple(map(len, key)))
        self.array.oindex[key] = value
        self.model[np.ix_(*key)] = value

    @rule(data=st.data())
    def resize(self, data):
        shape = tuple(data.draw(st.integers(0, 14)) for _ in self.model.shape)
        self.array.resize(shape)
        kept = tuple(map(slice, map(min, shape, self.model.shape)))
        new = np.zeros(shape, self.dtype)
        new[kept] = self.model[kept]
        self.model = new

    @precondition(lambda self: max(self.model.shape) < 20)
    @rule(data=st.data(), at_end=st.booleans())
    def insert(self, data, at_end):
        axis = data.draw(st.integers(0, self.model.ndim - 1))
        shape = list(self.model.shape)
        shape[axis] = data.draw(st.integers(0, 4))
        value = self.items(shape)
        at = self.model.shape[axis]
        if at_end:
            self.array.append(value, axis=axis)
        else:
            at = data.draw(st.integers(0, at))
            self.array.insert(at, value, axis=axis)
        before, behind = np.split(self.model, [at], axis)
        self.model = np.concatenate([before, value, behind], axis)

    @rule(data=st.data())
    def delete(self, data):
        axis = data.draw(st.integers(0, self.model.ndim - 1))
        start = data.draw(st.integers(0, self.model.shape[axis]))
        count = data.draw(st.integers(0, self.model.shape[axis] - start))
        self.array.delete(start, count, axis=axis)
        self.model = np.delete(self.model, slice(start, start + count), axis)

    @rule(name=st.sampled_from("abc"), length=st.integers(0, 50))
    def set_vlmeta(self, name, length):
        self.array.vlmeta[name] = self.vlmeta[name] = self.rng.bytes(length)

    @precondition(lambda self: self.vlmeta)
    @rule(data=st.data())
    def delete_vlmeta(self, data):
        name = data.draw(st.sampled_from(sorted(self.vlmeta)))
        del self.array.vlmeta[name], self.vlmeta[name]

    @rule(data=st.data(), nth=st.integers(0, 2))
    def fail_to_assign(self, data, nth):
        """Some chunks are written, the others are as they were."""
        key, update, calls = self.keys(data), SChunk.update_chunk, []

        def failing(schunk, number, chunk):
            calls.append(number)
            if len(calls) > nth:
                raise OSError("no space left")
            update(schunk, number, chunk)

        new = self.model.copy()
        new[key] = self.items(self.model[key].shape)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SChunk, "update_chunk", failing)
            try:
                self.array[key] = new[key]
            except OSError:
                found = self.array[...]
                assert ((found == self.model) | (found == new)).all()
                new = found
        self.model = new

    # --- other ways to the same items ---------------------------------------------------------

    @rule()
    def check_array(self):
        self.check(self.array)

    @precondition(lambda self: self.path)
    @rule(reopen=st.booleans())
    def open(self, reopen):
        if reopen:
            self.array.close()
            self.array = cat.open(self.path)
        with cat.open(self.path, mode="r") as reader:
            self.check(reader)
            assert dict(reader.vlmeta) == self.vlmeta

    @precondition(lambda self: self.path)
    @rule(data=st.data())
    def change_by_another_handle(self, data):
        """What it changed is seen by this one."""
        key = self.keys(data)
        value = self.items(self.model[key].shape)
        with cat.open(self.path) as other:
            other[key] = self.model[key] = value
        self.check(self.array)

    @rule(copies=st.sampled_from(["frame", "copy", "save", "remote"]))
    def check_copy(self, copies):
        frame = bytes(self.array.to_cframe())
        if copies == "frame":
            copy = cat.from_cframe(frame)
        elif copies == "copy":
            copy = self.array.copy(contiguous=True)
        elif copies == "remote":
            self.check(cat.open(Bytes(frame)))
            return
        else:
            self.names += 1
            self.array.save(self.directory / f"copy{self.names}")
            copy = cat.open(self.directory / f"copy{self.names}", mode="r")
        with copy:
            self.check(copy)
            assert dict(copy.vlmeta) == self.vlmeta


class TestArrays(Arrays.TestCase):
    settings = settings(
        deadline=None,
        max_examples=settings().max_examples,
        stateful_step_count=15,
        suppress_health_check=list(HealthCheck),
    )
