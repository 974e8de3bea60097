"""Wheels that are built, and kept until their sources change."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from tools.environments import digest, make_environment, only_one, version
from tools.processes import ROOT, Failure, call, step

WHEELS = ROOT / "build" / "wheels"
# What a wheel is made from. Directories are read whole.
WHEEL_INPUTS = (
    *("pyproject.toml", "CMakeLists.txt", "LICENSE", "cmake", "caterva_cffi"),
    *("vendor/manifest.toml", "vendor/fetch.py", "vendor/include", "vendor/licenses"),
)
# Where a wheel for older systems than this one can be made.
PORTABLE = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
PORTABLE = PORTABLE and platform.machine() in ("x86_64", "aarch64")
PORTABLE_INPUTS = ("wheels/build.py", "wheels/check.py", "requirements/wheel.txt")


def wheel_inputs() -> list[Path]:
    """Every file that a wheel is made from."""
    found: set[Path] = set()
    for name in WHEEL_INPUTS:
        path = ROOT / name
        found.update(path.rglob("*") if path.is_dir() else [path])
    return sorted(p for p in found if p.is_file() and p.suffix not in (".pyc", ".so", ".pyd"))


def check_build_tools() -> None:
    """Complain before the build does, in fewer words."""
    if sys.platform == "win32":
        return  # CMake finds Visual Studio, which is not on PATH
    compilers = [os.environ["CC"].split()[0]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        raise Failure(
            f"no C compiler (looked for {', '.join(compilers)}). Install one, for example with "
            "`apt install gcc` or `xcode-select --install`, or set CC."
        )
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        raise Failure(
            f"{sys.executable} has no Python.h. Install its headers, for example with "
            "`apt install python3-dev`, or use another Python."
        )


def make_wheel() -> Path:
    """Build a wheel for this machine, or find the one that was built from the same sources."""

    def build(directory: Path) -> None:
        python = make_environment(f"build-{version(sys.executable)}", sys.executable, ())
        with building():
            pip: list[str | Path] = [python, "-m", "pip", "wheel", "--no-deps", "-v"]
            call([*pip, "--wheel-dir", directory, ROOT], ROOT / "build" / "wheel.log")

    return kept_wheel("plain", wheel_inputs(), build)


def make_portable_wheel(target: str = "") -> Path:
    """Build, repair and check a wheel that others can install, for this processor or another.

    Where that cannot be done it is a wheel for this machine.
    """
    if not PORTABLE:
        return make_wheel()
    log = ROOT / "build" / "portable.log"

    def build(directory: Path) -> None:
        python = make_wheel_tools()
        with building():
            options = ["--target", target] if target else []
            call([python, ROOT / "wheels" / "build.py", directory, *options], log)
        with step("checking the wheel"):
            call([python, ROOT / "wheels" / "check.py", *directory.glob("*.whl")], log)

    inputs = [*wheel_inputs(), *(ROOT / name for name in PORTABLE_INPUTS)]
    return kept_wheel(f"portable{target and '-'}{target}", inputs, build)


def make_wheel_tools() -> Path:
    """Make the environment of what makes and checks portable wheels; return its Python."""
    return make_environment("wheel", sys.executable, ("wheel",))


def kept_wheel(kind: str, inputs: list[Path], build: Callable[[Path], None]) -> Path:
    """Find the wheel of a kind that was built from the same inputs, or build it."""
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    # The stable ABI lets one wheel serve every version; free-threaded Python has none.
    abi = f"{sys.version_info.minor}t" if free_threaded else "abi3"
    prefix = f"{kind}-{abi}-"
    directory = WHEELS / f"{prefix}{digest(inputs, sysconfig.get_platform(), abi)}"
    with only_one(f"{kind}-wheel"):
        if not directory.exists():
            check_build_tools()
            unfinished = directory.with_name(f"{directory.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            build(unfinished)
            for other in WHEELS.glob(f"{prefix}*"):  # of older sources
                if other != unfinished:
                    shutil.rmtree(other)
            unfinished.rename(directory)
    (wheel,) = directory.glob("*.whl")
    return wheel


def building() -> contextlib.AbstractContextManager[None]:
    """Show that C is compiled, and what that needs for the first time."""
    first = not (ROOT / "vendor" / "src").exists()
    return step(f"building the C libraries{' (80 MB to download; some minutes)' if first else ''}")
