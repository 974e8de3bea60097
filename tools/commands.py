"""The commands of `run.py`: what each sets up, and what it starts."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import NamedTuple

from tools.debian import NGINX, QEMU, make_program
from tools.environments import find_python, make_environment, only_one, version
from tools.processes import ROOT, Failure, run
from tools.wheel_making import PORTABLE, make_portable_wheel, make_wheel, make_wheel_tools

RUN_MODULE = ROOT / "tools" / "run_module.py"
# Tests that other packages matter to.
LOWEST_TESTS = (
    *("arrays/test_ndarray", "arrays/test_remote", "project/test_build", "project/test_demo"),
    *("project/test_examples", "sources", "test_callers", "test_numcodecs", "test_zarr"),
)


class Peer(NamedTuple):
    """A package that cannot live beside ours. Tests start the Python that `variable` names."""

    variable: str
    requirements: str
    newest: tuple[int, int]
    needs_wheel: bool


PEERS = (
    Peer("CATERVA_CFFI_PYTHON_CATERVA", "peer-python-caterva", (3, 11), needs_wheel=False),
    Peer("CATERVA_CFFI_ZARR2", "peer-zarr2", (3, 13), needs_wheel=True),
)


def make_peers(wheel: Path) -> dict[str, str]:
    """Make the peers' environments; return the variables that name their Pythons."""
    variables = {}
    for peer in PEERS:
        mine = min(sys.version_info[:2], peer.newest)
        python = find_python("{}.{}".format(*mine))
        if python:
            name = f"{peer.requirements}-{version(python)}"
            needs = wheel if peer.needs_wheel else None
            inside = make_environment(name, python, (peer.requirements,), needs)
            variables[peer.variable] = str(inside)
        else:
            print("no Python {}.{}: tests against {} cannot run".format(*mine, peer.requirements))
    return variables


def demo(arguments: list[str]) -> int:
    """Compare with whole-chunk decoding on real data."""
    with only_one():
        name = f"demo-{version(sys.executable)}"
        python = make_environment(name, sys.executable, ("demo", "demo-data"), make_wheel())
    return run([python, RUN_MODULE, "benchmarks.demo", *arguments], {})


def bench(arguments: list[str]) -> int:
    """Measure against the peers."""
    with only_one():
        name = f"bench-{version(sys.executable)}"
        python = make_environment(name, sys.executable, ("bench",), make_wheel())
        nginx = make_program(NGINX)
    return run([python, RUN_MODULE, "benchmarks", *arguments], nginx)


def make_test_environment() -> tuple[Path, Path]:
    """Make the environment of the tests; return its Python, and the wheel that is tested."""
    wheel = make_portable_wheel()
    name = f"test-{version(sys.executable)}"
    return make_environment(name, sys.executable, ("test", "demo-data"), wheel), wheel


def test(arguments: list[str]) -> int:
    """Run the tests."""
    with only_one():
        python, wheel = make_test_environment()
        variables = make_peers(wheel) | make_program(NGINX)
        variables["CATERVA_CFFI_WHEEL"] = str(wheel)
        variables["CATERVA_CFFI_WHEEL_TOOLS"] = str(make_wheel_tools())
        if PORTABLE and platform.machine() == "x86_64":
            variables |= make_program(QEMU)
    os.chdir(ROOT)
    return run([python, "-m", "pytest", *arguments], variables)


def lowest(arguments: list[str]) -> int:
    """Run the tests that other packages matter to, with the lowest versions that are supported."""
    with only_one():
        name = f"lowest-{version(sys.executable)}"
        wheel = make_portable_wheel()
        python = make_environment(name, sys.executable, ("lowest", "demo-data"), wheel)
        nginx = make_program(NGINX)
    os.chdir(ROOT)
    tests = [f"tests/{name}" + (".py" if "test_" in name else "") for name in LOWEST_TESTS]
    return run([python, "-m", "pytest", "-m", "not build", *tests, *arguments], nginx)


def peers(arguments: list[str]) -> int:
    """Run other packages' tests with our codecs; the environments are made there."""
    return run([sys.executable, ROOT / "tools" / "peers.py", *arguments], {})


def lint(arguments: list[str]) -> int:
    """Check style, types, and which way imports point."""
    with only_one():
        python, _ = make_test_environment()
    os.chdir(ROOT)
    commands = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]
    status = max(run([python, "-m", *command, *arguments], {}) for command in commands)
    return max(status, run([python.parent / "lint-imports", "--no-logo", "--no-cache"], {}))


def wheel(arguments: list[str]) -> int:
    """Make the wheel that others can install, and show what was checked; emulate aarch64's."""
    if not PORTABLE:
        raise Failure("wheels for others are made on Linux with glibc, on x86-64 or aarch64.")
    cross = arguments[:1] == ["--aarch64"] and platform.machine() != "aarch64"
    with only_one():
        made = make_portable_wheel("aarch64-linux-gnu.2.17" if cross else "")
        python = make_wheel_tools()
        qemu = make_program(QEMU) if cross else {}
    status = run([python, ROOT / "wheels" / "check.py", made], {})
    if status == 0 and qemu:
        status = run([python, ROOT / "wheels" / "emulate.py", made, *arguments[1:]], qemu)
    print(made.relative_to(ROOT))
    return status


def which(arguments: list[str]) -> int:
    """Print where an interpreter is, for scripts that run the tests on several."""
    (wanted,) = arguments or [version(sys.executable)]
    python = find_python(wanted)
    if not python:
        variable = "PYTHON" + wanted.replace(".", "")
        raise Failure(f"no Python {wanted}: not in ${variable}, on PATH or among pyenv's.")
    print(python)
    return 0
