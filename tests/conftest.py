"""What several test modules need: options, the `build` marker, and where build tools are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# The same examples each time; HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_addoption(parser):
    parser.addoption(
        "--store-instructions",
        action="store_true",
        help="write tests/instructions.toml anew, instead of comparing with it",
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "build: compiles C, or runs the benchmarks: once per machine is enough (-m 'not build')",
    )


@pytest.fixture(scope="session")
def run_tool():
    """Run a command to its end; tools of this Python's environment come first on its PATH."""

    def run(*command, env=None, **kwargs):
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, "PATH": path, **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            **{"timeout": 1800, **kwargs},
        )
        assert done.returncode == 0, f"{command} failed with {done.returncode}:\n{done.stdout}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def build_c_programs(run_tool):
    """Compile targets of tests/c_programs; only what changed is compiled anew."""
    build = ROOT / "build/c-programs"

    def compile_(*targets):
        options = ["-DCMAKE_BUILD_TYPE=Release", f"-DPython_EXECUTABLE={sys.executable}"]
        run_tool("cmake", "-G", "Ninja", "-S", ROOT / "tests/c_programs", "-B", build, *options)
        run_tool("cmake", "--build", build, "--target", *targets)
        return build

    return compile_
