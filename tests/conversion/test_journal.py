"""The journal of a conversion: what is noted comes back, and what does not fit is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.conversion.journal import Journal

REQUEST = {"source": ["a.h5", (3, 4)], "options": {"chunks": (1, 2)}}


@given(st.lists(st.integers(0, 40), unique=True))
def test_regions_in_any_order_come_back(numbers):
    saved = []
    journal = Journal(REQUEST, saved.append)
    for number in numbers:
        journal.add("a/b", number)
    journal.save()
    again = Journal(REQUEST, saved.append)
    again.load(saved[-1], "a.zarr")
    assert {n for n in range(42) if ("a/b", n) in again} == set(numbers)
    assert ("a", 0) not in again
    runs = json.loads(saved[-1])["done"].get("a/b", [])
    assert len(runs) == sum(n - 1 not in numbers for n in numbers)


def test_another_request_or_nonsense_is_refused():
    saved = []
    Journal(REQUEST, saved.append).save()
    other = Journal({**REQUEST, "options": {"chunks": (2, 2)}}, saved.append)
    with pytest.raises(cat.ArgumentError, match=r"^a\.zarr was begun with other options; give"):
        other.load(saved[0], "a.zarr")
    for data in (b"", b"[]", b'{"request": {}}', saved[0].replace(b'"done": {}', b'"done": 3')):
        with pytest.raises(cat.FormatError, match=r"^a\.zarr: its journal makes no sense"):
            Journal(REQUEST, saved.append).load(data, "a.zarr")
