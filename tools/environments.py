"""Interpreters that are found, and virtual environments that are made once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.processes import ROOT, Failure, call, step

UNSTABLE = ROOT / "build" / "debian-unstable"
"""Where `run.py interpreter` puts Debian's newest interpreters."""


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Keep two runs from setting up the same things at once."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / ".run-lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step("waiting for another run.py"):
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
    name: str, python: str, requirements: tuple[str, ...], wheel: Path | None = None
) -> Path:
    """Create or update a virtual environment; return its Python."""
    files = [ROOT / "requirements" / f"{file}.txt" for file in requirements]
    included = sorted((ROOT / "requirements").glob("*.txt")) if files else []
    wanted = {"files": digest(included, *requirements), "wheel": wheel and wheel.parent.name}
    directory = ROOT / f".venv-{name}"
    scripts = directory / ("Scripts" if sys.platform == "win32" else "bin")
    inside = scripts / ("python.exe" if sys.platform == "win32" else "python")
    stamp = directory / "run-stamp.json"
    works = stamp.exists() and version(str(inside))
    before = json.loads(stamp.read_text()) if works else {}
    if before == wanted:
        return inside
    log = ROOT / "build" / f"{name}.log"
    if not works:
        code = "import ensurepip, venv"
        if subprocess.run([python, "-c", code], capture_output=True).returncode:
            raise Failure(
                f"{python} has no `venv` module. Install it, for example with "
                "`apt install python3-venv`, or use another Python."
            )
        with step(f"creating {directory.name}"):
            call([python, "-m", "venv", "--clear", directory], log)
    stamp.unlink(missing_ok=True)
    if requirements:
        pip: list[str | Path] = [inside, "-m", "pip", "install"]
        with step(f"installing into {directory.name}"):
            for file in files if before.get("files") != wanted["files"] else ():
                lone = ["--no-deps"] if file.stem == "demo-data" else []
                call([*pip, *lone, "-r", file], log)
            if wheel:
                # Installs for everybody: no compiler can be found, and no source is built.
                binary = {"PATH": str(scripts), "CC": "", "PIP_ONLY_BINARY": ":all:"}
                call([*pip, "--no-deps", "--force-reinstall", wheel], log, variables=binary)
                call([*pip, wheel], log, variables=binary)
    stamp.write_text(json.dumps(wanted))
    return inside
