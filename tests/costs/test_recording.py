"""What programs read is written down, while somebody asks for it."""

from __future__ import annotations

import numpy as np

import caterva_cffi as cat
from caterva_cffi.costs.recording import recorders

ITEMS = np.arange(20 * 30).reshape(20, 30)


def test_reads_are_written_down_in_their_order():
    array = cat.asarray(ITEMS, chunks=(10, 10), blocks=(5, 5))
    with cat.recorded_accesses() as outer:
        array[3, 4]
        with cat.recorded_accesses() as inner:
            array[5]
            array.oindex[[1, 2], :3]
        array.read_many([(0, 0), (5, 5)], (2, 3))
    array[0]
    assert [each.shape for each in inner] == [(30,), (2, 3)]
    assert [each.shape for each in outer] == [(), (30,), (2, 3), (2, 2, 3)]
    assert recorders == []


def test_they_are_accesses_to_advise_for():
    array = cat.asarray(ITEMS, chunks=(10, 10), blocks=(5, 5))
    with cat.recorded_accesses() as accesses:
        array[3, 4], array[5], array.read_many([(0, 0), (5, 5)], (2, 3))
        cat.zeros((4, 4, 4), dtype="u1")[1]
    advice = cat.advise(array.shape, array.dtype, accesses)
    assert advice.accesses == ("4 recorded reads",)
