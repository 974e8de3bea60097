"""What Python asks of an object: truth, numbers, iteration and comparison, as NumPy has them."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import caterva_cffi as cat

ARRAYS = [
    np.zeros(()), np.array(3), np.array(2**40), np.array(-1j), np.array(True), np.array(b"12"),
    np.array("0"), np.array(np.datetime64("2026-01-01")), np.ones(1), np.zeros((1, 1), "f4"),
    np.array([b""]), np.zeros(0), np.zeros((0, 3), "i2"), np.zeros((3, 0)), np.ones(2),
    np.zeros((2, 3)), np.arange(24).reshape(2, 3, 4), np.array([(1, 2.0)], "i4,f8"),
    np.array(["a", "b"]),
]  # fmt: skip
ASKED = {
    "bool": bool,
    "int": int,
    "float": float,
    "complex": complex,
    "index": operator.index,
    "list": list,
    "reversed": lambda a: list(reversed(a)),
    "len": len,
    "two of a row": lambda a: next(iter(a), None),
    "all": lambda a: all(a),
    "contains": lambda a: [value in a for value in (0, 3, 77)],
    "contains a row": lambda a: [5, 6, 7] in a or [4, 5, 6, 7] in a,
    "contains all": lambda a: np.arange(24).reshape(2, 3, 4) in a,
    "is one value": lambda a: a == 0,
    "is not": lambda a: a != 3,
    "is a row": lambda a: a == [4, 5, 6, 7],
    "is text": lambda a: a == "a",
    "is None": lambda a: a == None,  # noqa: E711
    "is itself": lambda a: a == a,
    "the other way": lambda a: 0 == a,  # noqa: SIM300
}


class Ranges:
    def __init__(self, frame):
        self.frame = frame

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]


def answer(asked, array):
    try:
        result = asked(array)
    except Exception as error:
        return type(error), str(error)
    return type(result), np.shape(result), np.asarray(result).tolist()


@pytest.mark.filterwarnings("ignore:Conversion of an array with ndim", "ignore:The truth value")
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("items", ARRAYS, ids=repr)
def test_arrays_answer_as_numpys_do(items, asked):
    stored = cat.asarray(items, contiguous=True)
    expected = answer(asked, items)
    for array in (stored, cat.open(Ranges(bytes(stored.to_cframe())))):
        found = answer(asked, array)
        assert found == expected or found[0] is expected[0] is TypeError


def test_comparisons_with_other_arrays():
    items = np.arange(6)
    a, b = cat.asarray(items), cat.asarray(items[::-1].copy())
    for found in (a == b, a == items[::-1], items == b):
        assert type(found) is np.ndarray and found.tolist() == [False] * 6
    assert (a == a.copy()).all() and not (a != a.copy()).any()


def test_arrays_are_keys_by_what_they_are():
    a, b = cat.asarray(np.arange(3)), cat.asarray(np.arange(3))
    assert {a: 1, b: 2}[a] == 1 and len({a, b, a}) == 2


def test_rows_are_read_many_at_a_time(monkeypatch):
    array = cat.asarray(np.arange(3000).reshape(1000, 3), chunks=(100, 3), blocks=(10, 3))
    selections = []
    read = type(array).read
    monkeypatch.setattr(
        type(array), "read", lambda self, key=...: selections.append(key) or read(self, key)
    )
    assert sum(int(row.sum()) for row in array) == 3000 * 2999 // 2
    assert 2999 in array and -1 not in array
    assert len(selections) == 3
    monkeypatch.setattr("caterva_cffi.arrays.readable._SLAB_BYTES", 250 * 24)
    del selections[:]
    assert [row[0] for row in array] == list(range(0, 3000, 3))
    assert selections == [slice(start, start + 200) for start in range(0, 1000, 200)]


def test_the_truth_of_a_large_array_reads_nothing(monkeypatch):
    array = cat.zeros((2**40,), dtype="u1", chunks=(2**30,), blocks=(2**20,))
    for asked in (bool, int, float, complex, operator.index):
        with pytest.raises((ValueError, TypeError), match=r"more than one|only .* arrays"):
            asked(array)
