"""A hollow object has the bytes that are known, assumed ones beside them, and zeros."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caterva_cffi.costs.hollow import Hollow

ranges = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=6)


@given(ranges, ranges, st.integers(0, 50), st.integers(0, 50))
def test_known_bytes_hide_assumed_ones(known, assumed, start, length):
    whole = bytes(range(100, 150))
    expected = bytearray(50)
    for first, n in assumed:
        expected[first : first + n] = b"x" * n
    for first, n in known:
        expected[first : first + n] = whole[first : first + n]
    hollow = Hollow(
        50,
        {(first, first + n): whole[first : first + n] for first, n in known},
        {(first, first + n): b"x" * n for first, n in assumed},
    )
    assert hollow.read((start, start + length)) == expected[start : start + length]
