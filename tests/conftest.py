"""What several test modules need: options, the `build` marker, build tools, and servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import servers
from checkout import ROOT
from hypothesis import settings

import caterva_cffi as cat

# The same examples each time, however long they take; HYPOTHESIS_PROFILE=default looks for new
# ones, long for many.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("long", max_examples=20_000, deadline=None)
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
        "build: compiles C, runs the benchmarks, or takes long: once per machine is enough "
        "(-m 'not build')",
    )


# --- the time that files take ---------------------------------------------------------------------
SPENT = pytest.StashKey[Counter]()
"""Seconds of processors by file."""


def processor_time():
    """Seconds that this process used, and those that it started and waited for."""
    return sum(os.times()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    begin = processor_time()
    try:
        return (yield)
    finally:
        spent = item.config.stash.setdefault(SPENT, Counter())
        spent[item.location[0]] += processor_time() - begin


def pytest_terminal_summary(terminalreporter, config):
    """With --durations=N, show what most time goes to, so that one sees what has grown."""
    spent = config.stash.get(SPENT, Counter())
    if config.option.durations is not None:
        total = sum(spent.values())
        terminalreporter.section(f"files that took most of {total:.0f} seconds of processors")
        for path, seconds in spent.most_common(config.option.durations or None):
            terminalreporter.write_line(f"{seconds:6.1f} s {path}")


# --- folders and tools ----------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def fixed_policy():
    """Let nothing depend on how fast this machine is: the policy learns only where a test says so.

    Gives the one that learns.
    """
    learning = cat.get_read_policy("remote")
    cat.set_read_policy("remote", replace(learning, learn=False))
    yield learning
    cat.set_read_policy("remote", learning)


@pytest.fixture
def in_empty_folder(tmp_path, monkeypatch):
    """Let a test begin in a folder of its own."""
    monkeypatch.chdir(tmp_path)


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
def wheel_tools(run_tool):
    """The Python of an environment with requirements/wheel.txt."""
    environment = ROOT / "build/venv-wheel"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python = Path(os.environ.get("CATERVA_CFFI_WHEEL_TOOLS", python))
    if not python.exists():
        assert python.is_relative_to(environment), f"{python} is not there"
        run_tool(sys.executable, "-m", "venv", "--clear", environment)
        run_tool(python, "-m", "pip", "install", "-r", ROOT / "requirements/wheel.txt")
    return python


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


@pytest.fixture(scope="session")
def build_native(run_tool):
    """Compile targets of tests/native with sanitizers; by clang, which fuzzes, if there is one."""
    clang = shutil.which("clang")
    build = ROOT / ("build/native-clang" if clang else "build/native-address-undefined")
    options = ["-DSANITIZE=address;undefined", f"-DPython_EXECUTABLE={sys.executable}"]
    options += ["-DCMAKE_C_COMPILER=clang", "-DFUZZ=ON"] if clang else []

    def compile_(*targets):
        run_tool(sys.executable, ROOT / "vendor/fetch.py")
        run_tool("cmake", "-G", "Ninja", "-S", ROOT / "tests/native", "-B", build, *options)
        run_tool("cmake", "--build", build, "--target", *targets)
        return build

    return compile_


# --- servers --------------------------------------------------------------------------------------
def running(server, stack):
    """Start a server for the session; skip what needs it where it is not installed."""
    try:
        return stack.enter_context(server)
    except servers.NotInstalled as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def server_stack():
    """Ends all servers with the session."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="session")
def nginx(server_stack, tmp_path_factory):
    """An nginx that serves `nginx.directory`."""
    return running(servers.nginx(tmp_path_factory.mktemp("nginx")), server_stack)


@pytest.fixture(scope="session")
def s3(server_stack):
    """An S3 endpoint."""
    return running(servers.moto(), server_stack)


@pytest.fixture
def bucket(s3):
    """The name of a new bucket on `s3`."""
    name = f"bucket-{uuid.uuid4().hex}"
    s3.create_bucket(name)
    return name


@pytest.fixture
def web_directory(nginx):
    """A new directory below `nginx.directory`; `nginx.url` and its name are its address."""
    directory = nginx.directory / uuid.uuid4().hex
    directory.mkdir()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def delayed():
    """Return what stands before a server and adds latency: `delayed(server.url, seconds)`."""
    with contextlib.ExitStack() as stack:
        yield lambda url, seconds: stack.enter_context(servers.delayed(url, seconds))


@pytest.fixture
def misbehaving():
    """Return what serves bytes badly: `misbehaving({"key": b"..."}, servers.breaks_off)`."""
    with contextlib.ExitStack() as stack:
        yield lambda *how: stack.enter_context(servers.misbehaving(*how))
