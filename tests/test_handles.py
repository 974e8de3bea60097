"""Several handles of one stored array: what one changes, others see or refuse, never half of it."""

import contextlib
import errno
import glob
import os
import pickle
import shutil
import signal

import blosc2
import numpy as np
import pytest

import caterva_cffi as cat

ITEMS = np.random.default_rng(3).integers(0, 1 << 40, (20, 6))
GEOMETRY = {"chunks": (5, 6), "blocks": (2, 3), "meta": {"note": b"fixed"}}
each_kind = pytest.mark.parametrize("contiguous", [True, False], ids=["file", "directory"])
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
ignore_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(items=ITEMS, path="a", **kwargs):
    made = cat.asarray(items, **{"urlpath": path, **GEOMETRY, **kwargs})
    made.vlmeta["title"] = b"old"
    return made


# --- what others see ------------------------------------------------------------------------------


def by_python_blosc2(array):
    theirs = blosc2.open(array.urlpath, mode="a")
    theirs[2:9] = 7
    theirs.schunk.vlmeta["theirs"] = 5


def replaced(items=ITEMS[::-1], **kwargs):
    def replace(array):
        like = {"contiguous": array.contiguous, "checksum": array.checksum}
        given = {**GEOMETRY, **like, **kwargs}
        cat.asarray(items, urlpath="a", mode="w", **given)

    return replace


CHANGES = {
    "items": lambda a: a.__setitem__((slice(3, 17), 2), 5),
    "noise to zeros": lambda a: a.__setitem__(..., 0),
    "new vlmeta": lambda a: a.vlmeta.__setitem__("new", b"more"),
    "changed vlmeta": lambda a: a.vlmeta.__setitem__("title", b"new"),
    "deleted vlmeta": lambda a: a.vlmeta.__delitem__("title"),
    "meta": lambda a: a.meta.__setitem__("note", b"FIXED"),
    "insert and delete": lambda a: a.insert(0, ITEMS[:5]).delete(5, 5),
    "python-blosc2": by_python_blosc2,
    "replaced": replaced(),
}
RESHAPING = {
    "append": lambda a: a.append(ITEMS[:1]),
    "shrink": lambda a: a.resize((7, 6)),
    "empty": lambda a: a.resize((0, 6)),
    "squeeze": lambda a: a.resize((20, 1)).squeeze(),
    "another dtype": replaced(ITEMS.astype("f8")),
    "another partition": replaced(chunks=(4, 6), blocks=(2, 2)),
    "a directory": replaced(contiguous=False),
    "a file": replaced(contiguous=True),
}


def saved(a):
    a.save("saved", mode="w")
    return cat.open("saved")


def written(a):
    a[0] = 1
    a.vlmeta["written"] = b"1"
    return cat.open("a", mode="r")


USES = {
    "items": lambda a: a[...].tolist(),
    "one item": lambda a: a[0, 0],
    "an item of the last row": lambda a: a[len(a) - 1].tolist(),
    "no items": lambda a: a[0:0].shape,
    "index arrays": lambda a: a[[0, 1]].tolist(),
    "oindex": lambda a: a.oindex[[0, 1]].tolist(),
    "out": lambda a: a.read(out=np.empty((20, 6), a.dtype)).tolist(),
    "shape": lambda a: (a.shape, a.ndim, a.nbytes, a.nitems, a.nchunks, a.chunks, a.dtype),
    "length": len,
    "meta": lambda a: dict(a.meta),
    "vlmeta": lambda a: dict(a.vlmeta),
    "names": lambda a: (list(a.vlmeta), len(a.vlmeta), "title" in a.vlmeta, "new" in a.vlmeta),
    "bytes": lambda a: a.cbytes,
    "parameters": lambda a: (a.codec, a.clevel, a.filters),
    "to_cframe": lambda a: everything(cat.from_cframe(a.to_cframe())),
    "save": lambda a: everything(saved(a)),
    "copy": lambda a: everything(a.copy()),
    "pickle": lambda a: everything(pickle.loads(pickle.dumps(a))),
    "chunk": lambda a: a._chunk_bytes(0),
    "write": lambda a: everything(written(a)),
    "append": lambda a: everything(a.append(a[:1])),
    "resize": lambda a: everything(a.resize((3, 6))),
}


def everything(a):
    return a[...].tolist(), a.shape, dict(a.vlmeta), a.meta.get("note")


def outcome(use, array):
    try:
        return use(array)
    except (IndexError, cat.ArgumentError) as error:  # as the array is now
        return type(error)


def restore(kept):
    cat.remove("a")
    (shutil.copytree if os.path.isdir(kept) else shutil.copy)(kept, "a")


@pytest.mark.parametrize(
    ("contiguous", "checksum"), [(True, False), (False, True)], ids=["file", "directory"]
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "opened"])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_another_handle_changed_is_seen_or_refused(use, known, checksum, contiguous):
    make(path="kept", contiguous=contiguous, checksum=checksum)
    for name, change in {**CHANGES, **RESHAPING}.items():
        if change is by_python_blosc2 and checksum:
            continue  # it keeps none, so that all is refused
        restore("kept")
        ours, theirs = cat.open("a"), cat.open("a")
        if known:
            theirs[0] = theirs[0]
            everything(theirs)
        change(ours)
        cat.remove("now")
        (shutil.copytree if os.path.isdir("a") else shutil.copy)("a", "now")
        try:
            found = outcome(use, theirs)
        except cat.StorageError as error:
            assert name in RESHAPING, error
        else:
            restore("now")
            assert found == outcome(use, cat.open("a"))


CHANGING = ("write", "append", "resize")


@each_kind
def test_nothing_is_read_while_a_change_goes_on(contiguous):
    make(contiguous=contiguous)
    ours, theirs = cat.open("a"), cat.open("a", mode="r")
    everything(theirs)
    with ours.schunk.changing():
        ours[0] = 1
        for name in USES.keys() - CHANGING:
            with pytest.raises(cat.StorageError, match="is being changed"):
                USES[name](theirs)
        for use in (
            lambda: cat.open("a"),
            lambda: cat.open("a").append(ITEMS),
            lambda: make(mode="w"),
            lambda: cat.remove("a"),
        ):
            with pytest.raises(cat.StorageError, match="is being changed"):
                use()
        assert everything(ours)[2] == {"title": b"old"}  # who changes it may read
    assert everything(theirs) == everything(ours) == everything(cat.open("a"))
    assert [name for name in os.listdir() if "changing" in name] == []


@each_kind
def test_what_others_put_in_its_place_meanwhile_is_marked(contiguous):
    ours = make(contiguous=contiguous)
    make(ITEMS[::-1], path="b", contiguous=contiguous)
    with (
        pytest.raises(cat.StorageError, match="was replaced while it was changed"),
        ours.schunk.changing(),
    ):
        ours[:7] = 1
        os.rename("a", "old")
        os.rename("b", "a")
    for use in (lambda: ours[...], lambda: cat.open("a")):
        with pytest.raises(cat.StorageError, match="cut off"):
            use()
    make(contiguous=contiguous, mode="w")  # anew
    assert (ours[...] == ITEMS).all() and (cat.open("a")[...] == ITEMS).all()


# --- a process that changes it meanwhile ----------------------------------------------------------


def change_again_and_again(checksum, contiguous):
    """Let all items be one number, of which the metalayers have as many bytes."""
    ours = cat.open("a")
    for number in range(1, 120):
        with ours.schunk.changing():
            if number % 10 == 5:
                ours.insert(0, ITEMS[:5]).delete(0, 5)
            ours[...] = number if number % 3 else 0
            ours.vlmeta["title"] = bytes(number if number % 3 else 0)
            if number % 7 == 1:
                ours.vlmeta["more"] = b""
            if number % 7 == 4:
                ours.vlmeta.pop("more", None)
        if number % 20 == 0:
            where = {"path": "new", "contiguous": contiguous, "checksum": checksum}
            make(np.full_like(ITEMS, number), **where).vlmeta["title"] = bytes(number)
            if contiguous:
                os.replace("new", "a")
            else:
                shutil.rmtree("a")
                os.rename("new", "a")


def is_one_state(array):
    items, title = array[...], array.vlmeta["title"]
    return (items == len(title)).all() and not cat.verify(bytes(array.to_cframe()))


STATES = {
    "items": lambda a: len(set(a[...].ravel().tolist())) == 1,
    "to_cframe": lambda a: is_one_state(cat.from_cframe(a.to_cframe())),
    "save": lambda a: is_one_state(saved(a)),
    "copy": lambda a: is_one_state(a.copy()),
    "vlmeta": lambda a: len(a.vlmeta.to_dict()) <= 2,
    "opened": lambda a: STATES["items"](cat.open("a", mode="r")),
    "pickle": lambda a: STATES["items"](pickle.loads(pickle.dumps(a))),
    "meta": lambda a: a.meta["note"] == b"fixed",
}


@needs_fork
@ignore_threads
@each_kind
@pytest.mark.parametrize("checksum", [True, False], ids=["sums", "plain"])
def test_what_is_read_beside_a_writer_is_of_one_state(contiguous, checksum):
    made = make(np.zeros_like(ITEMS), contiguous=contiguous, checksum=checksum)
    made.vlmeta["title"] = b""
    theirs = cat.open("a", mode="r")
    child = os.fork()
    if not child:
        try:
            change_again_and_again(checksum, contiguous)
            os._exit(0)
        finally:
            os._exit(1)
    torn, read, ended = [], 0, False
    while not ended:
        pid, status = os.waitpid(child, os.WNOHANG)
        ended = pid == child
        for name, is_whole in STATES.items():
            try:
                if not is_whole(theirs):
                    torn.append(name)
                read += 1
            except (OSError, cat.FormatError):  # of an array that is just being replaced, too
                pass
    assert status == 0 and torn == []
    assert all(is_whole(theirs) for is_whole in STATES.values())
    assert read > 0


# --- files of several names -----------------------------------------------------------------------


def by_a_link(name):
    os.symlink("a", name)


def below_a_link(name):
    os.symlink(".", "folder")
    return os.path.join("folder", "a")


def by_another_name(name):
    os.link("a", name)


@pytest.mark.parametrize(
    ("contiguous", "link"),
    [(True, by_a_link), (True, below_a_link), (True, by_another_name), (False, by_a_link)],
)
@pytest.mark.parametrize("turned", [True, False])
def test_marks_belong_to_the_file(link, contiguous, turned):
    make(contiguous=contiguous)
    names = ["a", link("b") or "b"]
    first, second = names[::-1] if turned else names
    ours, theirs = cat.open(first), cat.open(second)
    with ours.schunk.changing():
        ours[0] = 1
        for use in (
            lambda: theirs[...],
            lambda: theirs.__setitem__(0, 1),
            lambda: dict(theirs.vlmeta),
            lambda: cat.open(second, mode="r"),
        ):
            with pytest.raises(cat.StorageError, match="is being changed"):
                use()
    theirs[1] = 2
    theirs.vlmeta["title"] = b"new"
    assert everything(ours) == everything(theirs) == everything(cat.open(first))
    if link is by_another_name:
        with pytest.raises(cat.StorageError, match="hard links"):
            cat.open(first).resize((20, 1)).squeeze()
        assert cat.open(second).shape == (20, 1)
    else:
        theirs.resize((20, 1)).squeeze()
        assert cat.open(first).shape == cat.open(second).shape == (20,)
        assert os.path.islink("b") or os.path.islink("folder")


@needs_fork
@ignore_threads
@pytest.mark.parametrize("link", [by_a_link, by_another_name])
def test_a_change_that_was_cut_off_is_seen_by_all_names(link):
    make(contiguous=True)
    link("b")
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), cat.open("b").schunk.changing():
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    for name in ("a", "b"):
        with pytest.raises(cat.StorageError, match="cut off"):
            cat.open(name)
    make(path="c", contiguous=True).save("a", mode="w")
    assert (cat.open("a")[...] == ITEMS).all()
    if link is by_a_link:
        assert (cat.open("b")[...] == ITEMS).all()


def test_names_that_could_not_all_be_marked(monkeypatch):
    array = make(contiguous=True)
    by_another_name("b")

    def unsupported(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    with pytest.raises(cat.StorageError, match=r"several names .hard links.*change a copy"):
        array[0] = 1
    assert everything(cat.open("b"))[0] == ITEMS.tolist()
    assert sorted(os.listdir()) == ["a", "b"]


def test_directories_that_share_files_are_not_changed():
    make()
    os.mkdir("b")
    for name in os.listdir("a"):
        os.link(f"a/{name}", f"b/{name}")
    before = everything(cat.open("b"))
    for change in (lambda a: a.append(ITEMS), lambda a: a.__setitem__(0, 1), lambda a: a.squeeze()):
        with pytest.raises(cat.StorageError, match="hard links"):
            change(cat.open("b"))
    assert everything(cat.open("a")) == everything(cat.open("b")) == before


def test_a_process_may_go_elsewhere():
    array = make(contiguous=True)
    os.mkdir("b")
    os.chdir("b")
    array[0] = 1
    array.vlmeta["title"] = b"new"
    array.resize((20, 1)).squeeze()
    assert array.shape == pickle.loads(pickle.dumps(array)).shape == cat.open("../a").shape == (20,)
    assert os.listdir() == []


# --- directories that are damaged -----------------------------------------------------------------


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
    "chunks": lambda a: [a._chunk_bytes(k) for k in range(a.nchunks)],
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in directories")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    path = tmp_path / "a"
    cat.asarray(np.arange(9), urlpath=path, contiguous=True)
    array = cat.open(path, "r")
    assert array[3] == 3
    path.unlink()
    os.mkfifo(path)
    for read in (lambda: array[3], lambda: array[...], lambda: array[[1, 2]]):
        with pytest.raises(cat.StorageError, match="is no file now"):
            read()


def test_subclasses_change_their_shape_too():
    class Own(cat.NDArray):
        def __getitem__(self, key):
            return super().__getitem__(key)

        def __setitem__(self, key, value):
            super().__setitem__(key, value)

        def read(self, *arguments, **options):
            return super().read(*arguments, **options)

    array = Own(cat.asarray(np.arange(9), chunks=(4,), blocks=(2,)).schunk)
    array.insert(2, [7, 7]).append([8]).delete(0, 2).resize((9,))
    np.testing.assert_array_equal(array[...], [7, 7, 2, 3, 4, 5, 6, 7, 8])
