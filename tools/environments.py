"""Interpreters that are found, and virtual environments that are made once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.processes import ROOT, Failure, call, step

UNSTABLE = ROOT / "build" / "debian-unstable"
"""Where `run.py interpreter` puts Debian's newest interpreters."""


@contextlib.contextmanager
def only_one(thing: str) -> Iterator[None]:
    """Keep two runs from making the same thing at once; others can be made meanwhile."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / f".lock-{thing}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"waiting for another run.py, which makes {thing}"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(paths: list[Path], *more: str) -> str:
    """Return a hash of the files' names and contents."""
    result = hashlib.sha256("\0".join(more).encode())
    for path in paths:
        content = path.read_bytes()
        result.update(f"\0{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        result.update(content)
    return result.hexdigest()[:16]


def version(python: str) -> str:
    """`3.12` or `3.13t`, as the Python says; empty where it does not run."""
    code = (
        "import sys, sysconfig; print('%d.%d' % sys.version_info[:2] + "
        "('t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''))"
    )
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=30)
        if done.returncode == 0:
            return done.stdout.strip()
    return ""


def find_python(wanted: str) -> str | None:
    """Look for an interpreter in $PYTHON3xx, on PATH, among pyenv's, and in Debian's folder."""
    variable = "PYTHON" + wanted.replace(".", "")
    candidates = [os.environ.get(variable), sys.executable, f"python{wanted}"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(map(str, pyenv.glob(f"versions/{wanted}.*/bin/python")), reverse=True)
    candidates.append(str(UNSTABLE / "usr/local/bin" / f"python{wanted}"))
    return next((python for python in candidates if python and version(python) == wanted), None)


def make_environment(
    name: str,
    python: str,
    requirements: tuple[str, ...],
    make_wheel: Callable[[], Path] | None = None,
) -> Path:
    """Create or update a virtual environment; return its Python.

    `make_wheel` gives what is installed last: another run can build it beside the rest.
    """
    directory = ROOT / f".venv-{name}"
    scripts = directory / ("Scripts" if sys.platform == "win32" else "bin")
    inside = scripts / ("python.exe" if sys.platform == "win32" else "python")
    log = ROOT / "build" / f"{name}.log"
    with only_one(directory.name):
        stamp = directory / "run-stamp.json"
        works = stamp.exists() and version(str(inside))
        has = json.loads(stamp.read_text()) if works else {}
        if not works:
            create_environment(directory, python, log)
        files = [ROOT / "requirements" / f"{file}.txt" for file in requirements]
        included = sorted((ROOT / "requirements").glob("*.txt")) if files else []
        wanted = digest(included, *requirements)
        if has.get("files") != wanted:
            stamp.unlink(missing_ok=True)
            if files:
                with step(f"installing into {directory.name}"):
                    install_requirements(inside, files, log)
            has = {"files": wanted}
            stamp.write_text(json.dumps(has))
        wheel = make_wheel and make_wheel()
        if wheel and has.get("wheel") != wheel.parent.name:
            stamp.unlink()
            with step(f"installing the wheel into {directory.name}"):
                install_wheel(inside, wheel, log)
            stamp.write_text(json.dumps({**has, "wheel": wheel.parent.name}))
    return inside


def create_environment(directory: Path, python: str, log: Path) -> None:
    """Make an environment with nothing but pip in it."""
    code = "import ensurepip, venv"
    if subprocess.run([python, "-c", code], capture_output=True).returncode:
        raise Failure(
            f"{python} has no `venv` module. Install it, for example with "
            "`apt install python3-venv`, or use another Python."
        )
    with step(f"creating {directory.name}"):
        call([python, "-m", "venv", "--clear", directory], log)


def install_requirements(python: Path, files: list[Path], log: Path) -> None:
    """Install what files of requirements name."""
    for file in files:
        lone = ["--no-deps"] if file.stem == "demo-data" else []
        # Modules that are imported compile themselves; to compile all takes most of the time.
        pip: list[str | Path] = [python, "-m", "pip", "install", "--no-compile"]
        call([*pip, *lone, "-r", file], log)


def install_wheel(python: Path, wheel: Path, log: Path) -> None:
    """Install a wheel as for everybody: no compiler can be found, and no source is built."""
    pip: list[str | Path] = [python, "-m", "pip", "install"]
    binary = {"PATH": str(python.parent), "CC": "", "PIP_ONLY_BINARY": ":all:"}
    call([*pip, "--no-deps", "--force-reinstall", wheel], log, variables=binary)
    call([*pip, wheel], log, variables=binary)
