"""What users do with a stored array, by a handle of their own."""

from __future__ import annotations

import os
import pickle
import shutil

import numpy as np
import pytest

import caterva_cffi as cat

ITEMS = np.random.default_rng(3).integers(0, 1 << 40, (20, 6))
GEOMETRY = {"chunks": (5, 6), "blocks": (2, 3), "meta": {"note": b"fixed"}}
each_kind = pytest.mark.parametrize("contiguous", [True, False], ids=["file", "directory"])
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
ignore_threads = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def make(items=ITEMS, path="a", **kwargs):
    made = cat.asarray(items, **{"urlpath": path, **GEOMETRY, **kwargs})
    made.vlmeta["title"] = b"old"
    return made


def saved(a):
    a.save("saved", mode="w")
    return cat.open("saved")


def written(a):
    a[0] = 1
    a.vlmeta["written"] = b"1"
    return cat.open("a", mode="r")


USES = {
    "items": lambda a: a[...].tolist(),
    "one item": lambda a: a[0, 0],
    "an item of the last row": lambda a: a[len(a) - 1].tolist(),
    "no items": lambda a: a[0:0].shape,
    "index arrays": lambda a: a[[0, 1]].tolist(),
    "oindex": lambda a: a.oindex[[0, 1]].tolist(),
    "out": lambda a: a.read(out=np.empty((20, 6), a.dtype)).tolist(),
    "shape": lambda a: (a.shape, a.ndim, a.nbytes, a.nitems, a.nchunks, a.chunks, a.dtype),
    "length": len,
    "meta": lambda a: dict(a.meta),
    "vlmeta": lambda a: dict(a.vlmeta),
    "names": lambda a: (list(a.vlmeta), len(a.vlmeta), "title" in a.vlmeta, "new" in a.vlmeta),
    "bytes": lambda a: a.cbytes,
    "parameters": lambda a: (a.codec, a.clevel, a.filters),
    "to_cframe": lambda a: everything(cat.from_cframe(a.to_cframe())),
    "save": lambda a: everything(saved(a)),
    "copy": lambda a: everything(a.copy()),
    "pickle": lambda a: everything(pickle.loads(pickle.dumps(a))),
    "chunk": lambda a: a._items.chunk_bytes(0),
    "write": lambda a: everything(written(a)),
    "append": lambda a: everything(a.append(a[:1])),
    "resize": lambda a: everything(a.resize((3, 6))),
}


def everything(a):
    return a[...].tolist(), a.shape, dict(a.vlmeta), a.meta.get("note")


def restore(kept):
    cat.remove("a")
    (shutil.copytree if os.path.isdir(kept) else shutil.copy)(kept, "a")
