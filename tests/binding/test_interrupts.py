"""Signals during long calls, and the end of an interpreter whose threads are at work."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from servers import honest

import caterva_cffi as cat
from caterva_cffi.engine import groups

LONG = 30  # seconds; what does not end sooner was not interrupted


def run(script):
    """Run a script with another interpreter, which may end badly."""
    header = (
        "import os, signal, sys, threading, time\nimport numpy as np\nimport caterva_cffi as cat\n"
    )
    return subprocess.run(
        [sys.executable, "-c", header + textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=os.path.dirname(os.path.dirname(cat.__file__)),
    )


@pytest.fixture(scope="module")
def large():
    """64 MiB in one chunk, which ZSTD's highest level takes many seconds for."""
    noise = np.random.default_rng(0).integers(0, 1 << 12, 1 << 18).astype("f4")
    return np.resize(noise, 1 << 24)


def options(items, **kwargs):
    return {"chunks": items.shape, "blocks": (1 << 13,), "contiguous": True, **kwargs}


class Wanted(Exception):
    pass


def raise_wanted(*_):
    raise Wanted


posix = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs an alarm")


@posix
@pytest.mark.parametrize("nthreads", [1, 2, None])
@pytest.mark.parametrize("call", ["encode", "decode", "decode chunks", "update"])
def test_a_handler_ends_a_long_call(large, call, nthreads, tmp_path):
    array = cat.asarray(large, **options(large, clevel=1, nthreads=nthreads))
    many = cat.asarray(large, **options(large, clevel=1, nthreads=nthreads, chunks=(1 << 20,)))
    slow = {"codec": cat.Codec.ZSTD, "clevel": 9, "nthreads": nthreads}
    out = np.empty_like(large)

    def repeat(function):  # one call alone ends too soon to be caught in it
        while True:
            function()

    calls = {
        "encode": lambda: cat.asarray(large, **options(large, **slow)),
        "decode": lambda: repeat(lambda: array.read(out=out)),
        "decode chunks": lambda: repeat(lambda: many.read(out=out)),
        "update": lambda: repeat(lambda: array.__setitem__(slice(3, -3), large[3:-3])),
    }
    before = signal.signal(signal.SIGALRM, raise_wanted)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with pytest.raises(Wanted):
            calls[call]()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (array[...] == large).all()
    assert (many[...] == large).all()


@posix
def test_a_handler_runs_in_the_middle_of_a_call_and_may_return(large):
    """Counted: while one chunk is compressed, without a bytecode of ours, handlers run."""
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        array = cat.asarray(large, **options(large, codec=cat.Codec.ZSTD, clevel=3, nthreads=1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen) > 3
    assert (array[...] == large).all()


@posix
@pytest.mark.parametrize(
    ("kind", "number"), [*(("http", number) for number in range(5)), ("reader", 0)]
)
def test_a_handler_ends_a_read_whose_answer_does_not_come(misbehaving, monkeypatch, kind, number):
    items = np.random.default_rng(0).integers(0, 99, (64, 256, 64))
    frame = bytes(cat.asarray(items, chunks=(16, 256, 64), blocks=(4, 64, 64)).to_cframe())
    monkeypatch.setattr(groups, "GROUP_BYTES", 1)
    released = threading.Event()

    def wait_at(asked):
        if asked == number:
            # Sent once the request is there, to the main thread, which waits for the answer.
            timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGALRM))
            timer.start()
            released.wait(LONG)
            assert released.is_set()

    def slowly(asked):
        wait_at(asked.number)
        return honest(asked)

    class Slow:
        size = len(frame)

        def read_ranges(self, ranges):
            if threading.current_thread() is not threading.main_thread():
                wait_at(number)
            return [frame[start:stop] for start, stop in ranges]

    main = threading.main_thread().ident
    where = f"{misbehaving({'a': frame}, slowly).url}/a" if kind == "http" else Slow()
    before = signal.signal(signal.SIGALRM, raise_wanted)
    try:
        with pytest.raises(Wanted):
            cat.open(where)[...]
        assert not released.is_set()
    finally:
        signal.signal(signal.SIGALRM, before)
        released.set()


@posix
def test_an_interpreter_ends_whose_reader_waits():
    done = run(
        """
        from caterva_cffi.engine import groups
        groups.GROUP_BYTES = 1
        items = np.random.default_rng(0).random(1 << 16)
        frame = bytes(cat.asarray(items, chunks=(1 << 12,)).to_cframe())
        class Slow:
            def read_ranges(self, ranges):
                if threading.current_thread() is not threading.main_thread():
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(1000)
                return [frame[start:stop] for start, stop in ranges]
        cat.open(Slow())[...]
        """
    )
    assert done.returncode == -signal.SIGINT, done.stderr
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


@posix
def test_other_threads_are_not_interrupted(large):
    array = cat.asarray(large, **options(large, clevel=1))
    results = []

    def decode():
        results.extend((array[...] == large).all() for _ in range(5))

    thread = threading.Thread(target=decode)
    before = signal.signal(signal.SIGALRM, raise_wanted)
    try:
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Wanted):
            while True:
                array[...]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    thread.join(LONG)
    assert results == [True] * 5


BUSY = """
    items = np.resize(np.random.default_rng(0).integers(0, 1 << 12, 1 << 18).astype("f4"), 1 << 23)
    array = cat.asarray(items, chunks=(1 << 21,), blocks=(1 << 13,), clevel=1, contiguous=True)
    started = threading.Barrier(4)
    def work(encode):
        started.wait()
        while True:
            if encode:
                cat.asarray(items, codec=cat.Codec.ZSTD)
            else:
                assert (array[...] == items).all()
    for encode in (False, False, True):
        threading.Thread(target=work, args=(encode,), daemon=True).start()
    started.wait()
    time.sleep(0.1)
"""


@pytest.mark.parametrize(
    ("end", "code"),
    {
        "end": ("", 0),
        "exit": ("sys.exit(3)", 3),
        "os._exit": ("os._exit(4)", 4),
        "error": ("1 / 0", 1),
        "interrupt": ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT),
        "abandoned": ("array.close(); del array; sys.exit(5)", 5),
    }.values(),
    ids=lambda value: value or "end" if isinstance(value, str) else None,
)
def test_the_interpreter_ends_while_threads_are_at_work(end, code):
    done = run(textwrap.dedent(BUSY) + end)
    assert done.returncode == code, done.stderr
    assert "Fatal" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.parametrize(
    "start", ["child()", "thread.start(); thread.join()"], ids=["main", "other"]
)
def test_a_forked_child_can_be_interrupted(start):
    """After a fork in a thread, that thread is the main one."""
    if start != "child()" and sys.version_info >= (3, 13):
        pytest.skip("CPython 3.13 runs no handlers in such a child, between bytecodes neither")
    done = run(
        """
        items = np.resize(np.random.default_rng(0).integers(0, 1 << 12, 1 << 18), 1 << 23)
        def child():
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.default_int_handler)
                signal.setitimer(signal.ITIMER_REAL, 0.2)
                try:
                    cat.asarray(items, chunks=items.shape, codec=cat.Codec.ZSTD, clevel=9)
                except KeyboardInterrupt:
                    os._exit(7)
                os._exit(8)
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        codes = []
        thread = threading.Thread(target=child)
        """
        f"{start}\n        sys.exit(codes[0])"
    )
    assert done.returncode == 7, done.stderr


def test_a_subinterpreter_is_refused_in_words():
    """By NumPy or cffi, which do not load in one; a later version of both might."""
    interpreters = pytest.importorskip(
        "_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"
    )
    script = textwrap.dedent(
        """
        try:
            import caterva_cffi as cat
        except ImportError as error:
            assert "subinterpreter" in str(error) or "once per process" in str(error), error
        else:
            assert cat.zeros(100, dtype="i4")[...].sum() == 0
        """
    )
    interpreter = interpreters.create()
    try:
        failed = interpreters.run_string(interpreter, script)
        assert failed is None, failed
    finally:
        interpreters.destroy(interpreter)
