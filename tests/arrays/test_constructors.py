"""Arrays in memory and on disk: created, opened, closed, and refused in words."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from stored_arrays import ITEMS, PARTITION, each_constructor, each_kind, everything_in, make

import caterva_cffi as cat

pytestmark = pytest.mark.usefixtures("in_empty_folder")


INDEX = "chunks.b2frame"


# --- creating and opening ---------------------------------------------------------------------


@each_constructor
@pytest.mark.parametrize("urlpath", [None, "a"], ids=["memory", "disk"])
@each_kind
def test_every_constructor_stores_anywhere(construct, expected, urlpath, contiguous):
    made = construct(urlpath=urlpath, contiguous=contiguous, **PARTITION)
    assert made.to_buffer() == expected.tobytes()
    assert made.contiguous is contiguous
    assert made.urlpath == urlpath
    assert not made.read_only
    made[3, 4] = made[0, 0]
    if urlpath is None:
        assert os.listdir() == []
        return
    assert os.path.isfile("a") is contiguous
    assert os.path.isdir("a") is not contiguous
    opened = cat.open("a")
    assert opened.to_buffer() == made.to_buffer()
    assert (opened.chunks, opened.blocks) == (PARTITION["chunks"], PARTITION["blocks"])
    assert (opened.contiguous, opened.urlpath) == (contiguous, "a")


def test_memframe_is_contiguous_memory():
    assert make(memframe=True).contiguous
    assert not make().contiguous


@pytest.mark.parametrize("make_name", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
@pytest.mark.parametrize("name", ["a b", "ñandú-数组.b2nd", "-x", "a%20b?*", "n" * 200])
@each_kind
def test_paths(make_name, name, contiguous):
    path = make_name(name)
    made = make(path, contiguous=contiguous)
    assert made.urlpath == name
    assert os.listdir() == [name]
    assert (cat.open(path)[...] == ITEMS).all()
    made.save(make_name("saved"))
    assert (cat.open(make_name("saved"))[...] == ITEMS).all()
    cat.remove(path)
    assert os.listdir() == ["saved"]


def test_paths_that_are_no_text():
    name = os.fsdecode(b"\xff\xfe")
    make(name)
    assert (cat.open(b"\xff\xfe")[...] == ITEMS).all()


def test_a_slash_behind_a_directory():
    make("a").close()
    assert (cat.open("a/")[...] == ITEMS).all()


MODES = {
    "append": lambda a: a.append(ITEMS),
    "assignment": lambda a: a.__setitem__(0, 0),
    "resize": lambda a: a.resize((3, 3)),
    "same size": lambda a: a.resize(a.shape),
    "squeeze": lambda a: a.squeeze(),
    "meta": lambda a: a.meta.__setitem__("note", b"FIXED"),
    "vlmeta": lambda a: a.vlmeta.__setitem__("new", b"value"),
}


@each_kind
def test_open_to_read(contiguous):
    make("a", contiguous=contiguous, meta={"note": b"fixed"}).close()
    before = everything_in()
    with cat.open("a", mode="r") as opened:
        assert opened.read_only
        assert (opened[...] == ITEMS).all()
        for change in MODES.values():
            with pytest.raises(cat.ReadOnlyError, match="'a' was opened for reading"):
                change(opened)
    assert everything_in() == before


@each_kind
def test_open_to_change(contiguous):
    make("a", contiguous=contiguous, meta={"note": b"fixed"}).close()
    with cat.open("a") as opened:
        assert not opened.read_only
        opened[0] = 0
        opened.meta["note"] = b"FIXED"
        opened.vlmeta["new"] = b"value"
        opened.append(ITEMS)
    with cat.open("a", mode="r") as again:
        assert (again[1:20] == ITEMS[1:]).all()
        assert not again[0].any()
        assert (again[20:] == ITEMS).all()
        assert again.meta["note"] == b"FIXED"
        assert again.vlmeta["new"] == b"value"


@each_kind
def test_a_file_that_may_not_be_written_is_opened_to_read(contiguous):
    make("a", contiguous=contiguous).close()
    file = Path("a" if contiguous else f"a/{INDEX}")
    file.chmod(stat.S_IRUSR)
    assert (cat.open("a", mode="r")[...] == ITEMS).all()


# --- what cannot be opened or created ---------------------------------------------------------

UNOPENABLE = {
    "missing": ("none", FileNotFoundError, "none"),
    "below a missing folder": ("none/a", FileNotFoundError, "none/a"),
    "below a file": ("file/a", NotADirectoryError, "file/a"),
    "empty path": ("", FileNotFoundError, "''"),
    "NUL": ("a\0b", cat.ArgumentError, r"'a\\x00b' has an embedded NUL"),
    "number": (5, TypeError, "str, bytes or os.PathLike"),
    "None": (None, TypeError, "str, bytes or os.PathLike"),
    "directory": ("folder", IsADirectoryError, "'folder' is a directory without a sparse frame"),
    "text": ("file", cat.FormatError, "'file' is no Blosc2 frame"),
    "empty file": ("nothing", cat.FormatError, "'nothing' is no Blosc2 frame"),
    "index of a sparse array": (f"sparse/{INDEX}", cat.FormatError, "no Blosc2 frame"),
    "a chunk of a sparse array": ("sparse/00000000.chunk", cat.FormatError, "no Blosc2 frame"),
    "too long": ("n" * 300, OSError, "too long"),
}


@pytest.mark.parametrize("mode", ["a", "r"])
@pytest.mark.parametrize(("path", "error", "message"), UNOPENABLE.values(), ids=list(UNOPENABLE))
def test_what_cannot_be_opened(path, error, message, mode, capfd):
    Path("folder").mkdir()
    Path("file").write_text("text" * 100)
    Path("nothing").touch()
    make("sparse").close()
    with pytest.raises(error, match=message):
        cat.open(path, mode=mode)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["w", "x", "r+", "", 5])
def test_wrong_modes(mode):
    make("a").close()
    with pytest.raises(cat.ArgumentError, match=r"mode is .*; expected 'r' .* or 'a'"):
        cat.open("a", mode=mode)
    for create in (lambda: make("b", mode="a"), lambda: make().save("b", mode="a")):
        with pytest.raises(cat.ArgumentError, match=r"mode is 'a'; expected 'x' .* or 'w'"):
            create()


UNCREATABLE = {
    "missing folder": ("none/a", FileNotFoundError, "no directory '.*none'"),
    "below a file": ("file/a", OSError, "no directory '.*file'"),
    "NUL": ("a\0b", cat.ArgumentError, "embedded NUL"),
    "number": (5, TypeError, "str, bytes or os.PathLike"),
    "too long": ("n" * 300, OSError, "n{300}"),
    # procfs refuses new files to everyone, root too.
    "no permission": ("/proc/array", OSError, "/proc/"),
}


@each_kind
@pytest.mark.parametrize(("path", "error", "message"), UNCREATABLE.values(), ids=list(UNCREATABLE))
def test_what_cannot_be_created(path, error, message, contiguous, capfd):
    Path("file").write_text("text")
    with pytest.raises(error, match=message):
        make(path, contiguous=contiguous)
    with pytest.raises(error):
        make().save(path)
    assert os.listdir() == ["file"]
    assert capfd.readouterr() == ("", "")


# --- closing ----------------------------------------------------------------------------------

NEEDS_OPEN = {
    "get": lambda a: a[0],
    "get one": lambda a: a[0, 0],
    "get nothing": lambda a: a[0:0],
    "get by arrays": lambda a: a[[0, 1], [1, 2]],
    "oindex": lambda a: a.oindex[[0]],
    "read": lambda a: a.read(),
    "asarray": np.asarray,
    "set": lambda a: a.__setitem__(0, 1),
    "set nothing": lambda a: a.__setitem__(slice(0, 0), 1),
    "set oindex": lambda a: a.oindex.__setitem__(0, 1),
    "slice": lambda a: a.slice(0),
    "copy": lambda a: a.copy(),
    "cat.copy": cat.copy,
    "to_buffer": lambda a: a.to_buffer(),
    "to_cframe": lambda a: a.to_cframe(),
    "schunk_to_buffer": cat.schunk_to_buffer,
    "save": lambda a: a.save("saved"),
    "resize": lambda a: a.resize((1, 1)),
    "resize to the same": lambda a: a.resize(a.shape),
    "append": lambda a: a.append(ITEMS),
    "insert": lambda a: a.insert(0, ITEMS),
    "delete": lambda a: a.delete(0),
    "squeeze": lambda a: a.squeeze(),
    "meta": lambda a: a.meta["note"],
    "set meta": lambda a: a.meta.__setitem__("note", b"FIXED"),
    "in meta": lambda a: "note" in a.meta,
    "vlmeta": lambda a: a.vlmeta["title"],
    "list vlmeta": lambda a: list(a.vlmeta),
    "set vlmeta": lambda a: a.vlmeta.__setitem__("title", b""),
    "delete vlmeta": lambda a: a.vlmeta.__delitem__("title"),
    "codec": lambda a: a.codec,
    "clevel": lambda a: a.clevel,
    "filters": lambda a: a.filters,
    "filtersmeta": lambda a: a.filtersmeta,
    "cratio": lambda a: a.cratio,
    "cbytes": lambda a: a.cbytes,
    "info": lambda a: repr(a.info),
    "info_items": lambda a: a.info_items,
    "schunk.ptr": lambda a: a.schunk.ptr,
    "schunk.chunk": lambda a: a.schunk.chunk(0),
    "pickle": lambda a: a.__reduce__(),
}


@pytest.mark.parametrize("use", NEEDS_OPEN.values(), ids=NEEDS_OPEN)
@pytest.mark.parametrize("urlpath", [None, "a"], ids=["memory", "disk"])
def test_closed_arrays(use, urlpath):
    made = make(urlpath, meta={"note": b"fixed"})
    made.vlmeta["title"] = b"value"
    made.close()
    before = everything_in()
    with pytest.raises(cat.ClosedError, match="closed"):
        use(made)
    assert everything_in() == before
    made.close()
    assert repr(made) == "<caterva_cffi.NDArray, closed>"
    assert made.shape == ITEMS.shape


@each_kind
@pytest.mark.parametrize("urlpath", [None, "a"], ids=["memory", "disk"])
def test_a_context_manager_closes(urlpath, contiguous):
    with make(urlpath, contiguous=contiguous) as made:
        assert (made[...] == ITEMS).all()
    with pytest.raises(cat.ClosedError):
        made[...]
    with pytest.raises(ZeroDivisionError), make() as made:
        1 / 0  # noqa: B018
    with pytest.raises(cat.ClosedError):
        made[...]


def test_metalayers_of_the_user():
    meta = {"text": b"value", b"bytes": bytearray(b"value"), "array": np.arange(3)}
    made = make("a", contiguous=True, meta=meta)
    for array in (made, cat.open("a"), made.copy(), cat.from_cframe(made.to_cframe())):
        assert array.meta["text"] == array.meta["bytes"] == array.meta[b"text"] == b"value"
        assert array.meta["array"] == np.arange(3).tobytes()


# --- what can be written can be opened ------------------------------------------------------------


@pytest.mark.parametrize("name", [b"\xff\xfe", "\udcff", "ñ", b"\x01", "a" * 31], ids=repr)
def test_names_of_metalayers_that_can_be_written_can_be_read(name):
    made = make("a", contiguous=True, meta={name: b"fixed"})
    made.vlmeta[name] = b"variable"
    for found in (made, cat.open("a"), cat.open(Path("a").absolute().as_uri()), made.copy()):
        key = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
        assert key in list(found.meta) and found.meta[key] == b"fixed"
        assert dict(found.vlmeta) == {key: b"variable"}


def test_names_that_have_no_bytes_are_refused():
    with pytest.raises(cat.ArgumentError, match="no text that has bytes"):
        make(meta={"\ud800": b""})
    with pytest.raises(cat.ArgumentError, match="no text that has bytes"):
        make().vlmeta["\ud800"] = b""
    assert "\ud800" not in make().vlmeta


def test_metalayers_of_any_size_are_read_or_refused():
    made = make("a", contiguous=True)
    made.vlmeta["zeros"] = bytes(17 << 20)
    for found in (made, cat.open("a"), cat.open(Path("a").absolute().as_uri())):
        assert found.vlmeta["zeros"] == bytes(17 << 20)
    for store in (
        lambda: made.vlmeta.__setitem__("zeros", np.zeros(2**31, "u1")),
        lambda: make(meta={"zeros": np.zeros(2**31, "u1")}),
    ):
        with pytest.raises(cat.ArgumentError, match="at most"):
            store()


@pytest.mark.parametrize("what", ["fifo", "/dev/zero"])
def test_what_is_no_file_is_no_frame(what):
    if what == "fifo":
        os.mkfifo("fifo")
    with pytest.raises(cat.FormatError, match="no regular file"):
        cat.open(what)


@each_kind
def test_errors_of_the_system_are_ours(contiguous, monkeypatch):
    made = make("a", contiguous=contiguous)
    reader = cat.open("a", mode="r")

    def broken_disk(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", broken_disk)
    for array in (made, reader):
        with pytest.raises(cat.StorageError, match="Input/output error"):
            array[...]
