"""Boxes of a row against the slices of NumPy that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from boxes_of_chunks import boxes
from hypothesis import given
from hypothesis import strategies as st

from caterva_cffi.geometry import flattening
from caterva_cffi.geometry.flattening import flattened


def fill(batch, row):
    for ([start], [count], [step]), dest in batch.boxes:
        assert dest.shape == (count,)
        dest[...] = row[start : start + count * step : step]
    if batch.then is not None:
        batch.then()


@pytest.fixture
def few_rows(monkeypatch):
    """More than two rows are read with all between them."""
    monkeypatch.setattr(flattening, "_MOST_ROWS", 2)


def check(grid, box, unit, order):
    items = np.arange(math.prod(grid.chunks), dtype="i8").reshape(grid.chunks)
    key = tuple(slice(a, a + n * s, s) for a, n, s in zip(*box, strict=True))
    dest = np.zeros(items[key].shape, "i8", order)
    fill(flattened(grid.chunks, unit, box, dest), items.reshape(-1).view(f"V{unit}"))
    assert (dest == items[key]).all()


@given(boxes(), st.sampled_from([8, 4, 1]), st.sampled_from("CF"))
def test_boxes_of_the_row_hold_the_items_of_the_box(drawn, unit, order):
    check(*drawn, unit, order)


@pytest.mark.usefixtures("few_rows")
@pytest.mark.parametrize("unit", [8, 1])
def test_a_box_of_many_rows_is_taken_from_all_between_them(unit):
    shape, box = (4, 5, 6), ([1, 0, 2], [3, 2, 3], [1, 3, 1])
    batch = flattened(shape, unit, box, np.zeros(box[1], "i8"))
    assert len(batch.boxes) == 1
    items = np.arange(120, dtype="i8").reshape(shape)
    dest = np.zeros(box[1], "i8")
    fill(flattened(shape, unit, box, dest), items.reshape(-1).view(f"V{unit}"))
    assert (dest == items[1:4, 0:4:3, 2:5]).all()


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (([2, 0, 0], [3, 5, 6], [1, 1, 1]), 1),  # whole rows
        (([0, 0, 3], [4, 5, 1], [1, 1, 1]), 1),  # a column
        (([0, 0, 0], [4, 1, 6], [1, 1, 1]), 4),
    ],
)
def test_what_is_regular_is_one_box(box, expected):
    assert len(flattened((4, 5, 6), 8, box, np.zeros(box[1])).boxes) == expected
