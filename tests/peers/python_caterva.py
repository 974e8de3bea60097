"""Arrays written, read and changed by python-caterva, as a list of cases says.

Usage: python python_caterva.py write|read|change DIRECTORY. It holds cases.json and, for the case
NAME, its items in NAME.raw and its array in NAME.b2frame. What it read is printed as JSON.
"""

import json
import sys
from pathlib import Path

import caterva as cat
import numpy as np


def write(case, raw, path):
    """Make the array of a case from its items, or as the constructor that it names does."""
    kwargs = {
        "chunks": case["chunks"],
        "blocks": case["blocks"],
        "urlpath": path,
        "contiguous": case["contiguous"],
        "codec": cat.Codec[case["codec"]],
        "clevel": case["clevel"],
        "filters": [cat.Filter[name] for name in case["filters"]],
        "filtersmeta": case["filtersmeta"],
        "nthreads": case["nthreads"],
        "usedict": case["usedict"],
        "meta": {name: bytes.fromhex(text) for name, text in case["meta"].items()},
    }
    shape, itemsize = case["shape"], case["itemsize"]
    if case["constructor"] == "from_buffer":
        cat.from_buffer(raw, shape, itemsize, **kwargs)
    elif case["constructor"] == "full":
        cat.full(shape, raw[:itemsize], **kwargs)
    else:
        getattr(cat, case["constructor"])(shape, itemsize, **kwargs)


def read(case, raw, path):
    """Return all that python-caterva sees of an array."""
    array = cat.open(path)
    box = tuple(slice(n // 3, n // 3 + n // 2) for n in array.shape)
    return {
        "shape": array.shape,
        "chunks": array.chunks,
        "blocks": array.blocks,
        "itemsize": array.itemsize,
        "codec": array.codec.name,
        "filters": [item.name for item in array.filters],
        "meta": {name: array.meta[name].hex() for name in case["meta"]},
        "items": array.to_buffer().hex(),
        "box": array[box].tobytes().hex(),
    }


def change(case, raw, path):
    """Overwrite the first row with ones, add a chunk to every dimension, write the last row."""
    array = cat.open(path)
    array[0] = np.full(array.shape[1:], b"\1" * array.itemsize, f"S{array.itemsize}")
    array.resize([n + chunk for n, chunk in zip(array.shape, array.chunks, strict=True)])
    array[-1] = np.full(array.shape[1:], b"\2" * array.itemsize, f"S{array.itemsize}")


if __name__ == "__main__":
    action = {"write": write, "read": read, "change": change}[sys.argv[1]]
    directory = Path(sys.argv[2])
    results = {}
    for case in json.loads((directory / "cases.json").read_text()):
        path = directory / f"{case['name']}.b2frame"
        raw = (directory / f"{case['name']}.raw").read_bytes()
        results[case["name"]] = action(case, raw, str(path))
    print(json.dumps(results))
