"""Arrays in files and directories of the current folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caterva_cffi as cat

ITEMS = np.arange(600, dtype="i4").reshape(20, 30)
PARTITION = {"chunks": (7, 8), "blocks": (3, 4)}

CONSTRUCTORS = {
    "empty": (lambda **kw: cat.empty((20, 30), dtype="i4", **kw), np.zeros_like(ITEMS)),
    "zeros": (lambda **kw: cat.zeros((20, 30), 4, **kw), np.zeros_like(ITEMS)),
    "full": (lambda **kw: cat.full((20, 30), 7, dtype="i4", **kw), np.full_like(ITEMS, 7)),
    "full of bytes": (lambda **kw: cat.full((20, 30), b"\5\0\0\0", **kw), np.full_like(ITEMS, 5)),
    "from_buffer": (lambda **kw: cat.from_buffer(ITEMS.tobytes(), (20, 30), 4, **kw), ITEMS),
    "asarray": (lambda **kw: cat.asarray(ITEMS, **kw), ITEMS),
    "copy": (lambda **kw: cat.copy(cat.asarray(ITEMS, **PARTITION), **kw), ITEMS),
    "slice": (lambda **kw: cat.asarray(ITEMS).slice(..., **kw), ITEMS),
}
each_constructor = pytest.mark.parametrize(
    ("construct", "expected"), CONSTRUCTORS.values(), ids=list(CONSTRUCTORS)
)
each_kind = pytest.mark.parametrize("contiguous", [True, False], ids=["file", "directory"])


def make(urlpath=None, **kwargs):
    return cat.asarray(ITEMS, urlpath=urlpath, **{**PARTITION, **kwargs})


def everything_in(folder="."):
    return {
        path.as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file() or path.is_symlink()
    }
