"""How many threads decoding and encoding may use.

A call on much data starts threads, and ends them before it returns. So a fork can lose no thread,
and none hangs at exit. All calls of a process share one number of threads: one call alone uses all
of them, many at once use one each.
"""

from __future__ import annotations

import os

from caterva_cffi.binding.library import lib
from caterva_cffi.errors import wrong_value

__all__ = ["get_nthreads", "set_nthreads", "usable_processors"]


def get_nthreads() -> int:
    """Return how many threads all calls share."""
    return int(lib.cat_get_nthreads())


def set_nthreads(nthreads: int | None = None) -> int:
    """Set how many threads are shared by all calls without `nthreads` of their own.

    Parameters
    ----------
    nthreads : int, optional
        At least 1. By default the number of processors that this process may use, as at import.

    Returns
    -------
    int
        The number before.

    Raises
    ------
    ArgumentError
    """
    if nthreads is None:
        nthreads = usable_processors()
    if not isinstance(nthreads, int) or nthreads < 1:
        raise wrong_value("nthreads", nthreads, "a positive integer")
    before = get_nthreads()
    lib.cat_set_nthreads(min(nthreads, 2**15))
    return before


def usable_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


set_nthreads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lib.cat_reset_threads)
