"""Directories of chunks that are damaged."""

from __future__ import annotations

import contextlib
import glob
import os

import numpy as np
import pytest
from handles import USES, make, restore

import caterva_cffi as cat

pytestmark = pytest.mark.usefixtures("in_empty_folder")


def cut_to(size):
    return lambda name: os.truncate(name, size)


def says(where, number):
    def forge(name):
        with open(name, "rb+") as file:
            file.seek(where)
            file.write(number.to_bytes(4, "little"))

    return forge


def becomes_a_folder(name):
    os.remove(name)
    os.mkdir(name)


DAMAGES = {
    "missing": os.remove,
    "a folder": becomes_a_folder,
    "empty": cut_to(0),
    "half a header": cut_to(16),
    "cut off": cut_to(40),
    "other items": says(4, 1 << 30),
    "longer": says(12, (1 << 31) - 1),
    "shorter": says(12, 31),
}
WHOLE = {
    **{name: USES[name] for name in ("items", "to_cframe", "save", "copy", "pickle")},
    "index arrays": lambda a: a[[0, len(a) - 1]],
    "out": lambda a: a.read(out=np.empty(a.shape, a.dtype)),
    "copy to a file": lambda a: a.copy(urlpath="copied", contiguous=True, mode="w"),
    "slice": lambda a: a.slice((slice(None), slice(1, None))),
    "chunks": lambda a: [a._items.chunk_bytes(k) for k in range(a.nchunks)],
    "squeeze": lambda a: a.resize((len(a), 1)).squeeze(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
def test_whatever_reads_a_damaged_directory_says_which_chunk(which, damage):
    make(path="kept", contiguous=False)
    for use in WHOLE.values():
        restore("kept")
        array = cat.open("a")
        file = sorted(glob.glob("a/*.chunk"))[which]
        damage(file)
        with pytest.raises((cat.StorageError, cat.FormatError), match="chunk") as caught:
            use(array)
        assert type(caught.value) in (cat.StorageError, cat.FormatError)
        with contextlib.suppress(cat.StorageError, cat.FormatError):
            cat.open("a")  # reads the first one


def test_a_chunk_that_cannot_be_deleted_is_named():
    array = make(contiguous=False)
    os.remove(max(glob.glob("a/*.chunk")))
    with pytest.raises(cat.StorageError, match=r"'a': deleting chunk 3"):
        array.resize((5, 6))


def test_a_write_that_fails_on_its_way_leaves_no_half_changed_items(monkeypatch):
    """C-Blosc2 may have changed what says where chunks are."""
    array = cat.asarray(np.arange(100), chunks=(50,), blocks=(10,), contiguous=True)
    schunk = array.schunk
    with pytest.raises(cat.CatervaError, match="writing chunk 0"):
        schunk.write("writing chunk 0", lambda: cat.lib.BLOSC2_ERROR_CHUNK_UPDATE)
    for use in (lambda: array[3], lambda: array.__setitem__(3, 4), array.to_cframe):
        with pytest.raises(cat.StorageError, match="failed on its way"):
            use()


@pytest.mark.parametrize("change", ["append_chunk", "insert_chunk", "update_chunk", "delete_chunk"])
def test_memory_of_others_is_not_changed(change):
    frame = bytes(cat.asarray(np.arange(10), chunks=(5,), blocks=(5,), contiguous=True).to_cframe())
    schunk = cat.from_cframe(frame).schunk
    chunk = schunk.chunk(0)
    data = bytes(cat.ffi.buffer(chunk.pointer, chunk.size))
    arguments = {"append_chunk": (data,), "delete_chunk": (0,)}
    with pytest.raises(cat.ReadOnlyError, match="opened for reading"):
        getattr(schunk, change)(*arguments.get(change, (0, data)))
