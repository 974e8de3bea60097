"""Many threads and processes at one array: no torn chunks, no deadlocks, no starvation."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading

import numpy as np
import pytest
from in_threads import TIMEOUT, together

import caterva_cffi as cat

pytestmark = pytest.mark.usefixtures("in_empty_folder")


SHAPE, CHUNKS, BLOCKS = (64, 96), (32, 32), (8, 16)
STORED = {
    "memory": {},
    "frame in memory": {"contiguous": True},
    "file": {"contiguous": True, "urlpath": "a.b2frame"},
    "directory": {"urlpath": "a"},
}
each_storage = pytest.mark.parametrize("storage", STORED.values(), ids=STORED)


def make(items=None, **kwargs):
    items = np.zeros(SHAPE, "i4") if items is None else items
    return cat.asarray(items, chunks=CHUNKS, blocks=BLOCKS, **kwargs)


@each_storage
def test_readers_see_whole_chunks(storage):
    array = make(**storage)
    done, all_run = threading.Event(), threading.Barrier(4)

    def write():
        try:
            for value in range(1, 60):
                array[...] = value
                if value == 1:
                    all_run.wait(TIMEOUT)
        finally:
            done.set()

    def read():
        last = None
        while not done.is_set():
            items = array[...]
            chunks = items.reshape(2, 32, 3, 32).transpose(0, 2, 1, 3).reshape(2, 3, -1)
            assert (chunks == chunks[..., :1]).all()
            # One assignment is one change: all chunks are of the same state, and none goes back.
            assert len(np.unique(items)) == 1
            if last is None:
                all_run.wait(TIMEOUT)
            else:
                assert (chunks[..., 0] >= last).all()
            last = chunks[..., 0]

    together(write, read, read, read)
    assert (array[...] == 59).all()


@each_storage
def test_readers_see_whole_shapes(storage):
    items = np.arange(64 * 96, dtype="i4").reshape(SHAPE)
    array = make(items, **storage)
    done = threading.Event()

    def reshape():
        try:
            for _ in range(25):
                array.resize((64, 40))
                array.resize((64, 96))
                array[:, 40:] = items[:, 40:]
        finally:
            done.set()

    def read():
        while not done.is_set():
            assert (array[:, :40] == items[:, :40]).all()
            assert (array.oindex[[3, 40], 8:35] == items[[3, 40], 8:35]).all()
            assert (array[[5, 50], [6, 39]] == items[[5, 50], [6, 39]]).all()
            assert array[...].shape in {(64, 40), (64, 96)}

    together(reshape, read, read)


def test_readers_of_an_array_that_is_squeezed():
    items = np.arange(96, dtype="i4").reshape(1, 96)
    arrays = [cat.asarray(items, chunks=(1, 32), blocks=(1, 16)) for _ in range(40)]
    start = threading.Barrier(3)

    def squeeze():
        start.wait(TIMEOUT)
        for array in arrays:
            array.squeeze()

    def read():
        start.wait(TIMEOUT)
        for array in arrays:
            for _ in range(5):
                assert (array[...].ravel() == items[0]).all()

    together(squeeze, read, read)


@each_storage
def test_writers_of_one_array(storage):
    array = make(**storage)

    def write(row):
        def run():
            for value in range(1, 15):
                array[row::4] = 100 * row + value

        return run

    together(*map(write, range(4)))
    expected = np.zeros(SHAPE, "i4")
    for row in range(4):
        expected[row::4] = 100 * row + 14
    assert (array[...] == expected).all()


def test_appends_from_many_threads():
    array = cat.empty((0, 3), dtype="i4", chunks=(4, 3), blocks=(2, 2))

    def append(value):
        def run():
            for _ in range(20):
                array.append(np.full((1, 3), value))

        return run

    together(*map(append, range(4)))
    assert array.shape == (80, 3)
    assert np.bincount(array[:, 0]).tolist() == [20] * 4


def test_arrays_of_many_threads():
    def work(seed):
        def run():
            items = np.random.default_rng(seed).integers(0, 1000, (50, 60))
            for turn in range(15):
                options = {"contiguous": turn % 2 == 0}
                path = f"{seed}" if turn % 3 == 0 else None
                array = cat.asarray(items, chunks=(20, 30), blocks=(7, 8), urlpath=path, **options)
                array[10:20] = items[:10]
                array.vlmeta["turn"] = b"%d" % turn
                assert (array[10:20] == items[:10]).all()
                frame = cat.from_cframe(array.to_cframe())
                assert (frame[20:] == items[20:]).all()
                assert frame.vlmeta["turn"] == b"%d" % turn
                del frame
                array.resize((10, 10))
                if path:
                    cat.remove(path)

        return run

    together(*map(work, range(4)))


def test_two_arrays_that_are_written_from_each_other():
    first, second = make(), make(np.ones(SHAPE, "i4"))

    def assign(target, source):
        def run():
            for _ in range(40):
                target[...] = source
                target.oindex[[1, 2]] = source.oindex[[3, 4]]

        return run

    together(assign(first, second), assign(second, first))
    assert set(np.unique(first[...])) | set(np.unique(second[...])) <= {0, 1}


def test_metalayers_from_many_threads():
    array = make(contiguous=True)

    def work(name):
        def run():
            for value in range(40):
                array.vlmeta[name] = b"%d" % value
                assert array.vlmeta[name] == b"%d" % value
                dict.fromkeys(array.vlmeta)

        return run

    together(*map(work, "abc"))
    assert dict(array.vlmeta) == dict.fromkeys("abc", b"39")


def test_views_come_and_go_in_many_threads():
    array = make(contiguous=True)

    def work():
        for _ in range(300):
            view = array.to_cframe()
            assert view[2:9] == b"b2frame"
            del view

    together(work, work, work)
    array[...] = 1


def use(array, results):
    before = array[...]
    if array.urlpath is None:
        array[...] = before + 1
        assert (array[...] == before + 1).all()
    results.put(before)


def spawned(method, array):
    context = multiprocessing.get_context(method)
    results = context.Queue()
    child = context.Process(target=use, args=(array, results), daemon=True)
    child.start()
    try:
        found = results.get(timeout=TIMEOUT)
        child.join(TIMEOUT)
        assert child.exitcode == 0
    finally:
        child.kill()
    return found


needs_fork = pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this platform has no fork"
)
ignore_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@needs_fork
@ignore_threads
@each_storage
def test_a_forked_child_reads_what_its_parent_opened(storage):
    items = np.arange(64 * 96, dtype="i4").reshape(SHAPE)
    array = make(items, **storage, codec=cat.Codec.ZSTD, nthreads=2)
    assert (spawned("fork", array) == items).all()
    assert (array[...] == items).all()


@each_storage
def test_a_new_process_gets_an_array_as_an_argument(storage):
    items = np.arange(64 * 96, dtype="i4").reshape(SHAPE)
    assert (spawned("spawn", make(items, **storage)) == items).all()


def exit_code_of(function):
    """Run a function in a forked child, from which nothing returns; an alarm ends what hangs."""
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(TIMEOUT // 2)
            status = 0 if function() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
@ignore_threads
@each_storage
def test_a_fork_while_threads_read_and_write(storage):
    array = make(**storage)
    done = threading.Event()

    def create():
        while not done.is_set():
            make()

    def write():
        value = 0
        while not done.is_set():
            value += 1
            array[...] = value

    def read():
        while not done.is_set():
            assert len(np.unique(array[...])) == 1

    def use_in_child():
        whole = len(np.unique(array[...])) == 1
        if array.urlpath is not None:
            return whole  # its parent's file
        array[...] = -1
        return whole and (array[...] == -1).all()

    def fork():
        try:
            assert [exit_code_of(use_in_child) for _ in range(15)] == [0] * 15
        finally:
            done.set()

    # Processes that share a file must agree on who writes; threads of one process need not.
    together(fork, write if array.urlpath is None else read, read, create)
