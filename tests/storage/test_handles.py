"""Several handles of one stored array: what one changes, others see or refuse, never half of it."""

from __future__ import annotations

import os
import pickle
import shutil

import blosc2
import numpy as np
import pytest
from handles import (
    GEOMETRY,
    ITEMS,
    USES,
    each_kind,
    everything,
    ignore_threads,
    make,
    needs_fork,
    restore,
    saved,
)

import caterva_cffi as cat

pytestmark = pytest.mark.usefixtures("in_empty_folder")


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


def outcome(use, array):
    try:
        return use(array)
    except (IndexError, cat.ArgumentError) as error:  # as the array is now
        return type(error)


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


def test_a_process_may_go_elsewhere():
    array = make(contiguous=True)
    os.mkdir("b")
    os.chdir("b")
    array[0] = 1
    array.vlmeta["title"] = b"new"
    array.resize((20, 1)).squeeze()
    assert array.shape == pickle.loads(pickle.dumps(array)).shape == cat.open("../a").shape == (20,)
    assert os.listdir() == []


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
