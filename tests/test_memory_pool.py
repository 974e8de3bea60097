"""Large memory that is used again: never by two at a time."""

from __future__ import annotations

import gc
import mmap
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from caterva_cffi import memory_pool

MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    not memory_pool._may_be_kept, reason="the system cannot take idle memory back"
)


@pytest.fixture(autouse=True)
def _nothing_idle():
    gc.collect()
    memory_pool._idle.clear()


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["f4", ">i8", "U3", "M8[ns]", [("a", "i2"), ("b", "S5")]])
def test_items(dtype):
    array = memory_pool.empty((600, 500, 10), dtype)
    assert (array.shape, array.dtype) == ((600, 500, 10), np.dtype(dtype))
    assert array.flags.writeable and array.flags.c_contiguous


def test_memory_is_used_again_when_nothing_refers_to_it():
    array = memory_pool.empty((5 * MIB,), "u1")
    array[:] = 7
    first, view = address(array), array.reshape(5, -1)[1:].view("i4")
    del array
    other = memory_pool.empty((5 * MIB,), "u1")
    other[:] = 8
    assert address(other) != first and (view == 0x07070707).all()
    del view
    assert address(memory_pool.empty((3 * MIB, 1), "u2")) not in (first, address(other))  # 6 MiB
    assert address(memory_pool.empty((4, MIB), "u1")) == first


def test_little_is_kept():
    for size in (memory_pool.LEAST - 1, memory_pool._MOST + 1):
        memory_pool.empty((size,), "u1")
        assert not memory_pool._idle
    for size, kept in ((8, 4), (100, 2)):
        arrays = [memory_pool.empty((size * MIB,), "u1") for _ in range(9)]
        arrays.clear()
        assert [len(each) for each in memory_pool._idle] == [size * MIB] * kept


def test_systems_that_take_no_advice(monkeypatch, capfd):
    class Deaf(mmap.mmap):
        def madvise(self, *advice):
            raise OSError(22, "invalid argument")

    monkeypatch.setattr(mmap, "mmap", Deaf)
    memory_pool.empty((memory_pool.LEAST,), "u1")[:] = 1
    assert not memory_pool._idle and capfd.readouterr().err == ""


def test_threads_have_memory_of_their_own():
    def work(number):
        place = random.Random(number)
        for _ in range(30):
            array = memory_pool.empty((place.randint(4, 7) * MIB,), "u1")
            array[::4096] = number
            if not (array[::4096] == number).all():
                return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
