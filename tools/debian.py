"""Programs of Debian's packages, unpacked where they are not installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from tools.environments import only_one
from tools.processes import ROOT, Failure, call, step


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


def make_program(program: Program) -> dict[str, str]:
    """Find a program, or unpack Debian's package of it; return the variable that names it."""
    unpacked = ROOT / "build" / program.package / program.path
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(unpacked.parent)])
    with only_one(program.package):
        if not shutil.which(unpacked.name, path=path) and shutil.which("apt-get"):
            unpack(program)
    found = shutil.which(unpacked.name, path=path)
    if not found:
        print(f"no {program.package}, and none could be unpacked: {program.without}")
    return {program.variable: found} if found else {}


def unpack(program: Program) -> None:
    """Unpack a package, no more: no service is installed or started, and nobody has to be root."""
    target = ROOT / "build" / program.package
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
            call([target / program.path, program.version_option], log)
    except (Failure, OSError):
        shutil.rmtree(target, ignore_errors=True)
