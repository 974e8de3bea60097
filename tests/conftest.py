"""What several test modules need: the `build` marker, and where build tools are found."""

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
