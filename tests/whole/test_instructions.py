"""Instructions of the hot calls, as callgrind counts them, against those in instructions.toml.

What is compared is a call's instructions divided by those of a reference in the same process: other
compilers and processors change both. A ratio that has changed has to be stored anew, also where it
has become smaller, or that gain could be lost again unnoticed.
"""

from __future__ import annotations

import platform
import re
import shutil
import sys
import tomllib

import pytest
from checkout import TESTS

VALGRIND = shutil.which("valgrind")
MACHINE = platform.machine()
STORED = TESTS / "instructions.toml"
STORE = "pytest tests/whole/test_instructions.py --store-instructions"
# Runs differ by less than 0.3%; GCC 11 and Clang 14 by up to 5% from GCC 12.
TOLERANCE = 0.03
TOLERANCE_OF_OTHERS = 0.1  # than the stored compiler or interpreter

# C-Blosc2's own functions do the references' work on the same chunks.
REFERENCES = {
    "decode, blocks 32": "C-Blosc2: decode, blocks 32",
    "decode, blocks 16": "C-Blosc2: decode, blocks 16",
    "plane of axis 0": "C-Blosc2: decode, blocks 32",
    "plane of axis 2": "C-Blosc2: decode, blocks 32",
    "cube of 20": "C-Blosc2: decode, blocks 32",
    "item, blocks 32": "C-Blosc2: item, blocks 32",
    "item, blocks 16": "C-Blosc2: item, blocks 16",
    "item, Zstandard": "C-Blosc2: item, Zstandard",
    "1000 items": "C-Blosc2: 1000 items",
    "1000 items, BloscLZ": "C-Blosc2: 1000 items, BloscLZ",
    "encode, C order": "C-Blosc2: encode",
    "encode, F order": "C-Blosc2: encode",
    "update of a block": "C-Blosc2: encode",
}
PYTHON = (3, 12)  # the interpreter's own instructions change from version to version

pytestmark = [
    pytest.mark.build,
    pytest.mark.skipif(VALGRIND is None, reason="there is no Valgrind (`apt install valgrind`)"),
]


@pytest.fixture(scope="module")
def programs(build_c_programs):
    return build_c_programs("instructions")


@pytest.fixture(scope="module")
def count(run_tool, tmp_path_factory):
    """Run a program; return the instructions of each of its parts, and what it prints."""

    def run(*command):
        out = tmp_path_factory.mktemp("callgrind") / "out"
        # A long copy can be one instruction, which Valgrind counts once per byte. From what length
        # on depends on the processor.
        same = {"PYTHONHASHSEED": "0", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-ERMS"}
        options = ["--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        maker = run_tool(VALGRIND, "-q", *options, *command, env=same, cwd=out.parent)
        parts = {}
        for file in out.parent.glob("out.*"):
            text = file.read_text(encoding="utf-8")
            name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
            parts[name[1]] = int(re.search(r"^totals: (\d+)$", text, re.MULTILINE)[1])
        return parts, maker.strip()

    return run


@pytest.fixture(scope="module")
def counts(programs, count):
    return count(programs / "hot_calls")


def load():
    return tomllib.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}


def store(call, ratio, maker):
    figures = load()
    figures.setdefault(MACHINE, {})[call] = {"ratio": float(f"{ratio:.4g}"), "with": maker}
    lines = [f"# A hot call's instructions divided by its reference's. Written by\n# {STORE}\n"]
    for machine, calls in sorted(figures.items()):
        lines.append(f"\n[{machine}]\n")
        for name, of in sorted(calls.items()):
            values = f'ratio = {of["ratio"]}, with = "{of["with"]}"'
            lines.append(f'"{name}" = {{ {values} }}\n')
    STORED.write_text("".join(lines), encoding="utf-8")


def compare(call, ratio, maker, stored):
    change = ratio / stored["ratio"] - 1
    same = maker == stored["with"]
    assert abs(change) <= (TOLERANCE if same else TOLERANCE_OF_OTHERS), (
        f"{call}: {ratio:.4g} instructions for each one of its reference, with {maker}. "
        f"That is {change:+.1%} from {stored}. If it is to stay so: {STORE}"
    )


@pytest.fixture
def check(request):
    """Compare a call with what is stored, or store it."""

    def compare_or_store(call, reference, counts):
        parts, maker = counts
        ratio = parts[call] / parts[reference]
        if request.config.getoption("store_instructions"):
            store(call, ratio, maker)
        elif MACHINE not in load():
            pytest.skip(f"nothing is stored for {MACHINE}: {STORE}")
        else:
            compare(call, ratio, maker, load()[MACHINE][call])

    return compare_or_store


@pytest.mark.parametrize("call", REFERENCES)
def test_kernel(call, counts, check):
    check(call, REFERENCES[call], counts)


@pytest.fixture(scope="module")
def python_counts(programs, count):
    script = TESTS / "c_programs/hot_call.py"
    return count(sys.executable, script, programs / "counting.so")


@pytest.mark.skipif(sys.version_info[:2] != PYTHON, reason="instructions are stored for 3.12")
@pytest.mark.parametrize("call", ["a[i, j, k]", "a slice of a file", "two items of 4096 blocks"])
def test_calls_from_python(python_counts, check, call):
    check(call, "Python", python_counts)


@pytest.mark.parametrize(("change", "maker"), [(0.04, "GCC 12"), (0.11, "Clang 14")])
def test_change_is_noticed(change, maker):
    stored = {"ratio": 1.0, "with": "GCC 12"}
    for sign in -1, 1:
        compare("a call", 1 + sign * (change - 0.015), maker, stored)
        with pytest.raises(AssertionError, match="--store-instructions"):
            compare("a call", 1 + sign * change, maker, stored)
