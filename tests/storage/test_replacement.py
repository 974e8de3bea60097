"""Files that are replaced by ones that have parts of them."""

from __future__ import annotations

import errno
import mmap
import os

import pytest

from caterva_cffi.storage import replacement
from caterva_cffi.storage.stored import version_of

pytestmark = pytest.mark.skipif(not replacement.is_possible, reason="needs POSIX")

OLD = bytes(range(256)) * 40
NEW = b"new" * 1000


@pytest.fixture(params=["mapped", "a file that cannot be mapped", "a system without it"])
def way(request, monkeypatch):
    if request.param == "a system without it":
        monkeypatch.delattr(mmap, "MAP_POPULATE", raising=False)
    elif request.param != "mapped":

        def refuse(*_):
            raise OSError(errno.ENODEV, "")

        monkeypatch.setattr(mmap, "mmap", refuse)


@pytest.fixture
def old(tmp_path):
    """A file, its descriptor and its version."""
    path = tmp_path / "a.b"
    path.write_bytes(OLD)
    descriptor = os.open(path, os.O_RDONLY)
    yield path, descriptor, version_of(os.fstat(descriptor))
    os.close(descriptor)


@pytest.mark.parametrize(
    "spans",
    [
        [NEW],
        [NEW, (100, 5000), NEW, (9000, 1240)],
        [(0, 1), (5, 3), NEW, b"", (0, len(OLD))],
        [(n, 2) for n in range(3000)],
    ],
)
def test_the_new_file_has_parts_of_the_old_one(way, old, spans, monkeypatch):
    path, descriptor, version = old
    monkeypatch.setattr(replacement, "_PIECE", 1000)
    monkeypatch.setattr(replacement, "_AT_ONCE", 3)
    assert replacement.replace_file(str(path), descriptor, version, spans)
    expected = [OLD[s[0] : sum(s)] if isinstance(s, tuple) else s for s in spans]
    assert path.read_bytes() == b"".join(expected)
    assert os.pread(descriptor, len(OLD), 0) == OLD  # who has it open reads it to the end
    assert os.listdir(path.parent) == ["a.b"]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_calls_that_write_less(old, monkeypatch):
    path, descriptor, version = old
    writev = os.writev
    monkeypatch.setattr(os, "writev", lambda new, parts: writev(new, [parts[0][:700]]))
    assert replacement.replace_file(str(path), descriptor, version, [(1, 5000), NEW, (0, 1)])
    assert path.read_bytes() == OLD[1:5001] + NEW + OLD[:1]


def replaced(path):
    other = path.with_name("other")
    other.write_bytes(OLD)
    os.replace(other, path)


def changed(path):
    with path.open("r+b") as file:
        file.write(b"x")
    os.utime(path)


def cut(path):
    os.truncate(path, 4)


@pytest.mark.parametrize("happens", [replaced, changed, cut, os.unlink])
def test_a_file_that_changes_meanwhile_stays(way, old, happens, monkeypatch):
    path, descriptor, version = old
    writev = os.writev

    def writing(*arguments):
        monkeypatch.setattr(os, "writev", writev)
        happens(path)
        after.append(path.read_bytes() if path.exists() else None)
        return writev(*arguments)

    after = []
    monkeypatch.setattr(os, "writev", writing)
    try:
        done = replacement.replace_file(str(path), descriptor, version, [NEW, (8, 8000), NEW])
    except OSError as error:
        assert happens is cut and error.errno in (errno.EFAULT, errno.EIO)
    else:
        assert not done
    assert [path.read_bytes() if path.exists() else None] == after
    assert [each for each in os.listdir(path.parent) if each != "a.b"] == []


def test_an_error_leaves_the_old_file(way, old, monkeypatch):
    path, descriptor, version = old

    def fail(*_):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "writev", fail)
    with pytest.raises(OSError, match="no space"):
        replacement.replace_file(str(path), descriptor, version, [NEW, (8, 8000)])
    assert path.read_bytes() == OLD
    assert os.listdir(path.parent) == ["a.b"]
