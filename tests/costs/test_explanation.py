"""What a read costs, as fields, as text and in notebooks."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from mixed_items import basic_or_fancy

import caterva_cffi as cat

SHAPE, CHUNKS, BLOCKS = (21, 30, 17), (10, 12, 17), (4, 5, 3)
ITEMS = np.random.default_rng(0).integers(0, 2**31, SHAPE, "i4")


def places(parts):
    """Return the number of the chunk or block that each item is in."""
    along = [np.arange(n) // part for n, part in zip(SHAPE, parts, strict=True)]
    return np.ravel_multi_index(np.ix_(*along), [side.max() + 1 for side in along])


CHUNK = places(CHUNKS)
# Each block of a chunk begins at a multiple of its sides from where the chunk begins.
_starts = [
    np.arange(n) // chunk * 100 + np.arange(n) % chunk // block
    for n, chunk, block in zip(SHAPE, CHUNKS, BLOCKS, strict=True)
]
BLOCK = np.ravel_multi_index(np.ix_(*_starts), [1000] * 3)


@settings(deadline=None)
@given(selection=basic_or_fancy(SHAPE))
def test_chunks_blocks_and_items(selection):
    array = cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS)
    told, expected = array.explain(selection), ITEMS[selection]
    assert (told.selected, told.nitems) == (expected.shape, expected.size)
    assert told.nchunks == len(np.unique(CHUNK[selection]))
    assert told.nblocks == len(np.unique(BLOCK[selection]))
    assert told.ndecoded == told.nblocks * 60
    assert (told.requests, told.nbytes, told.rounds) == (0, 0, 0)
    assert told.memory >= expected.nbytes


def test_chunks_of_one_value_have_no_blocks():
    array = cat.full((20, 20), 7, dtype="i4", chunks=(10, 10), blocks=(5, 5))
    array[3, 3] = 1
    told = array.explain(np.s_[:10])
    assert (told.nchunks, told.nblocks) == (2, 4)


def test_blocks_that_refer_to_others_are_all_decoded():
    delta = {"codec": cat.Codec.LZ4, "filters": [cat.Filter.DELTA]}
    array = cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS, **delta)
    assert array.explain(np.s_[0, 0, 0]).nblocks in (1, 3 * 3 * 6)


def test_text():
    array = cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS)
    before = cat.set_nthreads(1)
    text = str(array.explain(np.s_[5]))
    cat.set_nthreads(before)
    assert text == (
        "Selected : (30, 17) of (21, 30, 17), in 510 items\n"
        "Chunks   : 3 of 9, of (10, 12, 17)\n"
        "Blocks   : 48 of (4, 5, 3) are decoded\n"
        "Wanted   : 2.04 kB\n"
        "Decoded  : 11.5 kB, 5.65 times as many\n"
        "Read     : none: the array is in memory\n"
        "Memory   : about 2.76 kB at most"
    )


def filled(html):
    """Return how many rectangles of touched blocks a drawing has."""
    page = ElementTree.fromstring(f"<div>{html}</div>")
    return sum(each.get("fill", "none") != "none" for each in page.iter("rect"))


def test_html_draws_the_blocks():
    array = cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS)
    told = array.explain(np.s_[5])
    assert filled(told._repr_html_()) == 1
    assert filled(array.explain(np.s_[::12, 0])._repr_html_()) == 2
    assert "axis 0" in told._repr_html_() and "times as many" in told._repr_html_()
    one = cat.asarray(ITEMS[0, 0], chunks=(17,), blocks=(3,))
    assert filled(one.explain(np.s_[::8])._repr_html_()) == 3


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_arrays_without_items_or_dimensions(shape):
    array = cat.zeros(shape, dtype="f8")
    told = array.explain()
    assert told.nitems == np.prod(shape, dtype=int) and "Selected" in str(told)
    assert "svg" not in told._repr_html_()


def test_errors_are_those_of_a_read():
    array = cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS)
    for selection in (99, np.s_[0, 0, 0, 0]):
        with pytest.raises(IndexError):
            array.explain(selection)
    array.close()
    with pytest.raises(cat.ClosedError):
        array.explain(0)
