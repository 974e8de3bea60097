"""Many threads and processes at one array: no torn chunks, no deadlocks, no starvation."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.superchunk import locks
from caterva_cffi.superchunk.locks import ReadWriteLock

TIMEOUT = 60  # seconds; what hangs, hangs for ever
SHAPE, CHUNKS, BLOCKS = (64, 96), (32, 32), (8, 16)
STORED = {
    "memory": {},
    "frame in memory": {"contiguous": True},
    "file": {"contiguous": True, "urlpath": "a.b2frame"},
    "directory": {"urlpath": "a"},
}
each_storage = pytest.mark.parametrize("storage", STORED.values(), ids=STORED)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def make(items=None, **kwargs):
    items = np.zeros(SHAPE, "i4") if items is None else items
    return cat.asarray(items, chunks=CHUNKS, blocks=BLOCKS, **kwargs)


def together(*functions):
    """Run functions in threads of their own; raise what one of them raises, or on a hang."""
    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(function) for function in functions]
        _, pending = wait(futures, TIMEOUT)
        if pending:
            os.abort()  # threads that hang cannot be ended otherwise; faulthandler shows them
        return [future.result() for future in futures]


@each_storage
def test_readers_see_whole_chunks(storage):
    array = make(**storage)
    done = threading.Event()

    def write():
        try:
            for value in range(1, 60):
                array[...] = value
        finally:
            done.set()

    def read():
        seen, last = 0, np.zeros((2, 3), int)
        while not done.is_set():
            items = array[...]
            chunks = items.reshape(2, 32, 3, 32).transpose(0, 2, 1, 3).reshape(2, 3, -1)
            assert (chunks == chunks[..., :1]).all()
            # One assignment is one change: all chunks are of the same state, and none goes back.
            assert len(np.unique(items)) == 1
            assert (chunks[..., 0] >= last).all()
            last, seen = chunks[..., 0], seen + 1
        return seen

    _, *seen = together(write, read, read, read)
    assert all(seen)
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


# --- the lock ---------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["ordered", "free-threaded"])
def lock(request, monkeypatch):
    """The lock of an interpreter that lets one thread run at a time, and of one that does not."""
    monkeypatch.setattr(locks, "_is_ordered", lambda: request.param)
    return ReadWriteLock()


def test_a_writer_is_not_starved_by_readers_nor_readers_by_writers(lock):
    done = threading.Event()
    turns = {"reading": 0, "writing": 0}

    def hold(kind):
        def run():
            while not done.is_set():
                with getattr(lock, kind)():
                    time.sleep(0.0005)
                    turns[kind] += 1

        return run

    def watch():
        try:
            deadline = time.monotonic() + TIMEOUT
            while min(turns.values()) < 20 and time.monotonic() < deadline:
                time.sleep(0.001)
        finally:
            done.set()

    together(watch, *[hold("reading")] * 3, *[hold("writing")] * 2)
    assert min(turns.values()) >= 20


def test_readers_share_and_writers_do_not(lock):
    both = threading.Barrier(2)

    def share():
        with lock.reading():
            both.wait(TIMEOUT)

    together(share, share)
    inside = []

    def alone():
        for _ in range(50):
            with lock.writing():
                inside.append(1)
                time.sleep(0.0001)
                assert len(inside) == 1
                inside.pop()

    together(alone, alone, alone)


def test_a_thread_may_enter_again(lock):
    entered, leave = threading.Event(), threading.Event()

    def nested():
        with lock.reading():
            entered.set()
            leave.wait(TIMEOUT)
            # A writer waits by now; waiting for it here would never end.
            with lock.reading(), lock.reading():
                pass
        with lock.writing(), lock.reading(), lock.writing(), lock.reading():
            pass

    def write():
        entered.wait(TIMEOUT)
        threading.Timer(0.05, leave.set).start()
        with lock.writing():
            pass

    together(nested, write)
    with lock.reading(), pytest.raises(RuntimeError, match="cannot change"), lock.writing():
        pass


def test_the_lock_is_free_after_errors(lock):
    for enter in (lock.reading, lock.writing):
        with pytest.raises(ZeroDivisionError), enter():
            1 / 0  # noqa: B018
    together(lambda: lock.writing().__enter__())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a signal to interrupt with")
def test_an_interrupt_gives_up_the_turn(lock):
    leave = threading.Event()

    def hold():
        with lock.writing():
            leave.wait(TIMEOUT)

    def interrupt(*_):
        raise KeyboardInterrupt

    holder = threading.Thread(target=hold)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        holder.start()
        while lock._writer is None:
            time.sleep(0.001)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt), lock.reading():
            pass
    finally:
        signal.signal(signal.SIGALRM, before)
        leave.set()
        holder.join(TIMEOUT)
    with lock.writing():
        pass


# --- processes --------------------------------------------------------------------------------


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
