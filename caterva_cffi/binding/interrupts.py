"""Signals during long calls: Python runs their handlers only between bytecodes, and C has none.

Handlers run in the main thread. So during a long call, that thread calls a Python function now and
then, in which the interpreter can run handlers. If one raises, the call ends.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from types import TracebackType

from caterva_cffi._libcaterva import ffi, lib

__all__ = ["ask_often", "raise_interrupt"]

_SECONDS = 0.05

_raised: list[BaseException] = []


def _keep(cls: type[BaseException], error: BaseException, traceback: TracebackType | None) -> int:
    _raised[:] = [error]
    return 1


@ffi.def_extern(name="caterva_cffi_ask", error=1, onerror=_keep)  # type: ignore[untyped-decorator]
def _ask() -> int:
    return 0


def raise_interrupt() -> None:
    """Raise what a signal handler raised during a call that was interrupted."""
    raise _raised.pop() if _raised else KeyboardInterrupt


def ask_often(wait: Callable[[float], bool]) -> None:
    """Wait, and let signals' handlers run every 50 ms, even if nothing interrupts a wait.

    Parameters
    ----------
    wait : callable
        Waits for at most the given number of seconds; returns whether the wait is over.
    """
    while not wait(_SECONDS):
        pass


def _set_main_thread() -> None:
    lib.cat_set_interruptible(threading.main_thread().ident or 0, lib.caterva_cffi_ask)


_set_main_thread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_set_main_thread)
