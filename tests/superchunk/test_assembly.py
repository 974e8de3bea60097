"""Many chunks, written: time that grows as their number does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.superchunk import schunk

MANY = 1000
ITEMS = (np.arange(MANY) % 7).astype("u1")  # some chunks are zeros, without bytes of their own
STORED = {
    "memory": {},
    "frame": {"contiguous": True},
    "file": {"contiguous": True, "urlpath": "array"},
    "directory": {"urlpath": "array"},
}


def written():
    """Return how many bytes this process has written so far."""
    return int(Path("/proc/self/io").read_text().split("wchar:")[1].split()[0])


@pytest.fixture
def appended(monkeypatch, tmp_path):
    """The chunks that C-Blosc2 appends to a frame, for which it writes all offsets anew."""
    monkeypatch.chdir(tmp_path)
    chunks = []

    class Counting:
        def __getattr__(self, name):
            return getattr(cat.lib, name)

        def blosc2_schunk_append_chunk(self, ptr, chunk, copy):
            if ptr.storage.contiguous or ptr.storage.urlpath != cat.ffi.NULL:
                chunks.append(chunk)
            return cat.lib.blosc2_schunk_append_chunk(ptr, chunk, copy)

    monkeypatch.setattr(schunk, "lib", Counting())
    return chunks


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("kind", STORED)
def test_many_chunks_are_written_once(appended, kind, checksum):
    options = {"chunks": (1,), "blocks": (1,), "checksum": checksum}
    before = written()
    array = cat.asarray(ITEMS, codec=cat.Codec.ZSTD, **options, **STORED[kind])
    array.vlmeta["name"] = b"content"
    frame = array.to_cframe()
    array.save("saved")
    assert written() - before < 4 * len(frame) + (1 << 16)
    assert not appended
    del frame
    for found in (array, cat.open("saved"), array.copy(**STORED["frame"])):
        assert (found[...] == ITEMS).all()
        assert dict(found.vlmeta) == {"name": b"content"}
        found[5:8] = 9
        found.resize((MANY + 1,))
        assert (found[...] == [*ITEMS[:5], 9, 9, 9, *ITEMS[8:], 0]).all()


@pytest.mark.parametrize("kind", STORED)
def test_repeated_items_and_squeezed_arrays_are_written_once(appended, kind):
    array = cat.full((MANY, 1), 5, dtype="<i4", chunks=(1, 1), **STORED[kind])
    array.squeeze()
    assert not appended
    assert (array[...] == 5).all()
    assert not cat.zeros((MANY,), dtype="<i4", chunks=(1,), contiguous=True)[...].any()
    assert not appended


def test_what_frames_do_not_say_is_kept():
    options = {"splitmode": cat.SplitMode.NEVER, "usedict": True, "codec": cat.Codec.ZSTD}
    few, many = (
        cat.zeros((n,), dtype="u1", chunks=(1,), contiguous=True, **options) for n in (2, MANY)
    )
    for name in ("splitmode", "use_dict", "clevel", "compcode"):
        assert getattr(many.schunk.ptr, name) == getattr(few.schunk.ptr, name)
