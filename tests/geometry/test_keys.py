"""Normalising selections, without arrays: what they say of the result is what NumPy makes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import caterva_cffi as cat
from caterva_cffi.geometry.keys import normalize, normalize_orthogonal
from caterva_cffi.geometry.selection import Axis, Basic, Fancy

LAW = settings(deadline=None, max_examples=100)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=7)


def numbers(shape):
    return np.arange(math.prod(shape)).reshape(shape)


def positions(axis):
    return [axis.start + k * axis.step for k in range(axis.count)]


def items_of(selection, shape):
    """Read a selection off an array by its definition."""
    items = numbers(shape)
    for dim, axis in enumerate(selection.axes):
        items = np.take(items, positions(axis), dim)
    items = items.reshape([axis.count for axis in selection.axes if axis.kept])
    return items[tuple(None if dim < 0 else slice(None) for dim in selection.result_dims)]


@LAW
@given(st.data(), SHAPES)
def test_basic_selections(data, shape):
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=10))
    selection = normalize(key, shape)
    expected = np.asarray(numbers(shape)[key])
    assert isinstance(selection, Basic)
    assert selection.shape == expected.shape
    assert (items_of(selection, shape) == expected).all()
    assert [dim for dim in selection.result_dims if dim >= 0] == [
        dim for dim, axis in enumerate(selection.axes) if axis.kept
    ]
    for length, axis in zip(shape, selection.axes, strict=True):
        assert axis.first == min(positions(axis), default=axis.start)
        assert all(0 <= position < length for position in positions(axis))


@LAW
@given(st.data(), hnp.array_shapes(max_dims=4, max_side=6))
def test_index_arrays(data, shape):
    key = data.draw(hnp.integer_array_indices(shape))
    selection = normalize(key, shape)
    assert isinstance(selection, (Basic, Fancy))
    assert selection.shape == numbers(shape)[key].shape
    assert all((array >= 0).all() for array in getattr(selection, "arrays", ()))


@LAW
@given(st.data(), SHAPES)
def test_masks(data, shape):
    mask = data.draw(hnp.arrays(bool, shape[: data.draw(st.integers(0, len(shape)))]))
    assert normalize(mask, shape).shape == numbers(shape)[mask].shape


A, M = np.array([0, 1, 1]), np.array([True, False, True, False, True])


@pytest.mark.parametrize(
    "key",
    [
        (A, A),
        (A, slice(None), A),
        (slice(None), A, A),
        (slice(None), A, 0),
        (slice(None), 0, A),
        (0, slice(None), A),
        (A, ..., 0),
        (..., A),
        (..., A, None),
        (None, A, None, A),
        (None, slice(1), A, A),
        (None, True, A),
        (True, None, A),
        (A, None, True),
        (slice(None), True, A, False),
        (A, A, A, ...),
        (A, A, ..., A),
        (A, A, np.array([0]), ..., np.array([1])),
        (slice(None), slice(None), M),
        (0, slice(None), M),
        (A[:, None], A, 0),
        (A[:, None], slice(None), A),
        (np.array(1), slice(None), np.array(2)),
        (np.array(1), A),
    ],
    ids=str,
)
def test_where_index_arrays_stand_in_the_result(key):
    shape = (3, 4, 5)
    try:
        expected = numbers(shape)[key].shape
    except IndexError:
        with pytest.raises(IndexError):
            normalize(key, shape)
    else:
        assert normalize(key, shape).shape == expected


@pytest.mark.parametrize("n", [10**20, 2**63, 2**63 - 1, 2**62, 2**31])
def test_slices_beyond_every_array(n):
    items = np.arange(24).reshape(4, 6)
    array = cat.asarray(items, chunks=(3, 4), blocks=(2, 3))
    far = cat.open(Reader(array.to_cframe()))
    for key in (np.s_[::n], np.s_[1::n], np.s_[::-n], np.s_[-n:n:2], np.s_[n:-n:-1], np.s_[-n::-n]):
        for a in (array, far):
            for k in (key, (key, key), (..., key), (key, [1, 0])):
                np.testing.assert_array_equal(a[k], items[k], strict=True)
            np.testing.assert_array_equal(a.oindex[key, [5, 0]], items[key][:, [5, 0]])
        changed = array.copy()
        changed[key] = -1
        expected = items.copy()
        expected[key] = -1
        np.testing.assert_array_equal(changed[...], expected)
    with pytest.raises(IndexError):
        array[n]


class Reader:
    def __init__(self, frame):
        self.frame = bytes(frame)

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]


def test_axes_of_slices():
    assert normalize((slice(None, None, -2), 1), (6, 3)).axes == (
        Axis(5, 3, -2),
        Axis(1, 1, kept=False),
    )
    assert normalize((slice(4, 1),), (6,)).axes == (Axis(0, 0),)


def test_orthogonal_selections_keep_their_lengths():
    selection = normalize_orthogonal(([0, -1], ..., slice(1, 3), M), (2, 7, 4, 5))
    assert isinstance(selection, Fancy)
    assert selection.orthogonal
    assert selection.shape == (2, 7, 2, 3)
    assert [array.tolist() for array in selection.arrays] == [[0, 1], [0, 2, 4]]
    assert isinstance(normalize_orthogonal((0, slice(2)), (2, 7)), Basic)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (3, "index 3 is out of bounds for dimension 0 with length 3"),
        ((0, -5), "index -5 is out of bounds for dimension 1 with length 4"),
        ([0, 1, -4], "index -4 is out of bounds for dimension 0 with length 3"),
        ((0, 0, 0), "3 indices for an array of 2 dimensions"),
        ((..., 0, ...), "more than one ellipsis"),
        (1.5, "an index of dtype float64"),
        ("x", "an index of dtype"),
        (
            np.ones((2, 4), bool),
            r"a mask of shape \(2, 4\) for dimensions 0 to 1 of shape \(3, 4\)",
        ),
        (([0, 1], [0, 1, 2]), r"index arrays of shapes \(2,\), \(3,\) cannot be broadcast"),
    ],
    ids=str,
)
def test_errors_say_what_was_found(key, message):
    with pytest.raises(IndexError, match=message):
        normalize(key, (3, 4))
