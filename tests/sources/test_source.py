"""Readers of the user's: what is asked of them, and what they do wrong."""

from __future__ import annotations

import numpy as np
import obstore
import pytest
from checkout import ROOT
from remote_arrays import FRAME, ITEMS, Counting

import caterva_cffi as cat


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (lambda got: got[:-1], cat.StorageError, "0 answers to 1"),
        (lambda got: [part[:-1] for part in got], cat.StorageError, "cut short"),
        (lambda got: [part + b"1" for part in got], cat.StorageError, "ranges are ignored"),
        (lambda got: [None for part in got], TypeError, "bytes-like"),
        (lambda got: 1 / 0, ZeroDivisionError, None),
    ],
    ids=["fewer answers", "shorter", "longer", "nothing", "the reader's error"],
)
@pytest.mark.parametrize("when", ["opening", "reading"])
def test_readers_that_do_wrong(answer, error, match, when):
    class Wrong(Counting):
        wrong = when == "opening"

        def read_ranges(self, ranges):
            got = super().read_ranges(ranges)
            return answer(got) if self.wrong else got

    reader = Wrong(FRAME, len(FRAME))
    with pytest.raises(error, match=match):
        array = cat.open(reader)
        reader.wrong = True
        array[3]
    reader.wrong = False
    np.testing.assert_array_equal(cat.open(reader)[3], ITEMS[3])


def test_any_buffers_will_do():
    class Arrays(Counting):
        def read_ranges(self, ranges):
            return [np.frombuffer(part, "u1") for part in super().read_ranges(ranges)]

    np.testing.assert_array_equal(cat.open(Arrays(FRAME))[...], ITEMS)


def test_the_reader_of_the_documentation():
    text = (ROOT / "docs" / "arrays.md").read_text("utf-8")
    found = {}
    exec(text[text.index("class Obstore") :].partition("```")[0], found)
    store = obstore.store.MemoryStore()
    store.put("a", FRAME)
    array = cat.open(found["Obstore"](store, "a"))
    np.testing.assert_array_equal(array[...], ITEMS)
    assert "Obstore" in repr(array)


def test_a_reader_whose_size_changes_is_noticed():
    reader = Counting(FRAME, len(FRAME))
    array = cat.open(reader)
    reader.size += 1
    with pytest.raises(cat.StorageError, match="has changed"):
        array[0]
