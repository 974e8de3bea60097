"""Slices read from Python, and common Python work, each counted by callgrind in a part of its own.

valgrind --tool=callgrind --instr-atstart=no python hot_call.py counting.so

It prints the interpreter's version.
"""

import ctypes
import gc
import os
import platform
import sys
import tempfile
import time

import numpy as np

import caterva_cffi
from caterva_cffi import ffi, lib

TIMES = 200
SHAPE = (64, 64, 64)

PARTITION = {"dtype": "f4", "chunks": (32, 32, 32), "blocks": (16, 16, 16)}

array = caterva_cffi.zeros(SHAPE, **PARTITION)


class Box:
    def __init__(self, start, count):
        self.start = start
        self.count = count


def plan(shape, key):
    start, count = [], []
    for length, index in zip(shape, key, strict=True):
        if isinstance(index, int):
            if not -length <= index < length:
                raise IndexError(index)
            start.append(index % length)
            count.append(1)
    return Box(tuple(start), tuple(count))


def read_items():
    for _ in range(TIMES):
        array[1, 2, 3]


def stored(folder, **partition):
    """Return an array in a file whose time of change is no longer the present."""
    path = os.path.join(folder, f"{len(os.listdir(folder))}.b2nd")
    items = np.arange(64**3, dtype="f4").reshape(SHAPE)
    caterva_cffi.asarray(items, urlpath=path, contiguous=True, **{**PARTITION, **partition})
    while time.time() - os.stat(path).st_ctime < 0.2:
        time.sleep(0.05)
    return caterva_cffi.open(path, mode="r")


def read_slices(file):
    for _ in range(TIMES):
        file[1:9, 2:10, 3:11]


def read_two_items(file):
    for _ in range(TIMES):
        file[[1, 60], [2, 50], [3, 40]]


def work_in_python():
    """Do what reading an item is made of: calls, tuples, a NumPy array, cffi."""
    for _ in range(TIMES):
        box = plan(SHAPE, (1, 2, 3))
        np.empty(box.count, "f4")[0, 0, 0]
        assert ffi.new("cat_box *", {"start": box.start, "count": box.count}).count[0] == 1
        lib.cat_get_nthreads()


def main(library):
    print(platform.python_implementation(), platform.python_version())
    counting = ctypes.CDLL(library)
    gc.disable()
    with tempfile.TemporaryDirectory() as folder:
        file = stored(folder)
        many_blocks = stored(folder, chunks=SHAPE, blocks=(4, 4, 4))
        for name, function in (
            ("a[i, j, k]", read_items),
            ("a slice of a file", lambda: read_slices(file)),
            ("two items of 4096 blocks", lambda: read_two_items(many_blocks)),
            ("Python", work_in_python),
        ):
            for _ in range(2):  # CPython specialises bytecode in the first calls
                function()
            counting.start_counting()
            function()
            counting.stop_counting(name.encode())


if __name__ == "__main__":
    main(sys.argv[1])
