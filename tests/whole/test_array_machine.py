"""A state machine of one array and its handles against NumPy, wherever it is stored.

What a handle gives is what NumPy has, or an error that says that something else changed it. Changes
fail at random calls of the library, at a full disk and by interrupts: what is then found is the
array before or after, or an error that says that a change was cut off. `docs/reliability.md` says
how to let it run for long.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import pickle
import resource
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import caterva_cffi as cat
from caterva_cffi import Codec, Filter
from caterva_cffi.binding import kernel
from caterva_cffi.superchunk import schunk, user_metalayers

SEQUENCES = int(os.environ.get("CATERVA_CFFI_SEQUENCES", "60"))
SEED = int(os.environ.get("CATERVA_CFFI_SEED", "0"))
AT_ONCE = 1000
"""Hypothesis remembers what it has tried, and takes longer with each."""

WAYS = [
    {},
    {"clevel": 0},
    {"codec": Codec.ZSTD, "clevel": 1},
    {"codec": Codec.ZSTD, "usedict": True},
    {"codec": Codec.LZ4, "usedict": True},
    {"codec": Codec.BLOSCLZ, "filters": [Filter.BITSHUFFLE]},
    {"filters": [Filter.DELTA]},
    {"filters": [Filter.DELTA, Filter.SHUFFLE]},
    {"codec": Codec.ZLIB, "filters": [Filter.SHUFFLE, Filter.BITSHUFFLE]},
    {"filters": []},
]
STORAGES = ["memory", "frame", "buffer", "file", "file", "directory", "directory"]
DTYPES = ["u1", "<i4", ">i2", "<f8", "S5", "<M8[s]", [("x", "<f4"), ("y", "u1")]]
WRITES = [
    "blosc2_schunk_append_chunk",
    "blosc2_schunk_insert_chunk",
    "blosc2_schunk_update_chunk",
    "blosc2_schunk_delete_chunk",
    "blosc2_meta_update",
    "blosc2_vlmeta_add",
    "blosc2_vlmeta_update",
    "blosc2_vlmeta_delete",
]
ENCODES = ["cat_encode", "cat_update", "cat_update_in_place"]

seeds = st.integers(0, 1 << 20)


@dataclass
class Handle:
    """An open array, and whether another handle has changed its shape."""

    array: cat.NDArray
    stale: bool = False


@dataclass
class Model:
    """What an array holds."""

    items: np.ndarray
    meta: bytes
    vlmeta: dict[str, bytes]

    def __eq__(self, other):
        return (
            self.items.shape == other.items.shape
            and self.items.tobytes() == other.items.tobytes()
            and self.meta == other.meta
            and self.vlmeta == other.vlmeta
        )


def state_of(array):
    return Model(np.asarray(array[...]), array.meta["note"], array.vlmeta.to_dict())


class Ranges:
    """The bytes of a frame, by ranges; what is behind the end is refused."""

    def __init__(self, frame):
        self.frame = frame

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]


# --- random items and selections ------------------------------------------------------------------


def items_of(rng, shape, dtype):
    """Items that compress to nothing, a little, or not at all."""
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    kind = rng.integers(4)
    if kind == 0:
        return np.zeros(shape, dtype)
    if dtype.kind == "V":
        made = np.zeros(shape, dtype)
        for name in dtype.names:
            made[name] = items_of(rng, shape, dtype[name])
        return made
    numbers = rng.integers(0, [0, 2, 100, 1 << 31][kind], count) if count else np.zeros(0, int)
    if kind == 1 and count:
        numbers[:] = 1 + rng.integers(9)
    if dtype.kind == "S":
        return np.char.mod("%d", numbers % 99999).astype(dtype).reshape(shape)
    return numbers.astype(dtype).reshape(shape)


def basic(rng, shape):
    """Integers and slices with steps; sometimes an ellipsis."""
    key = []
    for n in shape:
        kind = rng.integers(4)
        if kind == 0 and n:
            key.append(int(rng.integers(-n, n)))
        elif kind == 1:
            key.append(slice(None))
        else:
            first, last = sorted(rng.integers(0, n + 1, 2))
            key.append(slice(int(first), int(last), int(rng.integers(1, 4))))
    if rng.integers(4) == 0:
        return (*key[: rng.integers(len(key) + 1)], ...)
    return tuple(key)


def fancy(rng, shape):
    """A mask, or an array of indices along the first dimension."""
    if rng.integers(2):
        return rng.integers(0, 3, shape) == 0
    return rng.permutation(shape[0])[: rng.integers(shape[0] + 1)] if shape else ...


def orthogonal(rng, shape):
    """Index arrays and masks, one for each dimension."""
    key = []
    for n in shape:
        mask = rng.integers(0, 2, n) == 0
        key.append(mask if rng.integers(2) else rng.permutation(np.flatnonzero(mask)))
    return tuple(key)


def value_for(rng, target, dtype):
    """Items of a shape that fits a selection: all of it, one item, or none of the first lengths."""
    kind = rng.integers(3)
    shape = target if kind == 0 else () if kind == 1 else target[rng.integers(len(target) + 1) :]
    return items_of(rng, shape, dtype)


# --- faults ---------------------------------------------------------------------------------------


class Faulty:
    """The library, of which the n-th of some calls fails, before it does something or after."""

    def __init__(self, lib, names, nth, how):
        self._lib, self._names, self._how = lib, names, how
        self.left = nth

    def __getattr__(self, name):
        function = getattr(self._lib, name)
        if name not in self._names:
            return function

        def call(*arguments):
            self.left -= 1
            if self.left != 0:
                return function(*arguments)
            if self._how == "interrupt":
                raise KeyboardInterrupt
            if self._how == "interrupt behind":
                function(*arguments)
                raise KeyboardInterrupt
            return self._lib.BLOSC2_ERROR_FAILURE

        return call


@contextlib.contextmanager
def failing_call(rng):
    how = str(rng.choice(["code", "interrupt", "interrupt behind"]))
    encodes = bool(rng.integers(3) == 0) and how == "code"
    faulty = Faulty(schunk.lib, ENCODES if encodes else WRITES, int(rng.integers(1, 5)), how)
    modules = [kernel] if encodes else [schunk, user_metalayers]
    lib = schunk.lib
    for module in modules:
        module.lib = faulty
    try:
        yield lambda: faulty.left <= 0
    finally:
        for module in modules:
            module.lib = lib


@contextlib.contextmanager
def full_disk(rng):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(rng.integers(0, 1500)), before[1]))
    try:
        yield lambda: True
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- the machine ----------------------------------------------------------------------------------


class ArrayMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="machine", dir=memory))
        self.path = self.folder / "a"
        self.handles = []
        self.is_settled = False

    def teardown(self):
        try:
            if self.handles and self.is_settled:
                self.check_what_is_left()
        finally:
            for handle in self.handles:
                handle.array.close()
            shutil.rmtree(self.folder)

    @initialize(seed=seeds, storage=st.sampled_from(STORAGES), checksum=st.booleans())
    def make(self, seed, storage, checksum):
        rng = np.random.default_rng(seed)
        self.storage, self.checksum = storage, checksum
        self.way = WAYS[rng.integers(len(WAYS))]
        self.dtype = np.dtype(DTYPES[rng.integers(len(DTYPES))])
        shape = tuple(int(n) for n in rng.integers(0, 9, rng.integers(0, 4)))
        self.chunks = tuple(int(rng.integers(1, 6)) for _ in shape)
        self.blocks = tuple(int(rng.integers(1, n + 1)) for n in self.chunks)
        self.model = Model(items_of(rng, shape, self.dtype), b"note", {})
        self.write_anew()

    @property
    def is_stored(self):
        return self.storage in ("file", "directory")

    def write_anew(self):
        made = cat.asarray(
            self.model.items,
            chunks=self.chunks,
            blocks=self.blocks,
            checksum=self.checksum,
            contiguous=self.storage not in ("memory", "directory"),
            urlpath=self.path if self.is_stored else None,
            mode="w",
            meta={"note": self.model.meta},
            **self.way,
        )
        made.vlmeta.update(self.model.vlmeta)
        if self.storage == "buffer":
            made = cat.from_cframe(bytes(made.to_cframe()), copy=True)
        for handle in self.handles:
            handle.stale = True
        if not self.is_stored:
            self.handles = []
        self.handles.append(Handle(made))
        del self.handles[:-3]

    def reopen(self, handle):
        handle.array.close()
        handle.array, handle.stale = cat.open(self.path), False

    # --- changes ------------------------------------------------------------------------------

    def change(self, rng, act, predict, reshapes=False):
        """Let a handle change the array, and NumPy the model."""
        self.is_settled = False
        handle = self.handles[rng.integers(len(self.handles))]
        after = copy.deepcopy(self.model)
        predict(after)
        fault = rng.integers(8)
        if fault <= (2 if self.is_stored else 1):
            self.change_with_fault(rng, handle, act, after, reshapes)
            return
        try:
            act(handle.array)
        except cat.StorageError as error:
            assert handle.stale and "open it again" in str(error), error
            self.reopen(handle)
            act(handle.array)
        self.model = after
        self.reshaped(handle, reshapes)

    def reshaped(self, by, reshapes):
        for handle in self.handles:
            handle.stale |= reshapes and handle is not by

    def change_with_fault(self, rng, handle, act, after, reshapes):
        before = self.model
        fault = full_disk if self.is_stored and rng.integers(2) else failing_call
        failed = None
        with fault(rng) as was_met:
            try:
                act(handle.array)
            except (cat.CatervaError, KeyboardInterrupt) as error:
                failed = error
            met = was_met()
        if failed is None:
            assert not met or fault is full_disk or self.is_about_nothing(before, after), failed
            self.model = after
            self.reshaped(handle, reshapes)
            return
        if handle.stale and "open it again" in str(failed):
            self.reopen(handle)
            return
        try:
            found = state_of(cat.open(self.path, mode="r") if self.is_stored else handle.array)
        except cat.StorageError as error:
            assert "cut off" in str(error), error
            for each in self.handles:
                with pytest.raises(cat.StorageError, match=r"cut off|open it again"):
                    each.array[...]
            self.write_anew()
            return
        may_be_mixed = isinstance(failed, KeyboardInterrupt) or not self.is_stored
        if found not in (before, after):
            assert may_be_mixed and not reshapes, failed
            assert found.meta == before.meta and found.vlmeta == before.vlmeta
            flat = (each.items.reshape(-1) for each in (found, before, after))
            assert all(item in pair for item, *pair in zip(*flat, strict=True))
        self.model = found
        self.reshaped(handle, reshapes)

    def is_about_nothing(self, before, after):
        return before == after

    @rule(seed=seeds)
    def set_items(self, seed):
        rng = np.random.default_rng(seed)
        key = basic(rng, self.model.items.shape)
        value = value_for(rng, self.model.items[key].shape, self.dtype)
        self.change(
            rng, lambda a: a.__setitem__(key, value), lambda m: m.items.__setitem__(key, value)
        )

    @rule(seed=seeds)
    def set_by_index_arrays(self, seed):
        rng = np.random.default_rng(seed)
        key = fancy(rng, self.model.items.shape)
        value = value_for(rng, self.model.items[key].shape, self.dtype)
        self.change(
            rng, lambda a: a.__setitem__(key, value), lambda m: m.items.__setitem__(key, value)
        )

    @rule(seed=seeds)
    def set_orthogonally(self, seed):
        rng = np.random.default_rng(seed)
        key = orthogonal(rng, self.model.items.shape)
        where = np.ix_(*key) if key else ()
        value = value_for(rng, self.model.items[where].shape, self.dtype)
        self.change(
            rng,
            lambda a: a.oindex.__setitem__(key, value),
            lambda m: m.items.__setitem__(where, value),
        )

    @rule(seed=seeds)
    def resize(self, seed):
        rng = np.random.default_rng(seed)
        shape = tuple(int(n) for n in rng.integers(0, 9, self.model.items.ndim))
        if rng.integers(4) == 0:
            shape = (0,) * len(shape)

        def predict(model):
            kept = tuple(slice(min(pair)) for pair in zip(shape, model.items.shape, strict=True))
            items = np.zeros(shape, self.dtype)
            items[kept] = model.items[kept]
            model.items = items

        self.change(rng, lambda a: a.resize(shape), predict, reshapes=True)

    @precondition(lambda self: self.model.items.ndim)
    @rule(seed=seeds)
    def insert(self, seed):
        rng = np.random.default_rng(seed)
        axis = int(rng.integers(self.model.items.ndim))
        shape = list(self.model.items.shape)
        index = int(rng.integers(shape[axis] + 1))
        shape[axis] = int(rng.integers(0, 5))
        value = items_of(rng, tuple(shape), self.dtype)

        def predict(model):
            before, behind = np.split(model.items, [index], axis)
            model.items = np.concatenate([before, value, behind], axis, dtype=self.dtype)

        if index == self.model.items.shape[axis]:
            self.change(rng, lambda a: a.append(value, axis), predict, reshapes=True)
        else:
            self.change(rng, lambda a: a.insert(index, value, axis), predict, reshapes=True)

    @precondition(lambda self: self.model.items.size)
    @precondition(lambda self: self.model.items.ndim)
    @rule(seed=seeds)
    def delete(self, seed):
        rng = np.random.default_rng(seed)
        axis = int(rng.integers(self.model.items.ndim))
        length = self.model.items.shape[axis]
        start = int(rng.integers(length))
        count = int(rng.integers(0, length - start + 1))

        def predict(model):
            model.items = np.delete(model.items, np.s_[start : start + count], axis)

        self.change(rng, lambda a: a.delete(start, count, axis), predict, reshapes=True)

    @precondition(lambda self: 1 in self.model.items.shape)
    @rule(seed=seeds)
    def squeeze(self, seed):
        def predict(model):
            model.items = model.items.squeeze()

        kept = [n != 1 for n in self.model.items.shape]
        self.change(np.random.default_rng(seed), lambda a: a.squeeze(), predict, reshapes=True)
        if self.model.items.ndim < len(kept):
            for name in ("chunks", "blocks"):
                lengths = zip(getattr(self, name), kept, strict=True)
                setattr(self, name, tuple(n for n, keep in lengths if keep))

    @rule(seed=seeds)
    def set_meta(self, seed):
        rng = np.random.default_rng(seed)
        value = rng.bytes(4)
        self.change(
            rng,
            lambda a: a.meta.__setitem__("note", value),
            lambda m: m.__setattr__("meta", value),
        )

    @rule(seed=seeds)
    def set_vlmeta(self, seed):
        rng = np.random.default_rng(seed)
        name = f"name{rng.integers(3)}"
        value = rng.bytes(rng.integers(0, 200)) if rng.integers(2) else bytes(rng.integers(0, 999))
        if name in self.model.vlmeta and rng.integers(2):
            self.change(
                rng, lambda a: a.vlmeta.__delitem__(name), lambda m: m.vlmeta.__delitem__(name)
            )
        else:
            self.change(
                rng,
                lambda a: a.vlmeta.__setitem__(name, value),
                lambda m: m.vlmeta.__setitem__(name, value),
            )

    # --- handles ------------------------------------------------------------------------------

    @precondition(lambda self: self.is_stored)
    @rule(seed=seeds)
    def open_another_handle(self, seed):
        rng = np.random.default_rng(seed)
        if len(self.handles) == 3:
            self.handles.pop(rng.integers(3)).array.close()
        self.handles.append(Handle(cat.open(self.path)))

    @rule(seed=seeds)
    def reopen_or_replace(self, seed):
        rng = np.random.default_rng(seed)
        handle = self.handles[rng.integers(len(self.handles))]
        if self.is_stored and rng.integers(2):
            self.reopen(handle)
        elif self.storage == "file":
            cat.open(self.path).save(self.path, mode="w")
        elif not self.is_stored:
            array = handle.array
            remade = pickle.loads(pickle.dumps(array))
            if array.contiguous and rng.integers(2):
                remade = cat.from_cframe(bytes(array.to_cframe()), copy=True)
            array.close()
            handle.array = remade

    # --- reading ------------------------------------------------------------------------------

    @rule(seed=seeds)
    def read(self, seed):
        self.is_settled = False
        rng = np.random.default_rng(seed)
        for handle in self.handles:
            key = basic(rng, self.model.items.shape)
            where = orthogonal(rng, self.model.items.shape)
            try:
                array = handle.array
                found = [array[key], array.oindex[where], array.copy()[...]]
                assert handle.array.shape == self.model.items.shape
            except cat.StorageError as error:
                assert handle.stale and "open it again" in str(error), error
                continue
            items = self.model.items
            expected = [items[key], items[np.ix_(*where)] if where else items, items]
            for one, other in zip(found, expected, strict=True):
                assert (
                    np.asarray(one, self.dtype).tobytes() == np.asarray(other, self.dtype).tobytes()
                )

    @invariant()
    def all_handles_see_the_same(self):
        self.is_settled = False
        for handle in self.handles:
            try:
                assert state_of(handle.array) == self.model
            except cat.StorageError as error:
                assert handle.stale and "open it again" in str(error), error
        self.is_settled = True

    def check_what_is_left(self):
        """Open it as everybody could, and read all of its bytes."""
        if self.is_stored:
            assert list(cat.verify(self.path)) == []
            array = cat.open(self.path, mode="r")
        else:
            array = self.handles[0].array
        assert state_of(array) == self.model
        frame = bytes(array.to_cframe())
        assert list(cat.verify(frame)) == []
        with cat.open(Ranges(frame)) as remote:
            assert remote[...].tobytes() == self.model.items.tobytes()
            assert dict(remote.vlmeta) == self.model.vlmeta
            assert remote.meta["note"] == self.model.meta


def test_an_array_is_what_numpy_has():
    for first in range(0, SEQUENCES, AT_ONCE):
        run_state_machine_as_test(
            seed(SEED + first)(ArrayMachine),
            settings=settings(
                max_examples=min(AT_ONCE, SEQUENCES - first),
                stateful_step_count=12,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
            ),
        )
