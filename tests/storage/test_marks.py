"""Marks of changes: they belong to the file, whatever its names."""

from __future__ import annotations

import contextlib
import errno
import os
import signal

import pytest
from handles import ITEMS, each_kind, everything, ignore_threads, make, needs_fork

import caterva_cffi as cat

pytestmark = pytest.mark.usefixtures("in_empty_folder")


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
