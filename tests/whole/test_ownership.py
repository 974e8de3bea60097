"""Arrays, buffers and views, ended in every order in a Python with AddressSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import TESTS

import caterva_cffi

SCRIPT = TESTS / "scripts" / "ownership.py"
pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(
        sys.platform != "linux", reason="loads the sanitizer's runtime by LD_PRELOAD"
    ),
]


@pytest.fixture(scope="module")
def sanitized(build_native, tmp_path_factory):
    """A directory with the package, its extension module instrumented; and the runtime for it."""
    built = build_native("_libcaterva")
    (module,) = built.glob("_libcaterva*.so")
    directory = tmp_path_factory.mktemp("sanitized")
    ignore = shutil.ignore_patterns("*.so", "_native", "__pycache__")
    package = shutil.copytree(
        Path(caterva_cffi.__file__).parent, directory / "caterva_cffi", ignore=ignore
    )
    shutil.copy(module, package)
    return directory, (built / "runtime.txt").read_text()


def run(sanitized, directory, *arguments):
    package, runtime = sanitized
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "PYTHONMALLOC": "malloc",  # or else Python's own heap hides where objects end
        "ASAN_OPTIONS": "detect_leaks=0",  # Python ends without freeing all
        "PYTHONPATH": os.pathsep.join([str(package), *filter(None, sys.path)]),
        "PYTHONSAFEPATH": "1",
    }
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def test_every_order(sanitized, tmp_path):
    done = run(sanitized, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 3000


@pytest.mark.parametrize("owner", ["buffer", "array", "chunk"])
def test_forgotten_owner_is_noticed(sanitized, tmp_path, owner):
    done = run(sanitized, tmp_path, owner)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-use-after-free" in done.stderr
