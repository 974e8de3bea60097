"""Writers that are killed, full disks, several processes: old data, new data, or an error."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.binding import kernel

SHAPE = (96, 64)
GEOMETRY = {"chunks": (16, 64), "blocks": (8, 32)}
each_kind = pytest.mark.parametrize("contiguous", [True, False], ids=["file", "directory"])

each_way = pytest.mark.parametrize(
    ("contiguous", "how"),
    [(True, "constructor"), (False, "constructor"), (True, "save")],
    ids=["file", "directory", "save"],
)


def version(number, shape=SHAPE):
    """Items in which each says of which version it is, and which are incompressible by half."""
    noise = np.random.default_rng(number).integers(0, 1 << 15, shape, "i4")
    return (noise << 8) + number % 256


def write(number, path, contiguous, how="constructor"):
    if how == "constructor":
        cat.asarray(version(number), urlpath=path, contiguous=contiguous, mode="w", **GEOMETRY)
    else:
        cat.asarray(version(number), **GEOMETRY).save(path, mode="w")


CHANGES = {
    "assignment": lambda a, n: a.__setitem__(..., version(n)),
    "part": lambda a, n: a.__setitem__((slice(3, 80), slice(5, 9)), n),
    "append": lambda a, n: a.append(version(n)[:20]),
    "grow": lambda a, n: a.resize((96, 130)),
    "shrink": lambda a, n: a.resize((50, 20)),
    "insert": lambda a, n: a.insert(10, version(n)[:20]),
    "delete": lambda a, n: a.delete(5, 40),
    "vlmeta": lambda a, n: a.vlmeta.update(note=bytes(n % 100)),
}


@pytest.fixture(autouse=True)
def in_empty_folder():
    """In memory where possible: hundreds of writes wait for a disk otherwise."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, contextlib.chdir(folder):
        yield


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
ignore_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def killed(work, delay):
    """Run a function in a child that is killed after a while; returns whether that was in time."""
    ready, begin = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(begin, b"1")
            work()
        finally:
            os._exit(0)
    os.close(begin)
    os.read(ready, 1)
    os.close(ready)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def duration(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@needs_fork
@ignore_threads
@each_way
def test_a_killed_writer_leaves_the_old_array_or_the_new_one(contiguous, how):
    chance = random.Random(0)
    write(0, "a", contiguous, how)
    usual = duration(lambda: write(0, "a", contiguous, how))
    current, cut_off = 0, 0
    for number in range(1, 61):
        cut_off += killed(
            lambda n=number: write(n, "a", contiguous, how), chance.uniform(0, 1.3 * usual)
        )
        found = cat.open("a", mode="r")[...]
        if found[0, 0] & 255 == number:
            current = number
        assert (found == version(current)).all()
        assert cat.open("a").shape == SHAPE
    assert cut_off > 12  # the moments were before the end
    for left in Path().glob(".a.*"):
        cat.remove(left) if (left / "chunks.b2frame").exists() or left.is_file() else left.rmdir()
    assert os.listdir() == ["a"]


@needs_fork
@ignore_threads
@each_kind
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_killed_change_leaves_is_refused_or_right(contiguous, change):
    chance = random.Random(1)
    write(0, "old", contiguous)
    new = cat.asarray(version(0), **GEOMETRY)
    change(new, 7)
    whole = [version(0), new[...]]
    seen = {"old": 0, "new": 0, "refused": 0}

    def copied():
        cat.remove("a")
        (shutil.copy if contiguous else shutil.copytree)("old", "a")
        return cat.open("a")

    array = copied()
    usual = duration(lambda: change(array, 7))
    for _ in range(12):
        array = copied()
        killed(lambda a=array: change(a, 7), chance.uniform(0, 1.3 * usual))
        try:
            found = cat.open("a", mode="r")[...]
        except cat.StorageError as error:
            assert "cut off" in str(error)
            with pytest.raises(cat.StorageError, match="cut off"):
                array[...]
            with pytest.raises(cat.StorageError, match="cut off"):
                array[0] = 0
            seen["refused"] += 1
            continue
        matches = [np.array_equal(found, each) for each in whole]
        assert any(matches)
        seen["old" if matches[0] else "new"] += 1
    assert sum(seen.values()) == 12
    write(3, "a", contiguous)  # anew
    assert (cat.open("a")[...] == version(3)).all()


# --- full disks -------------------------------------------------------------------------------


@contextlib.contextmanager
def limited(nbytes):
    """Let files grow to so many bytes, and no further."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@contextlib.contextmanager
def full_disk(room):
    """Leave so many bytes free on the disk of the working directory."""
    status = os.statvfs(".")
    with open("filling", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - room, 1))
    try:
        yield
    finally:
        os.unlink("filling")


@pytest.fixture
def small_disk(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)]
    done = subprocess.run(mount, capture_output=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        with contextlib.chdir(tmp_path):
            yield
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


FAILING = {"limit": limited, "full": full_disk}


@pytest.fixture(params=FAILING)
def failing(request):
    if request.param == "full":
        request.getfixturevalue("small_disk")
    return FAILING[request.param]


@each_way
def test_a_failed_write_leaves_the_old_array(contiguous, how, failing, capfd):
    write(0, "a", contiguous, how)
    failures, current = 0, 0
    for number, room in enumerate(range(0, 32 << 10, 640), 1):
        before = set(os.listdir())
        with failing(room):
            try:
                write(number, "a", contiguous, how)
                current = number
            except (cat.CatervaError, OSError):
                failures += 1
        assert (cat.open("a")[...] == version(current)).all()
        assert set(os.listdir()) == before
    assert failures > 3
    assert capfd.readouterr() == ("", "")


@each_kind
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_failed_change_is_refused_or_right(contiguous, change, failing):
    new = cat.asarray(version(0), **GEOMETRY)
    change(new, 7)
    whole = [version(0), new[...]]
    for room in (0, 4 << 10, 8 << 10, 12 << 10, 16 << 10, 20 << 10, 24 << 10):
        write(0, "a", contiguous)
        array = cat.open("a")
        with failing(room), contextlib.suppress(cat.CatervaError, OSError):
            change(array, 7)
        for handle in (array, None):
            try:
                handle = cat.open("a") if handle is None else handle
                found = handle[...]
            except cat.StorageError as error:
                assert "cut off" in str(error) or "open it again" in str(error)
                continue
            assert any(np.array_equal(found, each) for each in whole)
        array.close()


@each_kind
@pytest.mark.parametrize("change", ["assignment", "part", "append", "insert", "delete"])
def test_an_error_between_writes_leaves_a_mark(contiguous, change, monkeypatch):
    write(0, "a", contiguous)
    array = cat.open("a")
    encode, calls = kernel.Kernel.encode, []

    def fails_once(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise MemoryError
        return encode(*arguments)

    monkeypatch.setattr(kernel.Kernel, "encode", fails_once)
    monkeypatch.setattr(kernel.Kernel, "update", lambda *_: None)
    with pytest.raises(MemoryError):
        CHANGES[change](array, 7)
    for use in (lambda: array[...], lambda: cat.open("a")):
        with pytest.raises(cat.StorageError, match="cut off"):
            use()


@each_kind
def test_a_header_that_could_not_be_written_is_noticed(contiguous):
    array = cat.zeros((4, 4), 1, meta={"note": b"old"}, urlpath="a", contiguous=contiguous)
    with limited(10), pytest.raises(cat.StorageError, match="could not be written"):
        array.meta["note"] = b"new"
    with pytest.raises(cat.StorageError, match="cut off"):
        cat.open("a")


# --- several handles and processes ------------------------------------------------------------


@needs_fork
@ignore_threads
@each_kind
def test_what_another_process_changes_is_refused_meanwhile(contiguous):
    write(0, "a", contiguous)
    ours, theirs = cat.open("a"), cat.open("a")
    said, told = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException), theirs.schunk.changing():
            os.write(told, b"1")
            time.sleep(60)
        os._exit(0)
    try:
        os.read(said, 1)
        for use in (lambda: ours.__setitem__(0, 1), lambda: ours.resize((3, 3)), ours.copy):
            with pytest.raises(cat.StorageError, match="is being changed"):
                use()
        for mode in ("r", "a"):
            with pytest.raises(cat.StorageError, match="is being changed"):
                cat.open("a", mode=mode)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(said), os.close(told)


@each_kind
def test_an_array_that_is_replaced_while_it_is_open(contiguous):
    write(0, "a", contiguous)
    reader = cat.open("a", mode="r")
    assert (reader[...] == version(0)).all()
    write(1, "a", contiguous)
    assert (reader[...] == version(1)).all()
    cat.zeros((5, 5), dtype="i4", urlpath="a", contiguous=contiguous, mode="w")
    with pytest.raises(cat.StorageError, match="open it again"):
        reader[...]


@each_kind
def test_a_read_only_disk(contiguous, small_disk):
    write(0, "a", contiguous)
    subprocess.run(["mount", "-o", "remount,ro", os.getcwd()], check=True)
    assert (cat.open("a", mode="r")[...] == version(0)).all()
    for change in (
        lambda: cat.open("a", mode="a"),
        lambda: write(1, "a", contiguous),
        lambda: write(1, "b", contiguous),
        lambda: cat.zeros(5, 1).save("b"),
        lambda: cat.remove("a"),
    ):
        with pytest.raises(OSError, match=r"Read-only|cannot be"):
            change()
    assert os.listdir() == ["a"]
    assert (cat.open("a", mode="r")[...] == version(0)).all()
