"""Build a wheel that runs on systems with an old C library, and repair it to that tag.

    python wheels/build.py DIRECTORY [--target x86_64-linux-gnu.2.17]

For this machine's processor the machine's own C compiler compiles: GCC compiles what is released
too, and Zig's clang made Zstandard's decoder 5 to 10% slower. Zig gives it the headers of the old C
library and links against its symbols. For another processor Zig compiles as well.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST_GLIBC = "2.17"

# Whether a command compiles, or tells something: what links gets objects and libraries only.
NATIVE_CC = """\
#!/bin/sh
for argument; do
  case $argument in
    *.c|*.S|*.s|-E|--version|-print*|-dump*) exec {compile} "$@" ;;
  esac
done
# Zig's own memcpy and strlen know no AVX2; the C library's do. Its other helpers are in libgcc.
exec {link} "$@" -rtlib=none {libgcc}
"""
CROSS_CC = """\
#!/bin/sh
exec {link} "$@"
"""


def output_of(*command: str | Path) -> str:
    """Run a command that prints what is asked for; both of its streams."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=True
    )
    return (done.stdout + done.stderr).strip()


def header_options(zig: Path, target: str) -> list[str]:
    """Options that make another compiler see the C library of the target, as Zig's does."""
    text = output_of(zig, "cc", "-target", target, "-E", "-v", "-x", "c", os.devnull)
    between = text.partition("search starts here:\n#include <...> search starts here:\n")[2]
    lines = between.partition("End of search list")[0].splitlines()
    paths = [Path(line.strip()).resolve() for line in lines]  # those below here are relative
    libc = [path for path in paths if "libc" in path.parts]
    if not libc:
        sys.exit(f"zig cc -v tells no paths of headers for {target}:\n{text}")
    minor = target.rpartition(".")[2]
    return ["-nostdinc", *(f"-isystem{path}" for path in libc), f"-D__GLIBC_MINOR__={minor}"]


def write_script(path: Path, text: str) -> Path:
    """Write a program; its time changes only with its text, so that nothing is compiled anew."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def write_compiler(directory: Path, target: str) -> Path:
    """Write the C compiler of a target, a script; return its path."""
    import ziglang

    zig = Path(ziglang.__file__).with_name("zig")
    # Without -O2 Zig would link its sanitizer's library, and compile that for minutes first.
    link = shlex.join([str(zig), "cc", "-target", target, "-O2", "-fno-sanitize=all"])
    if target.partition("-")[0] != platform.machine():
        return write_script(directory / "cc", CROSS_CC.format(link=link))
    cc = shlex.split(os.environ.get("CC", "cc"))
    own = output_of(*cc, "-print-file-name=include").splitlines()[0]
    headers = header_options(zig, target)
    compile_ = shlex.join([*cc, headers[0], f"-isystem{own}", *headers[1:]])
    libgcc = shlex.quote(output_of(*cc, "-print-libgcc-file-name"))
    script = NATIVE_CC.format(compile=compile_, link=link, libgcc=libgcc)
    return write_script(directory / "cc", script)


def build_wheel(target: str, wheels: Path) -> Path:
    """Build the wheel of the tree; return its path."""
    machine = target.partition("-")[0]
    work = ROOT / "build" / "portable" / target
    compiler = write_compiler(work, target)
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([scripts, os.environ["PATH"]]),
        "CC": str(compiler),
        "ASM": str(compiler),
        "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
    }
    settings = [f"--config-settings=build-dir={work / 'build'}"]
    if machine != platform.machine():
        environment["_PYTHON_HOST_PLATFORM"] = f"linux-{machine}"
        system = f"-DCMAKE_SYSTEM_NAME=Linux;-DCMAKE_SYSTEM_PROCESSOR={machine}"
        settings.append(f"--config-settings=cmake.args={system}")
    # In isolation pip would install build tools for the processor that the wheel is for.
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-v"]
    pip += settings
    subprocess.run([*pip, "--wheel-dir", wheels, ROOT], env=environment, check=True)
    (wheel,) = wheels.glob("*.whl")
    return wheel


def main() -> None:
    """Build and repair."""
    parser = argparse.ArgumentParser(description="build a wheel for old systems")
    parser.add_argument("directory", type=Path, help="where the wheel goes")
    native = f"{platform.machine()}-linux-gnu.{OLDEST_GLIBC}"
    parser.add_argument("--target", default=native, help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wheel = build_wheel(options.target, Path(name))
        auditwheel = [sys.executable, "-m", "auditwheel", "repair", "--plat", "auto"]
        scripts = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        command = [*auditwheel, "--wheel-dir", options.directory, wheel]
        subprocess.run(command, env={**os.environ, "PATH": scripts}, check=True)


if __name__ == "__main__":
    main()
