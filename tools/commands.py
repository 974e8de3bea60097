"""The commands of `run.py`: what each sets up, and what it starts."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tools.debian import NGINX, QEMU, make_program
from tools.environments import UNSTABLE, find_python, make_environment, version
from tools.interpreters import make_interpreter
from tools.processes import ROOT, Failure, run
from tools.wheel_making import PORTABLE, make_portable_wheel, make_wheel, make_wheel_tools

RUN_MODULE = ROOT / "tools" / "run_module.py"
# Tests that other packages matter to.
LOWEST_TESTS = (
    *("arrays/test_ndarray", "arrays/test_remote", "project/test_build", "project/test_demo"),
    *("project/test_examples", "sources", "test_callers", "test_numcodecs", "test_zarr"),
)


class Peer(NamedTuple):
    """A package that needs an environment of its own; `variable` names the Python of that."""

    variable: str
    requirements: str
    newest: tuple[int, int]
    needs_wheel: bool


PEERS = (
    Peer("CATERVA_CFFI_PYTHON_CATERVA", "peer-python-caterva", (3, 11), needs_wheel=False),
    Peer("CATERVA_CFFI_ZARR2", "peer-zarr2", (3, 13), needs_wheel=True),
)


def make_peers() -> dict[str, str]:
    """Make the peers' environments; return the variables that name their Pythons."""
    variables = {}
    for peer in PEERS:
        mine = min(sys.version_info[:2], peer.newest)
        python = find_python("{}.{}".format(*mine))
        if python:
            name = f"{peer.requirements}-{version(python)}"
            needs = make_portable_wheel if peer.needs_wheel else None
            inside = make_environment(name, python, (peer.requirements,), needs)
            variables[peer.variable] = str(inside)
        else:
            print("no Python {}.{}: tests against {} cannot run".format(*mine, peer.requirements))
    return variables


def demo(arguments: list[str]) -> int:
    """Compare with whole-chunk decoding on real data."""
    name = f"demo-{version(sys.executable)}"
    python = make_environment(name, sys.executable, ("demo", "demo-data"), make_wheel)
    return run([python, RUN_MODULE, "benchmarks.demo", *arguments], {})


def bench(arguments: list[str]) -> int:
    """Measure against the peers."""
    name = f"bench-{version(sys.executable)}"
    python = make_environment(name, sys.executable, ("bench",), make_wheel)
    nginx = make_program(NGINX)
    return run([python, RUN_MODULE, "benchmarks", *arguments], nginx)


def make_test_environment(make_wheel: Callable[[], Path] | None) -> Path:
    """Make the environment of the tests; return its Python."""
    name = f"test-{version(sys.executable)}"
    return make_environment(name, sys.executable, ("test", "demo-data"), make_wheel)


def test(arguments: list[str]) -> int:
    """Run the tests, on another interpreter if one is named, and the core's alone if asked to."""
    if arguments[:1] == ["--python"]:
        return test_on(arguments[1:])
    if arguments[:1] == ["--core"]:
        return test_core(arguments[1:])
    python = make_test_environment(make_portable_wheel)
    variables = make_peers() | make_program(NGINX)
    variables["CATERVA_CFFI_WHEEL"] = str(make_portable_wheel())
    variables["CATERVA_CFFI_WHEEL_TOOLS"] = str(make_wheel_tools())
    if PORTABLE and platform.machine() == "x86_64":
        variables |= make_program(QEMU)
    os.chdir(ROOT)
    return run([python, "-m", "pytest", *arguments], variables)


def test_on(arguments: list[str]) -> int:
    """Run the tests on an interpreter, which a version or a path names."""
    if not arguments:
        raise Failure("--python needs a version or a path, such as --python 3.14.")
    wanted, *rest = arguments
    python = wanted if version(wanted) else known_python(wanted)
    make_portable_wheel()  # by the interpreter that has a compiler's headers
    make_wheel_tools()
    return run([python, ROOT / "run.py", "test", *rest], {})


def test_core(arguments: list[str]) -> int:
    """Run the tests that need no other package, on interpreters for which others have no wheels."""
    name = f"core-{version(sys.executable)}"
    python = make_environment(name, sys.executable, ("wheel-test",), make_portable_wheel)
    os.chdir(ROOT)
    return run([python, "-m", "pytest", "@wheels/tests.txt", *arguments], {})


def lowest(arguments: list[str]) -> int:
    """Run the tests that other packages matter to, with the lowest versions that are supported."""
    name = f"lowest-{version(sys.executable)}"
    python = make_environment(name, sys.executable, ("lowest", "demo-data"), make_portable_wheel)
    nginx = make_program(NGINX)
    os.chdir(ROOT)
    tests = [f"tests/{name}" + (".py" if "test_" in name else "") for name in LOWEST_TESTS]
    return run([python, "-m", "pytest", "-m", "not build", *tests, *arguments], nginx)


def peers(arguments: list[str]) -> int:
    """Run other packages' tests with our codecs; `tools.peers` makes the environments."""
    return run([sys.executable, ROOT / "tools" / "peers.py", *arguments], {})


def lint(arguments: list[str]) -> int:
    """Check style, types, and which way imports point."""
    python = make_test_environment(None)  # sources are read: nothing has to be compiled before
    os.chdir(ROOT)
    commands = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]
    status = max(run([python, "-m", *command, *arguments], {}) for command in commands)
    return max(status, run([python.parent / "lint-imports", "--no-logo", "--no-cache"], {}))


def docs(arguments: list[str]) -> int:
    """Build the documentation site; warnings, such as links to nowhere, are errors."""
    name = f"docs-{version(sys.executable)}"
    python = make_environment(name, sys.executable, ("docs",), make_portable_wheel)
    site = ROOT / "build" / "site"
    options = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env", "--jobs=auto"]
    options += [f"--doctree-dir={site}-doctrees", *arguments]
    status = run([python.parent / "sphinx-build", *options, ROOT / "docs", site], {})
    print(site / "index.html")
    return status


def wheel(arguments: list[str]) -> int:
    """Make a wheel that others can install, and show what was checked; aarch64 is emulated."""
    if not PORTABLE:
        raise Failure("wheels for others are made on Linux with glibc, on x86-64 or aarch64.")
    cross = arguments[:1] == ["--aarch64"] and platform.machine() != "aarch64"
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
    print(known_python(wanted))
    return 0


def known_python(wanted: str) -> str:
    """Find an interpreter, or say where it was looked for."""
    python = find_python(wanted)
    if not python:
        variable = "PYTHON" + wanted.replace(".", "")
        raise Failure(
            f"no Python {wanted}: not in ${variable}, on PATH, among pyenv's or in {UNSTABLE}."
        )
    return python


def interpreter(arguments: list[str]) -> int:
    """Get interpreters that are newer than this system, and print where they are."""
    for wanted in arguments or ["3.14"]:
        print(make_interpreter(wanted))
    return 0
