"""On what machine, and with which versions, something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import blosc2
import numcodecs.blosc

from caterva_cffi import ffi, get_nthreads, lib

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"


def peers() -> list[str]:
    """Return the packages of requirements/bench.txt, which is where their versions are pinned."""
    lines = [
        line
        for file in ("bench.txt", "demo.txt")
        for line in (REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
    ]
    return sorted({line.split("==")[0] for line in lines if "==" in line})


def versions() -> str:
    """Return the versions of all libraries that are compared."""
    found = [f"{name} {importlib.metadata.version(name)}" for name in ("caterva-cffi", *peers())]
    own = ffi.string(lib.BLOSC2_VERSION_STRING).decode()
    inside = {
        "caterva-cffi": f"C-Blosc2 {own}",
        "blosc2": f"C-Blosc2 {blosc2.blosclib_version.split()[0]}",
        "numcodecs": f"C-Blosc {numcodecs.blosc.VERSION_STRING}",
    }
    has = ", ".join(f"{name} has {library}" for name, library in inside.items())
    return f"{', '.join(found)}; {has}"


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    return names[0].strip() if names else platform.processor() or platform.machine()


def describe() -> str:
    """Return a paragraph on machine, versions and how busy it was."""
    virtual = Path("/proc/cpuinfo").exists() and "hypervisor" in Path("/proc/cpuinfo").read_text()
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    load = f" Load before: {os.getloadavg()[0]:.1f}." if hasattr(os, "getloadavg") else ""
    return (
        f"{processor()}{' (virtual)' * virtual}, {get_nthreads()} usable processors{memory}, "
        f"{platform.system()} {platform.machine()}, {platform.python_implementation()} "
        f"{platform.python_version()}.{load} Versions: {versions()}."
    )
