"""Files and directories that are written whole, never over others, and removed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from stored_arrays import ITEMS, each_constructor, each_kind, everything_in, make

import caterva_cffi as cat
from caterva_cffi import Codec

pytestmark = pytest.mark.usefixtures("in_empty_folder")


OCCUPIED = {
    "array": lambda: make("a", contiguous=True).close(),
    "sparse array": lambda: make("a").close(),
    "file": lambda: Path("a").write_text("a thesis"),
    "directory": lambda: Path("a").mkdir(),
    "full directory": lambda: (Path("a").mkdir(), Path("a/thesis").write_text("of mine")),
    "dangling link": lambda: Path("a").symlink_to("nowhere"),
}


@pytest.mark.parametrize("occupy", OCCUPIED.values(), ids=OCCUPIED)
@each_constructor
def test_nothing_is_overwritten(construct, expected, occupy):
    occupy()
    before = everything_in("a"), os.lstat("a").st_mtime_ns
    for contiguous in (True, False):
        with pytest.raises(FileExistsError, match=r"'a' exists.*mode='w'"):
            construct(urlpath="a", contiguous=contiguous)
    with pytest.raises(FileExistsError, match="'a' exists"):
        make().save("a")
    assert (everything_in("a"), os.lstat("a").st_mtime_ns) == before
    assert os.listdir() == ["a"]


@pytest.mark.parametrize(
    "occupy", [OCCUPIED[k] for k in OCCUPIED if k != "full directory"], ids=str
)
@each_kind
def test_overwriting_is_asked_for(occupy, contiguous):
    occupy()
    make("a", contiguous=contiguous, mode="w").close()
    assert (cat.open("a")[...] == ITEMS).all()
    cat.remove("a")
    occupy()
    make().save("a", mode="w")
    assert (cat.open("a")[...] == ITEMS).all()
    assert os.listdir() == ["a"]


def test_a_directory_that_is_no_array_is_never_removed():
    OCCUPIED["full directory"]()
    for remove in (
        lambda: cat.remove("a"),
        lambda: make("a", mode="w"),
        lambda: make("a", mode="w", contiguous=True),
        lambda: make().save("a", mode="w"),
    ):
        with pytest.raises(IsADirectoryError, match="without a sparse frame"):
            remove()
    assert Path("a/thesis").read_text() == "of mine"
    assert os.listdir() == ["a"]


@each_kind
def test_remove(contiguous):
    make("a", contiguous=contiguous).close()
    make("b").close()
    cat.remove("a")
    assert os.listdir() == ["b"]
    cat.remove("a")
    os.symlink("b", "link")
    cat.remove("link")
    assert os.listdir() == ["b"]
    assert (cat.open("b")[...] == ITEMS).all()


FAILURES = {
    "metalayer": lambda path, **kw: make(path, meta={"note": 5}, **kw),
    "metalayer name": lambda path, **kw: make(path, meta={"n" * 32: b""}, **kw),
    "codec": lambda path, **kw: make(path, codec=254, **kw),
    "filter": lambda path, **kw: make(path, filters=[254], **kw),
    "N-d codec": lambda path, **kw: make(path, codec=Codec.NDLZ, **kw),
    "partition": lambda path, **kw: make(path, blocks=(8, 8), **kw),
    "buffer size": lambda path, **kw: cat.from_buffer(bytes(7), (2, 2), 2, urlpath=path, **kw),
    "codec level": lambda path, **kw: cat.zeros(5, 1, clevel=11, urlpath=path, **kw),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
@each_kind
def test_what_fails_leaves_nothing_behind(fail, contiguous):
    with pytest.raises((cat.CatervaError, TypeError)):
        fail("a", contiguous=contiguous)
    assert os.listdir() == []


def test_save_leaves_the_old_file_where_it_fails(monkeypatch):
    make().save("a")
    before = everything_in()

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        cat.zeros((3, 3), 4).save("a", mode="w")
    with pytest.raises(OSError, match="No space left"):
        cat.zeros((3, 3), 4).save("b")
    assert everything_in() == before


def test_save_honours_the_umask():
    before = os.umask(0o027)
    try:
        make().save("a")
        assert stat.S_IMODE(os.stat("a").st_mode) == 0o640
    finally:
        os.umask(before)


@each_kind
def test_save_over_itself(contiguous):
    made = make("a", contiguous=contiguous)
    made.save("a", mode="w")
    assert (cat.open("a")[...] == ITEMS).all()
