"""Stores of Zarr that remember what was asked of them."""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from zarr.storage import LocalStore, MemoryStore

from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.planning.cache import set_cache_size
from caterva_cffi.planning.policy import set_read_policy

# --- stores that remember what was asked of them ---------------------------------------------


class Request(NamedTuple):
    key: str
    range: tuple[int, int] | None
    size: int | None  # of the answer; None where there is no such object


class Recorded:
    """Remembers requests for chunks, once for each that reaches the store; they can be answered
    otherwise by setting `answer`, which gets the request's number, its range, and what was found.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.requests, self.writes, self.deleted = [], [], []
        self.answer = lambda number, asked, found: found

    def _answered(self, key, byte_range, found):
        if key.endswith("zarr.json"):
            return found
        asked = None if byte_range is None else (byte_range.start, byte_range.end)
        found = self.answer(len(self.requests), asked, found)
        self.requests.append(Request(key, asked, None if found is None else len(found)))
        return found

    async def get(self, key, prototype=None, byte_range=None):
        return self._answered(key, byte_range, await super().get(key, prototype, byte_range))

    def get_sync(self, key, *, prototype=None, byte_range=None):
        found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
        return self._answered(key, byte_range, found)

    def _written(self, key, value):
        if not key.endswith("zarr.json"):
            self.writes.append((key, len(value)))

    async def set(self, key, value):
        self._written(key, value)
        await super().set(key, value)

    def set_sync(self, key, value):
        self._written(key, value)
        super().set_sync(key, value)

    async def delete(self, key):
        self.deleted.append(key)
        await super().delete(key)

    def delete_sync(self, key):
        self.deleted.append(key)
        super().delete_sync(key)

    def forget(self):
        for list_ in (self.requests, self.writes, self.deleted):
            list_.clear()


class RecordedMemory(Recorded, MemoryStore):
    pass


class RecordedLocal(Recorded, LocalStore):
    pass


class Asynchronous(RecordedMemory):
    """Has no synchronous methods that work, as remote stores have none."""

    _supports_sync_io = False


def empty_cache():
    """Forget the beginnings of chunks that were read."""
    set_cache_size(set_cache_size(0))


@pytest.fixture(autouse=True)
def _empty_cache():
    empty_cache()


@contextmanager
def reading(policy, kind="local"):
    before = set_read_policy(kind, policy)
    try:
        yield
    finally:
        set_read_policy(kind, before)


# --- where blocks are, found without the code under test -------------------------------------


def stored_blocks(frame, nblocks):
    """Return the range of each block's bytes in a frame of one chunk."""
    (begin,) = struct.unpack_from(">i", frame, 11)
    (cbytes,) = struct.unpack_from("<i", frame, begin + 12)
    starts = np.frombuffer(frame, "<i4", nblocks, begin + 32).tolist()
    edges = sorted({*starts, cbytes})
    ends = dict(itertools.pairwise(edges))
    return [(begin + start, begin + ends[start]) for start in starts]


def touched_blocks(selection, chunk, block):
    """Return the numbers of the blocks that hold items of a basic selection of a chunk."""
    keys = itertools.chain(selection, itertools.repeat(slice(None)))
    along = [
        np.unique(np.arange(length)[key] // side)
        for length, side, key in zip(chunk, block, keys, strict=False)
    ]
    counts = [-(-length // side) for length, side in zip(chunk, block, strict=True)]
    return np.ravel_multi_index(np.ix_(*along), counts).ravel().tolist()


@contextmanager
def calls_of(*names):
    """Count the calls of some of the kernel's methods."""
    counts = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            method = getattr(Kernel, name)
            patch.setattr(
                Kernel,
                name,
                lambda *args, name=name, method=method: counts.update([name]) or method(*args),
            )
        yield counts
