"""Interpreters that nobody installs here: Debian's newest, in a folder of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from tools.environments import UNSTABLE, only_one, version
from tools.processes import ROOT, Failure, call, step

LOG = ROOT / "build" / "debian-unstable.log"
# The folder's own loader finds its libraries, so that neither root nor chroot is needed to run it,
# and the programs of this system are there for it.
STARTER = """\
#!/bin/sh
exec {loader} --argv0 "$0" --library-path {libraries} {python} "$@"
"""
DEBIAN = ("Created-By: Packages", "Origin: Debian", "Label: Debian")


def make_interpreter(wanted: str) -> Path:
    """Find `python3.14` in the folder, or put it there by `debootstrap`; return its path."""
    starter = UNSTABLE / "usr/local/bin" / f"python{wanted}"
    if version(str(starter)) == wanted:
        return starter
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise Failure("interpreters are taken from Debian's packages by root, on Debian.")
    packages = [f"python{wanted}", f"python{wanted}-venv"]
    with only_one(UNSTABLE.name), step(f"{' and '.join(packages)} of Debian unstable"):
        if (UNSTABLE / "etc/debian_version").exists():
            add(packages)
        else:
            unpack(packages)
        write_starter(starter, UNSTABLE / "usr/bin" / starter.name)
    if version(str(starter)) != wanted:
        raise Failure(f"{starter} does not run. Details: {LOG}")
    return starter


def unpack(packages: list[str]) -> None:
    """Make the folder, with packages in it."""
    if not shutil.which("debootstrap"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        call(["apt-get", "install", "-yq", "debootstrap"], LOG, variables=quiet)
    unfinished = UNSTABLE.with_name(f"{UNSTABLE.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    include = f"--include={','.join(packages)}"
    command: list[str | Path] = ["debootstrap", "--variant=minbase", include, "unstable"]
    call([*command, unfinished, mirror()], LOG)
    unfinished.rename(UNSTABLE)


def add(packages: list[str]) -> None:
    """Install packages into the folder that is there."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt: list[str | Path] = ["chroot", UNSTABLE, "apt-get"]
    install = [*apt, "install", "-yq", "--no-install-recommends", *packages]
    try:
        call(install, LOG, variables=quiet)
    except Failure:  # the package lists are old
        call([*apt, "update"], LOG)
        call(install, LOG, variables=quiet)


def mirror() -> str:
    """Where this machine has its packages from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *DEBIAN]
    found = subprocess.run(command, capture_output=True, text=True).stdout.split()
    if not found:
        raise Failure("apt knows no Debian mirror. Run `apt-get update` first.")
    return found[0]


def write_starter(starter: Path, python: Path) -> None:
    """Write what starts an interpreter of the folder, and let its `ensurepip` find its wheels."""
    (loader,) = UNSTABLE.glob("usr/lib*/ld-linux-*")
    (libc,) = UNSTABLE.glob("usr/lib/*/libc.so.6")
    paths = {"loader": loader, "libraries": libc.parent, "python": python}
    quoted = {name: shlex.quote(str(path)) for name, path in paths.items()}
    starter.write_text(STARTER.format(**quoted), encoding="utf-8")
    starter.chmod(0o755)
    wheels = "/usr/share/python-wheels"
    for data in UNSTABLE.glob(f"usr/lib/{python.name}/_sysconfigdata*.py"):
        text = data.read_text(encoding="utf-8")
        text = text.replace(f"'{wheels}", f"'{UNSTABLE}{wheels}")
        data.write_text(text, encoding="utf-8")
