"""Memory: nothing leaks, and large arrays on disk take as little as small ones."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import TESTS

import caterva_cffi as cat

SCRIPTS = TESTS / "scripts"
CHUNK = 4 << 20  # bytes, in peak_memory.py

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc"
)


def run(script, *arguments, **variables):
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(cat.__file__).parents[1]), **variables},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's mallinfo2")
def test_nothing_leaks():
    counts = dict(re.findall(r"(.+): (-?\d+)", run("leaks.py", 20, PYTHONMALLOC="malloc")))
    operations, errors = int(counts["operations"]), int(counts["errors"])
    assert operations > 750
    assert 0.4 < errors / operations < 0.6
    # Less than the smallest thing that one operation could lose each time, its items.
    assert int(counts["bytes added"]) < 20 * 8000


@pytest.mark.parametrize("kind", ["npy", "h5", "plain", "caterva", "shards", "zarr2"])
def test_a_conversion_stays_within_the_given_memory(kind, tmp_path):
    """134 MB, read by other regions than they are written, or copied."""
    memory = 32 << 20
    run("peak_conversion.py", "write", tmp_path, kind, memory)
    assert int(run("peak_conversion.py", "convert", tmp_path, kind, memory)) < memory


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_memory_does_not_grow_with_the_array(tmp_path, kind):
    peaks = {
        (gib, action): int(run("peak_memory.py", action, tmp_path / str(gib), gib, kind))
        for gib in (1 / 16, 4)
        for action in ("write", "read")
    }
    for action in ("write", "read"):
        assert peaks[4, action] < 6 * CHUNK
        # Threads on a busy machine hold more or less at once.
        assert peaks[4, action] - peaks[1 / 16, action] < 2 * CHUNK


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything")
    run("peak_everything.py", "write", folder)
    return folder


@pytest.mark.parametrize("way", ["file", "directory", "zarr", "open"])
def test_reading_everything_takes_little_beside_the_items(everything, way):
    peak = int(run("peak_everything.py", way, everything))
    assert 60 << 20 < peak < 72 << 20  # of 64 MiB of items
