"""The memory that a call needs at its peak, in a process of its own."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any


def peak(function: Callable[..., Callable[[], object]], *arguments: Any) -> int | None:
    """Return by how many bytes a call lifts the process's memory above what it is before.

    Parameters
    ----------
    function : callable
        At the top of a module; called with the arguments, it returns the call.

    Returns
    -------
    int or None
        None where the system does not say (it is Linux that does).
    """
    if not Path("/proc/self/status").exists():
        return None
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, function, arguments).result()


def _measure(function: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> int:
    call = function(*arguments)
    before = begin()
    assert before is not None
    kept = call()
    after = since(before)
    del kept
    return after


def begin() -> int | None:
    """Forget the peak so far, and return the process's memory; None where no system tells it."""
    if not Path("/proc/self/status").exists():
        return None
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def since(before: int) -> int:
    """Return by how many bytes the process's memory was at most above what it was before."""
    return max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    if not found:
        raise OSError(f"/proc/self/status has no {name}")
    return 1024 * int(found[1])
