#!/usr/bin/env python3
"""Set up all that a command needs, then run it.

    python3 run.py demo [DATASET]    the comparison on real data (--help: its options)
    python3 run.py test [OPTIONS]    the tests, with pytest's options
    python3 run.py lowest [OPTIONS]  tests with the lowest versions that are supported
    python3 run.py peers [NAME ...]  tests of zarr and others with our codecs (--fast, --help)
    python3 run.py lint              ruff, mypy and import-linter
    python3 run.py bench [PART]      the benchmarks, written to docs/benchmarks.md (--quick, --help)
    python3 run.py wheel [--aarch64] a wheel for others, checked (docs/wheels.md)
    python3 run.py which 3.13        where that interpreter is

It needs Python 3.11 or later, a C compiler and a network. Environments go to .venv-*, the wheel to
build/wheels: the next run starts at once, and rebuilds only when the sources have changed.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is what tells users of an older one
    sys.exit(
        "run.py: Python 3.11 or later is needed, this is {}.{}. Start it with a newer one, such as "
        "`python3.12 run.py`.".format(*sys.version_info)
    )

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent
WHEELS = ROOT / "build" / "wheels"
# What a wheel is made from. Directories are read whole.
WHEEL_INPUTS = (
    *("pyproject.toml", "CMakeLists.txt", "LICENSE", "cmake", "caterva_cffi"),
    *("vendor/manifest.toml", "vendor/fetch.py", "vendor/include", "vendor/licenses"),
)
# Tests that other packages matter to.
LOWEST_TESTS = (
    *("arrays/test_ndarray", "arrays/test_remote", "project/test_build", "project/test_demo"),
    *("project/test_examples", "sources", "test_callers", "test_numcodecs", "test_zarr"),
)
NO_NETWORK = re.compile(
    "NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|name resolution|getaddrinfo|"
    "Name or service not known|nodename nor servname|[Nn]etwork is unreachable|Connection refused"
)


class Peer(NamedTuple):
    """A package that cannot live beside ours. Tests start the Python that `variable` names."""

    variable: str
    requirements: str
    newest: tuple[int, int]
    needs_wheel: bool


class Program(NamedTuple):
    """A program of a Debian package. Tests start the one that `variable` names."""

    variable: str
    package: str
    path: str
    version_option: str
    without: str


NGINX = Program(
    "CATERVA_CFFI_NGINX", "nginx", "usr/sbin/nginx", "-v", "what needs an HTTP server cannot run"
)
# Emulates processors that lack instructions, or are of another kind.
QEMU = Program(
    *("CATERVA_CFFI_QEMU", "qemu-user-static", "usr/bin/qemu-x86_64-static", "-version"),
    "no old processor can be tried",
)
# Where a wheel for older systems than this one can be made.
PORTABLE = sys.platform == "linux" and platform.libc_ver()[0] == "glibc"
PORTABLE = PORTABLE and platform.machine() in ("x86_64", "aarch64")
PORTABLE_INPUTS = ("wheels/build.py", "wheels/check.py", "requirements/wheel.txt")
PEERS = (
    Peer("CATERVA_CFFI_PYTHON_CATERVA", "peer-python-caterva", (3, 11), needs_wheel=False),
    Peer("CATERVA_CFFI_ZARR2", "peer-zarr2", (3, 13), needs_wheel=True),
)


class Failure(Exception):
    """Ends the script with one line that says what to do."""


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Show what is being done, and how long it took."""
    print(f"{text} ... ", end="", flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - start:.0f} s", flush=True)


def show_progress(log: Path) -> None:
    """Repeat on the terminal how far Ninja says it is, as `[7/120]`."""
    if sys.stdout.isatty():
        steps = re.findall(r"\[\d+/\d+\]", log.read_text(encoding="utf-8", errors="replace"))
        if steps:
            print(steps[-1] + "\b" * len(steps[-1]), end="", flush=True)


def call(
    command: Sequence[str | Path],
    log: Path,
    directory: Path | None = None,
    variables: dict[str, str] | None = None,
) -> None:
    """Run a command with its output in a file; where it fails, say why from that output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {"PIP_RETRIES": "2", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **os.environ}
    environment |= variables or {}
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=directory,
        )
        try:
            while process.poll() is None:
                show_progress(log)
                time.sleep(0.2)
        finally:
            process.kill()
            process.wait()
            if sys.stdout.isatty():
                print(" " * 12 + "\b" * 12, end="")
    if process.returncode == 0:
        return
    text = log.read_text(encoding="utf-8", errors="replace")
    if NO_NETWORK.search(text):
        raise Failure(
            "the package index cannot be reached. Connect to a network, or name a reachable index "
            f"with PIP_INDEX_URL. Details: {log}"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror:|CMake Error", line, re.IGNORECASE)]
    raise Failure(f"{(errors or lines or ['no output'])[0]}  Details: {log}")


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
    """Hash of the files' names and contents."""
    result = hashlib.sha256("\0".join(more).encode())
    for path in paths:
        content = path.read_bytes()
        result.update(f"\0{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode())
        result.update(content)
    return result.hexdigest()[:16]


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
            pip = [python, "-m", "pip", "wheel", "--no-deps", "-v", "--wheel-dir", directory, ROOT]
            call(pip, ROOT / "build" / "wheel.log")

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
    found = list(directory.glob("*.whl"))
    if found:
        return found[0]
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
    """Look for an interpreter in $PYTHON3xx, on PATH, and among pyenv's."""
    variable = "PYTHON" + wanted.replace(".", "")
    candidates = [os.environ.get(variable), sys.executable, f"python{wanted}"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(map(str, pyenv.glob(f"versions/{wanted}.*/bin/python")), reverse=True)
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


def make_program(program: Program) -> dict[str, str]:
    """Find a program, or unpack Debian's package of it; return the variable that names it.

    Unpacked only: no service is installed or started, and nobody has to be root.
    """
    target = ROOT / "build" / program.package
    unpacked = target / program.path
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(unpacked.parent)])
    if not shutil.which(unpacked.name, path=path) and shutil.which("apt-get"):
        log = ROOT / "build" / f"{program.package}.log"
        try:
            with step(f"unpacking {program.package}"), tempfile.TemporaryDirectory() as name:
                directory = Path(name)
                download = ["apt-get", "download", program.package]
                try:
                    call(download, log, directory)
                except Failure:  # the package lists are old, or are not there
                    call(["apt-get", "update"], log)
                    call(download, log, directory)
                (package,) = directory.glob(f"{program.package}_*.deb")
                call(["dpkg-deb", "--extract", package, target], log)
                call([unpacked, program.version_option], log)
        except (Failure, OSError):
            shutil.rmtree(target, ignore_errors=True)
    found = shutil.which(unpacked.name, path=path)
    if not found:
        print(f"no {program.package}, and none could be unpacked: {program.without}")
    return {program.variable: found} if found else {}


def run(command: Sequence[str | Path], environment: dict[str, str]) -> int:
    """Run what the user asked for, with an environment's programs first on PATH."""
    python = Path(command[0])
    path = os.pathsep.join([str(python.parent), os.environ.get("PATH", os.defpath)])
    # Without PYTHONSAFEPATH, this directory's `caterva_cffi` would hide the installed one.
    return subprocess.run(
        [str(part) for part in command],
        env={**os.environ, "PATH": path, "PYTHONSAFEPATH": "1", **environment},
    ).returncode


def demo(arguments: list[str]) -> int:
    """Compare with whole-chunk decoding on real data."""
    with only_one():
        name = f"demo-{version(sys.executable)}"
        python = make_environment(name, sys.executable, ("demo", "demo-data"), make_wheel())
    return run([python, ROOT / "benchmarks" / "demo.py", *arguments], {})


def bench(arguments: list[str]) -> int:
    """Measure against the peers."""
    with only_one():
        name = f"bench-{version(sys.executable)}"
        python = make_environment(name, sys.executable, ("bench",), make_wheel())
        nginx = make_program(NGINX)
    return run([python, ROOT / "benchmarks", *arguments], nginx)


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


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": demo,
    "bench": bench,
    "test": test,
    "lowest": lowest,
    "peers": peers,
    "lint": lint,
    "wheel": wheel,
    "which": which,
}


def main(arguments: list[str]) -> int:
    """Run the command that the first argument names."""
    if not arguments or arguments[0] not in COMMANDS:
        print(__doc__, file=sys.stdout if arguments in (["-h"], ["--help"]) else sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        return COMMANDS[arguments[0]](arguments[1:])
    except Failure as failure:
        print(f"run.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
