"""On what machine, beside what, and with which versions, something was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path

import blosc2
import numcodecs.blosc

from caterva_cffi import ffi, get_nthreads, lib

QUIET = 0.1
"""Share of the processors that others may take without spoiling what is measured."""

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"


def peers() -> list[str]:
    """Return the packages of requirements/bench.txt, which is where their versions are pinned."""
    lines = [
        line
        for file in ("bench.txt", "demo.txt")
        for line in (REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
    ]
    return sorted({re.split(r"[\[=]", line)[0] for line in lines if "==" in line})


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
    """Return a paragraph on machine and versions."""
    virtual = Path("/proc/cpuinfo").exists() and "hypervisor" in Path("/proc/cpuinfo").read_text()
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    return (
        f"{processor()}{' (virtual)' * virtual}, {get_nthreads()} usable processors{memory}, "
        f"{platform.system()} {platform.machine()}, {platform.python_implementation()} "
        f"{platform.python_version()}. Versions: {versions()}."
    )


class Others:
    """What other processes take of the processors from now on, where the system says it (Linux)."""

    def __init__(self) -> None:
        self._start = self._seconds()

    def describe(self) -> str:
        """Return a sentence; above `QUIET` it warns of the numbers."""
        if not self._start or not (now := self._seconds()):
            return "How busy other processes kept the machine is not known here."
        all_, own, idle = (b - a for a, b in zip(self._start, now, strict=True))
        share = max(0.0, all_ - own - idle) / (all_ or 1)
        said = f"Other processes took {share:.0%} of the processors meanwhile."
        if share <= QUIET:
            return said
        return f"**{said} Run it again on a quiet machine: these numbers are not to be relied on.**"

    @staticmethod
    def _seconds() -> tuple[float, float, float] | None:
        """Return the time of all processors, of this process with its children, and idle."""
        if not Path("/proc/stat").exists():
            return None
        ticks = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
        tick = os.sysconf("SC_CLK_TCK")
        return sum(ticks) / tick, sum(os.times()[:4]), (ticks[3] + ticks[4]) / tick
