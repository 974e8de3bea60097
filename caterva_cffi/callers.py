"""Warnings that point to the user's line, even if another thread gives them."""

from __future__ import annotations

import inspect
import sys
import warnings
from types import FrameType

__all__ = ["warn_caller"]

_NOT_THE_USER = {
    "asyncio", "caterva_cffi", "concurrent", "contextlib", "functools", "numcodecs", "threading",
    "zarr",
}  # fmt: skip


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn, and point to where the user's code is.

    That is the nearest line outside this package and Zarr. For synchronous calls, Zarr works in a
    thread of its own. Then it is the line that waits for that thread, if only one line does.

    Parameters
    ----------
    message : str
    category : type
    """
    frame = _outside(inspect.currentframe()) or _waiting()
    if frame is None:
        warnings.warn(message, category, stacklevel=2)
        return
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _outside(frame: FrameType | None) -> FrameType | None:
    """Return the nearest frame that is the user's: this one, or one that called it."""
    while frame is not None and _package(frame) in _NOT_THE_USER:
        frame = frame.f_back
    return frame


def _waiting() -> FrameType | None:
    """Return the user's frame that waits for Zarr's thread; None if several lines do."""
    found = {}
    for inner in sys._current_frames().values():
        frame: FrameType | None = inner
        while frame is not None and frame.f_globals.get("__name__") != "zarr.core.sync":
            frame = frame.f_back
        outer = _outside(frame)
        if frame is not None and outer is not None:
            found[outer.f_code.co_filename, outer.f_lineno] = outer
    return next(iter(found.values())) if len(found) == 1 else None
