"""The block kernel's tests in C under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

pytestmark = pytest.mark.build

SEED, ROUNDS = 1, 100


@pytest.fixture(scope="module")
def program(build_native):
    """The compiled tests; only what changed is compiled anew."""
    return build_native("test_kernel") / "test_kernel"


def run(program, *arguments):
    # The program has its own options for the sanitizers.
    environment = {k: v for k, v in os.environ.items() if not k.endswith("SAN_OPTIONS")}
    command = [program, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_kernel(program):
    done = run(program, SEED, ROUNDS)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    counts = dict(re.findall(r"(.+): (\d+)", done.stdout))
    assert len(counts) > 25
    assert [what for what, count in counts.items() if count == "0"] == []


def test_lack_of_memory(build_native):
    done = run(build_native("test_allocations") / "test_allocations", SEED, 40)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    counts = [int(count) for count in re.findall(r".+: (\d+)", done.stdout)]
    assert len(counts) == 11 and min(counts) > 0


def test_names_of_the_kernel_have_one_prefix(program):
    """What C files share with each other could meet what other libraries call theirs."""
    files = sorted((program.parent / "CMakeFiles/kernel.dir").rglob("*.o"))
    listed = subprocess.run(
        ["nm", "-g", "--defined-only", *files], capture_output=True, text=True, check=True
    )
    names = re.findall(r"^[0-9a-f]+ [A-Z] _?(\w+)$", listed.stdout, re.MULTILINE)
    assert len(files) > 20 and len(names) > 60
    assert [name for name in names if not name.startswith("cat_")] == []


@pytest.mark.parametrize("fault", ["read", "overflow"])
def test_sanitizers_are_at_work(program, fault):
    done = run(program, fault)
    assert done.returncode != 0
    assert {"read": "heap-buffer-overflow", "overflow": "signed integer overflow"}[fault] in (
        done.stderr
    )
