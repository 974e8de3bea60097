"""Files that change, are cut off or go while they are open."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from stored_arrays import ITEMS, each_kind, make

import caterva_cffi as cat

pytestmark = pytest.mark.usefixtures("in_empty_folder")


@each_kind
def test_other_handles_see_what_was_written(contiguous):
    writer = make("a", contiguous=contiguous)
    reader = cat.open("a", mode="r")
    assert (reader[...] == ITEMS).all()
    noise = np.random.default_rng(0).integers(0, 2**30, ITEMS.shape)
    writer[...] = noise
    assert (cat.open("a")[...] == noise).all()
    assert (reader[...] == noise).all()
    writer.append(ITEMS)
    assert cat.open("a").shape == (40, 30)


@each_kind
@pytest.mark.parametrize("shape", [(9, 9), (7, 8), (30, 30), (20, 40), (14, 48)], ids=str)
def test_a_handle_on_another_shape_is_refused(contiguous, shape):
    writer = make("a", contiguous=contiguous)
    reader = cat.open("a", mode="r")
    writer.resize(shape)
    shared = tuple(slice(min(pair)) for pair in zip(shape, ITEMS.shape, strict=True))
    with pytest.raises(cat.StorageError, match="open it again"):
        reader[...]
    assert (cat.open("a")[shared] == ITEMS[shared]).all()


@each_kind
def test_a_removed_array(contiguous, capfd):
    made = make("a", contiguous=contiguous)
    cat.remove("a")
    for use in (
        lambda: made[...],
        lambda: made.__setitem__(0, 0),
        lambda: made.resize((40, 40)),
        lambda: made.append(ITEMS),
        lambda: made.to_cframe(),
        lambda: made.save("b"),
        lambda: made.copy(),
        lambda: made.vlmeta.__setitem__("new", b"value"),
    ):
        with pytest.raises(OSError):
            use()
    made.close()
    assert os.listdir() == []
    assert capfd.readouterr() == ("", "")


def test_truncated_files():
    make("a", contiguous=True).close()
    whole = Path("a").read_bytes()
    for size in [*range(0, len(whole), 97), len(whole) - 1]:
        Path("b").write_bytes(whole)
        opened = cat.open("b")
        os.truncate("b", size)
        with pytest.raises(cat.FormatError, match="'b' is no Blosc2 frame"):
            cat.open("b")
        # The end of a frame is its trailer, which reading items does not need.
        if size < len(whole) - 200:
            with pytest.raises(cat.CatervaError):
                opened[...]


def test_damaged_sparse_arrays():
    made = make("a")
    first, second = (Path(f"a/{number:08X}.chunk") for number in (1, 2))
    first.write_bytes(first.read_bytes()[:20])
    second.unlink()
    for damaged in (made, cat.open("a")):
        with pytest.raises(cat.FormatError):
            damaged[0, 8]
        with pytest.raises(cat.StorageError, match=second.name):
            damaged[0, 16]
        assert (damaged[7:] == ITEMS[7:]).all()
