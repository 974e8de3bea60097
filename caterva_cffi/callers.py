"""Warnings that point to the line of the user who called, however deep in libraries they arise."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Sequence

__all__ = ["warn_caller"]

_HERE = os.path.dirname(__file__)


def warn_caller(message: str, category: type[Warning], beside: Sequence[str] = ()) -> None:
    """Warn at the innermost line that is in none of some directories.

    Parameters
    ----------
    message : str
    category : type of Warning
    beside : sequence of str
        Directories whose code calls this package for users; the package's own is one always.
        Where a thread runs nothing else, the line is the outermost one.
    """
    # From Python 3.12 on, warnings.warn has skip_file_prefixes, which does the same.
    skipped = tuple(os.path.join(place, "") for place in (_HERE, *beside))
    frame = inspect.currentframe()
    while frame is not None and frame.f_back is not None:
        if not frame.f_code.co_filename.startswith(skipped):
            break
        frame = frame.f_back
    if frame is None:  # an interpreter without frames
        warnings.warn(message, category, stacklevel=2)
        return
    names = frame.f_globals
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        names.get("__name__"),
        names.setdefault("__warningregistry__", {}),
    )
