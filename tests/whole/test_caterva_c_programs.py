"""Caterva's own C test programs pass on this project's build of it and C-Blosc2 3."""

from __future__ import annotations

import re
import subprocess

import pytest
from checkout import ROOT

pytestmark = pytest.mark.build

SOURCES = ROOT / "vendor/src/caterva/tests"
PROGRAMS = sorted(path.stem for path in SOURCES.glob("test_*.c"))


@pytest.fixture(scope="module")
def programs(build_c_programs):
    """The directory with the compiled programs."""
    return build_c_programs("caterva_programs")


def test_no_program_is_missing():
    assert len(PROGRAMS) == 17


@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program, programs, tmp_path):
    done = subprocess.run(
        [programs / program], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:] + done.stderr
    # The exit code is the number of failures modulo 256.
    total, ok, failed = map(int, re.findall(r"\d+", done.stdout.splitlines()[-1]))
    assert total == ok > 0 == failed, done.stdout[-3000:]
    assert not list(tmp_path.iterdir()), "the program left files behind"
