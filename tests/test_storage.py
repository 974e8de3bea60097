"""Arrays in memory and on disk: created, opened, shared, damaged, closed, and never overwritten."""

import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi import Codec, Filter, SplitMode
from caterva_cffi.engine import readers
from caterva_cffi.planning.layout import decode_plain, encode_offsets

ITEMS = np.arange(600, dtype="i4").reshape(20, 30)
PARTITION = {"chunks": (7, 8), "blocks": (3, 4)}
INDEX = "chunks.b2frame"

CONSTRUCTORS = {
    "empty": (lambda **kw: cat.empty((20, 30), dtype="i4", **kw), np.zeros_like(ITEMS)),
    "zeros": (lambda **kw: cat.zeros((20, 30), 4, **kw), np.zeros_like(ITEMS)),
    "full": (lambda **kw: cat.full((20, 30), 7, dtype="i4", **kw), np.full_like(ITEMS, 7)),
    "full of bytes": (lambda **kw: cat.full((20, 30), b"\5\0\0\0", **kw), np.full_like(ITEMS, 5)),
    "from_buffer": (lambda **kw: cat.from_buffer(ITEMS.tobytes(), (20, 30), 4, **kw), ITEMS),
    "asarray": (lambda **kw: cat.asarray(ITEMS, **kw), ITEMS),
    "copy": (lambda **kw: cat.copy(cat.asarray(ITEMS, **PARTITION), **kw), ITEMS),
    "slice": (lambda **kw: cat.asarray(ITEMS).slice(..., **kw), ITEMS),
}
each_constructor = pytest.mark.parametrize(
    ("construct", "expected"), CONSTRUCTORS.values(), ids=list(CONSTRUCTORS)
)
each_kind = pytest.mark.parametrize("contiguous", [True, False], ids=["file", "directory"])


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(urlpath=None, **kwargs):
    return cat.asarray(ITEMS, urlpath=urlpath, **{**PARTITION, **kwargs})


def everything_in(folder="."):
    return {
        path.as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() or path.is_symlink()
    }


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


# --- what is overwritten, removed and left alone ----------------------------------------------

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


# --- files that change while they are open ----------------------------------------------------


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


# --- parameters -------------------------------------------------------------------------------

NO = Filter.NOFILTER
PARAMETERS = {
    "defaults": ({}, (Codec.LZ4, 5, [NO] * 5 + [Filter.SHUFFLE], [0] * 6)),
    "none": ({"filters": [], "clevel": 0}, (Codec.LZ4, 0, [NO] * 6, [0] * 6)),
    "codec": (
        {"codec": Codec.ZSTD, "clevel": 9},
        (Codec.ZSTD, 9, [NO] * 5 + [Filter.SHUFFLE], [0] * 6),
    ),
    "filters": (
        {
            "codec": Codec.BLOSCLZ,
            "clevel": 1,
            "filters": [Filter.TRUNC_PREC, Filter.BITSHUFFLE],
            "filtersmeta": [20, 0],
        },
        (Codec.BLOSCLZ, 1, [NO] * 4 + [Filter.TRUNC_PREC, Filter.BITSHUFFLE], [0] * 4 + [20, 0]),
    ),
    "negative filtersmeta": (
        {"filters": [Filter.INT_TRUNC, Filter.SHUFFLE], "filtersmeta": [-3, 0], "codec": "zlib"},
        (Codec.ZLIB, 5, [NO] * 4 + [Filter.INT_TRUNC, Filter.SHUFFLE], [0] * 4 + [253, 0]),
    ),
    "six filters": (
        {"filters": [NO] * 4 + [Filter.DELTA, Filter.SHUFFLE], "filtersmeta": [0] * 6},
        (Codec.LZ4, 5, [NO] * 4 + [Filter.DELTA, Filter.SHUFFLE], [0] * 6),
    ),
}


@pytest.mark.parametrize(("kwargs", "expected"), PARAMETERS.values(), ids=list(PARAMETERS))
@pytest.mark.parametrize("construct", [cat.asarray, cat.from_buffer, cat.zeros], ids=str)
def test_parameters_arrive(kwargs, expected, construct):
    arguments = {
        cat.asarray: (ITEMS,),
        cat.from_buffer: (ITEMS, ITEMS.shape, 4),
        cat.zeros: (ITEMS.shape, 4),
    }[construct]
    made = construct(*arguments, urlpath="a", contiguous=True, **PARTITION, **kwargs)
    for array in (made, cat.open("a"), cat.from_cframe(made.to_cframe())):
        assert (array.codec, array.clevel, array.filters, array.filtersmeta) == expected


@pytest.mark.parametrize("mode", SplitMode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("usedict", [True, False])
@pytest.mark.parametrize("nthreads", [1, 3])
def test_parameters_that_only_c_sees_arrive(mode, usedict, nthreads):
    options = {"splitmode": mode, "usedict": usedict, "nthreads": nthreads, "codec": Codec.ZSTD}
    made = make("a", contiguous=True, codec_meta=77, **options)
    assert (made[...] == ITEMS).all()
    for array in (made, cat.open("a")):
        # A frame keeps neither codec_meta nor threads where nothing needs them.
        assert array.schunk.ptr.splitmode == mode.value
        assert bool(array.schunk.ptr.use_dict) is usedict
        assert array.schunk.ptr.compcode_meta == 77


def test_what_is_written_later_is_compressed_alike():
    large = {"chunks": (20, 30), "blocks": (20, 30)}
    make("a", contiguous=True, codec=Codec.ZSTD, clevel=7, **large).close()
    opened = cat.open("a")
    opened[...] = ITEMS[::-1]
    opened.append(ITEMS)
    assert (opened.codec, opened.clevel) == (Codec.ZSTD, 7)
    assert opened.cratio > 2
    shutil.copy("a", "b")
    assert (cat.open("b")[:20] == ITEMS[::-1]).all()


# --- buffers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 2399, 2401, 4800])
def test_buffers_of_wrong_sizes(size):
    with pytest.raises(
        cat.ArgumentError, match=rf"{size} bytes; shape \(20, 30\) of 4-byte items needs 2400"
    ):
        cat.from_buffer(bytes(size), (20, 30), 4)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, np.asarray], ids=str)
def test_buffers_of_any_kind(wrap):
    source = ITEMS if wrap is np.asarray else ITEMS.tobytes()
    made = cat.from_buffer(wrap(source), ITEMS.shape, dtype="i4", **PARTITION)
    assert (made[...] == ITEMS).all()


def test_from_buffer_copies():
    source = bytearray(ITEMS.tobytes())
    made = cat.from_buffer(source, ITEMS.shape, dtype="i4")
    source[:] = bytes(len(source))
    source.append(0)
    assert (made[...] == ITEMS).all()


@pytest.mark.parametrize(
    ("buffer", "error", "message"),
    [
        ("text", TypeError, "the buffer is str; expected an object with the buffer protocol"),
        (None, TypeError, "the buffer is NoneType"),
        (np.zeros((4, 4), "u1")[:, ::2], cat.ArgumentError, "not C-contiguous"),
        (memoryview(bytes(16))[::2], cat.ArgumentError, "C-contiguous"),
    ],
)
def test_wrong_buffers(buffer, error, message):
    with pytest.raises(error, match=message):
        cat.from_buffer(buffer, (4, 2), 1)


def test_metalayers_of_the_user():
    meta = {"text": b"value", b"bytes": bytearray(b"value"), "array": np.arange(3)}
    made = make("a", contiguous=True, meta=meta)
    for array in (made, cat.open("a"), made.copy(), cat.from_cframe(made.to_cframe())):
        assert array.meta["text"] == array.meta["bytes"] == array.meta[b"text"] == b"value"
        assert array.meta["array"] == np.arange(3).tobytes()


@each_kind
@pytest.mark.parametrize("what", ["complete", "going on"])
def test_change_during_a_read_is_an_error(tmp_path, monkeypatch, contiguous, what):
    path = tmp_path / "a"
    items = np.random.default_rng(0).integers(1 << 62, size=2000)  # more than is read at first
    cat.asarray(items, chunks=(1000,), blocks=(100,), urlpath=path, contiguous=contiguous)
    reader, writer = cat.open(path, mode="r"), cat.open(path)
    assert reader[1999] == items[1999]
    fetch = readers.read_ranges

    def change(*arguments):
        monkeypatch.setattr(readers, "read_ranges", fetch)
        fetched = fetch(*arguments)
        if what == "complete":
            writer[...] = 7
        else:
            (path / "changing" if path.is_dir() else tmp_path / "a.changing").touch()
            os.utime(path / INDEX if path.is_dir() else path)
        return fetched

    monkeypatch.setattr(readers, "read_ranges", change)
    with pytest.raises(cat.StorageError, match="chang"):
        reader[...]
    if what == "complete":
        assert (reader[...] == 7).all()


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


def test_offsets_of_many_chunks_of_zeros_are_believed():
    offsets = np.full(3_000_000, (1 << 56) - (1 << 63))
    chunk = encode_offsets(offsets).tobytes()
    np.testing.assert_array_equal(decode_plain(chunk, offsets.nbytes, "").view("i8"), offsets)


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
