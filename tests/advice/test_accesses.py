"""Accesses by example, as selections."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.advice.accesses import Access, selections_of

SHAPE = (6, 7, 8)


@pytest.mark.parametrize(
    ("what", "name", "shape"),
    [
        ("planes along 0", "planes along 0", (7, 8)),
        ("lines along 2", "lines along 2", (8,)),
        ("boxes of 2x3x99", "boxes of 2x3x99", (2, 3, 8)),
        ("items", "items", ()),
        ("everything", "everything", SHAPE),
        (np.s_[1, 2:, ::3], "[1, 2:, ::3]", (5, 3)),
        (np.s_[..., [1, 2]], "[..., 2 indices]", (6, 7, 2)),
        (4, "[4]", (7, 8)),
    ],
)
def test_what_is_read(what, name, shape):
    [found] = selections_of([Access(what, 3)], SHAPE)
    assert (found.name, found.weight) == (name, 3)
    assert {each.shape for each in found.selections} == {shape}


def test_places_are_all_over_the_array():
    [found] = selections_of("planes along 1", (50, 1000, 50))
    starts = [each.axes[1].start for each in found.selections]
    assert len(set(starts)) > 4 and max(starts) > 500


@pytest.mark.parametrize(
    "what", ["planes", "planes along 3", "lines along -1", "boxes of 2x3", "rows", "boxes of"]
)
def test_words_without_meaning_are_refused(what):
    with pytest.raises(cat.ArgumentError, match="boxes of NxNxN"):
        selections_of([what], SHAPE)


def test_nothing_to_choose_for_is_refused():
    with cat.recorded_accesses() as accesses:
        cat.zeros((3, 3), dtype="u1")[0]
    for none in ([], accesses):
        with pytest.raises(cat.ArgumentError, match="no access"):
            selections_of(none, SHAPE)
    for weight in (0, -1, float("nan")):
        with pytest.raises(cat.ArgumentError, match="weight"):
            Access("items", weight)
    with pytest.raises(IndexError):
        selections_of([np.s_[99]], SHAPE)
