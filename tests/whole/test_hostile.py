"""Bytes from strangers: right items or an error, bounded memory, and nothing loaded or started.

`hostile.py` does it in processes of their own, whose memory is limited and whose calls are watched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from checkout import TESTS

import caterva_cffi as cat
from caterva_cffi import ffi, lib

PROGRAM = TESTS / "support/hostile.py"
pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="limits and watches Linux processes"
)


def run(part, directory, *before):
    """Run a part of the program; return what it counted."""
    done = subprocess.run(
        [*map(str, before), sys.executable, PROGRAM, part],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, ""), (done.returncode, done.stderr[-4000:])
    return int(done.stdout)


@pytest.mark.parametrize(
    ("part", "least"),
    [
        ("truncations", 8000),
        pytest.param("changes", 24000, marks=pytest.mark.build),  # for its time
        ("promises", 1),
    ],
)
def test_frames_from_strangers(part, least, tmp_path):
    assert run(part, tmp_path) >= least


@pytest.fixture
def no_process(tmp_path, monkeypatch):
    """C-Blosc2 looks for the plugins of numbers that it does not have with `python`."""
    mark = tmp_path / "started"
    for name in ("python", "python3"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho $0 >> '{mark}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    yield
    assert not mark.exists()


def test_forged_numbers_load_and_start_nothing(no_process, tmp_path):
    calls, strace = tmp_path / "calls", shutil.which("strace")
    watched = "trace=execve,execveat,fork,vfork,clone,clone3,openat,open"
    watch = [strace, "-f", "-e", watched, "-o", calls] if strace else []
    assert run("forgeries", tmp_path, *watch) >= 1800
    if strace:
        text = calls.read_text()
        assert ".so" in text
        assert "blosc2_" not in text
        alone = [*watch, sys.executable, "-c", ""]
        subprocess.run(list(map(str, alone)), check=True)
        started = calls.read_text().count("execve(")  # by the program itself
        assert text.count("execve(") == started
        # Threads share memory and files; processes would not.
        assert not re.findall(r"fork\(|clone3?\((?!.*CLONE_THREAD)", text)


@pytest.mark.skipif(not lib.CAT_VENDORED, reason="the system's C-Blosc2 looks for plugins")
def test_c_blosc2_itself_loads_and_starts_nothing(no_process):
    """Code that gives it chunks of strangers with `lib` does not run our checks."""
    array = cat.asarray(np.arange(4000, dtype="<i4"))
    chunk = array.schunk.chunk(0)
    forged = ffi.new("uint8_t[]", bytes(ffi.buffer(chunk.pointer, chunk.size)))
    forged[2] = forged[2] & 0x1F | 6 << 5
    dest = ffi.new("uint8_t[]", array.nbytes)
    dparams = ffi.new("blosc2_dparams *", {"nthreads": 1})
    context = ffi.gc(lib.blosc2_create_dctx(dparams[0]), lib.blosc2_free_ctx)
    for number in range(36, 41):
        forged[22] = number
        assert lib.blosc2_decompress_ctx(context, forged, chunk.size, dest, len(dest)) < 0
