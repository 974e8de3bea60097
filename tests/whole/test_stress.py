"""Every public method against every other, in a Python with AddressSanitizer."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkout import TESTS

import caterva_cffi as cat

SCRIPT = TESTS / "scripts" / "stress.py"
SECONDS = 60


@pytest.mark.build
@pytest.mark.skipif(sys.platform != "linux", reason="loads the sanitizer's runtime by LD_PRELOAD")
def test_every_method_against_every_other(build_native, tmp_path):
    built = build_native("_libcaterva")
    (module,) = built.glob("_libcaterva*.so")
    ignore = shutil.ignore_patterns("*.so", "_native", "__pycache__")
    package = shutil.copytree(Path(cat.__file__).parent, tmp_path / "caterva_cffi", ignore=ignore)
    shutil.copy(module, package)
    environment = {
        **os.environ,
        "LD_PRELOAD": (built / "runtime.txt").read_text(),
        "PYTHONMALLOC": "malloc",  # or else Python's own heap hides where objects end
        "ASAN_OPTIONS": "detect_leaks=0",  # Python ends without freeing all
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
        "PYTHONSAFEPATH": "1",
    }
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, SCRIPT, str(SECONDS)],
        cwd=empty, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert all(int(number) > 0 for number in re.findall(r": (\d+) of \d+ pairs met", done.stdout))


@pytest.mark.parametrize("place", ["memory", "file"])
def test_what_a_handler_does_to_a_change_that_it_interrupts_is_refused(place, tmp_path):
    where = {"urlpath": tmp_path / "a", "contiguous": True} if place == "file" else {}
    array = cat.asarray(np.zeros((8, 8), "i4"), chunks=(4, 8), blocks=(2, 4), **where)
    refused = set()
    nested = {
        "close": array.close,
        "assign": lambda: array.__setitem__(0, 5),
        "resize": lambda: array.resize((1, 8)),
        "read": lambda: array[...],
    }

    def trace(frame, event, _):
        if frame.f_code.co_name != "update_chunk":
            return trace
        for name, function in nested.items():
            try:
                function()
            except cat.BusyError:
                refused.add(name)
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        array[...] = 7
    finally:
        sys.settrace(before)
    assert refused == nested.keys()
    assert (array[...] == 7).all()


def test_an_array_is_used_by_what_ends_together_with_it():
    found = []

    class Store:
        def __init__(self):
            self.array = cat.asarray(np.ones((64, 64)))
            self.cycle = self

        def __del__(self):
            try:
                found.append(self.array[3, 3] == 1)
            except cat.ClosedError:
                found.append(True)

    for _ in range(5):
        Store()
        gc.collect()
    assert found == [True] * 5
