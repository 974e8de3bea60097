"""The lock that readers share and a writer has alone: no deadlocks, no starvation."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from in_threads import TIMEOUT, together

from caterva_cffi.errors import BusyError
from caterva_cffi.superchunk import locks
from caterva_cffi.superchunk.locks import ReadWriteLock


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

    def write():
        entered.wait(TIMEOUT)
        threading.Timer(0.05, leave.set).start()
        with lock.writing():
            pass

    together(nested, write)
    assert enters(lock) == {"reading", "writing"}


def enters(lock):
    """Return how this thread may enter the lock now."""
    found = set()
    for name in ("reading", "writing"):
        with contextlib.suppress(BusyError), getattr(lock, name)():
            found.add(name)
    return found


def test_a_thread_enters_a_change_of_its_own_only_where_that_is_said(lock):
    with lock.reading():
        assert enters(lock) == {"reading"}
    with lock.writing():
        assert enters(lock) == set()
        with lock.open_to_itself(write=False):
            assert enters(lock) == {"reading"}
        with lock.open_to_itself(write=True):
            with lock.reading():
                assert enters(lock) == {"reading"}
            with lock.writing():
                assert enters(lock) == set()
            assert enters(lock) == {"reading", "writing"}
        assert enters(lock) == set()
    assert enters(lock) == {"reading", "writing"}


def test_the_lock_is_free_after_errors(lock):
    for enter in (lock.reading, lock.writing):
        with pytest.raises(ZeroDivisionError), enter():
            1 / 0  # noqa: B018
    together(lambda: lock.writing().__enter__())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_thread_that_writes_finds_the_lock_free(lock):
    with lock.writing():
        child = os.fork()
    if not child:
        with lock.writing():
            pass
        os._exit(lock.is_used_here())
    assert os.waitpid(child, 0)[1] == 0


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


MUTEX_AT_FORK = """
import os, signal, threading, time
theirs, ready, done = [], threading.Event(), threading.Event()

def take():
    with theirs[0]:
        ready.set()
        done.wait()

def take_mutex():  # hooks that were registered first run last
    threading.Thread(target=take, daemon=True).start()
    ready.wait()

os.register_at_fork(before=take_mutex, after_in_parent=done.set)
from caterva_cffi.superchunk.locks import ReadWriteLock
lock = ReadWriteLock()
theirs.append(lock._mutex)
child = os.fork()
if not child:
    with lock.writing():
        os._exit(7)
for _ in range(500):
    found, status = os.waitpid(child, os.WNOHANG)
    if found:
        break
    time.sleep(0.02)
else:
    os.kill(child, signal.SIGKILL)
assert found and os.waitstatus_to_exitcode(status) == 7
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_another_thread_has_the_mutex():
    subprocess.run([sys.executable, "-W", "ignore", "-c", MUTEX_AT_FORK], check=True, timeout=60)
