"""Every public operation again and again, errors included: `python leaks.py ROUNDS`.

Prints the bytes on the heap that the rounds added once all had been done a few times. With
PYTHONMALLOC=malloc Python's own objects are counted too.
"""

import contextlib
import copy
import ctypes
import gc
import os
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np

import caterva_cffi as cat
from caterva_cffi import lib
from caterva_cffi.numcodecs import Caterva

ITEMS = np.arange(40 * 50, dtype="i4").reshape(40, 50)
PARTITION = {"chunks": (16, 20), "blocks": (8, 8)}
CODEC = Caterva(block_shape=(8, 8))
ENCODED = bytes(CODEC.encode(ITEMS))
FRAME = bytes(cat.asarray(ITEMS, contiguous=True, **PARTITION).to_cframe())
CUT, DAMAGED = FRAME[:-40], bytearray(FRAME)
DAMAGED[len(FRAME) // 2 : len(FRAME) // 2 + 200] = bytes(200)


def make(**kwargs):
    return cat.asarray(ITEMS, **{**PARTITION, **kwargs})


def views():
    view = make(contiguous=True).to_cframe()
    array = cat.from_cframe(view)
    item = array[3:5]
    del view, array
    again = cat.from_cframe(bytearray(FRAME))
    layers = again.schunk
    del again
    return item, layers.chunk(0)


def held():
    array = make(contiguous=True)
    view = array.to_cframe()
    array.resize((3, 3))
    return view


def changed(contiguous, path=None):
    array = make(contiguous=contiguous, urlpath=path, mode="w")
    array[3:20, ::3] = 1
    array.oindex[[1, 2]] = array.oindex[[3, 4]]
    array.append(ITEMS)
    array.insert(3, ITEMS[:2])
    array.delete(5, 9)
    array.resize((30, 10))
    array.vlmeta["note"] = b"x" * 100
    array.vlmeta["note"] = b"y"
    del array.vlmeta["note"]
    return array


def opened():
    with cat.open("a", mode="r") as array:
        return array[...], array[3], array[[1, 2], [3, 4]], array.to_cframe(), str(array.info)


def absent():
    array = make(urlpath="gone", mode="w")
    cat.remove("gone")
    return array[...]


def squeezed():
    array = cat.asarray(ITEMS[:1], chunks=(1, 9), blocks=(1, 3), urlpath="s", mode="w")
    array.squeeze()


OPERATIONS = {
    "memory": make,
    "frame": lambda: make(contiguous=True).to_cframe(),
    "filters": lambda: make(filters=[cat.Filter.DELTA, cat.Filter.SHUFFLE])[...],
    "dictionary": lambda: make(codec=cat.Codec.ZSTD, usedict=True)[...],
    "full": lambda: cat.full((30, 30), 7, dtype="f8").copy()[...],
    "empty": lambda: cat.empty((30, 30), dtype="f8", meta={"a": b"b"}).meta["a"],
    "from_buffer": lambda: cat.from_buffer(ITEMS.tobytes(), ITEMS.shape, 4)[1, 2],
    "from_cframe": lambda: cat.from_cframe(FRAME)[1:9, ::2],
    "copied frame": lambda: cat.from_cframe(FRAME, copy=True).append(ITEMS),
    "views": views,
    "pickle": lambda: pickle.loads(pickle.dumps(make())),
    "deepcopy": lambda: copy.deepcopy(make(contiguous=True)),
    "changed": lambda: changed(False),
    "changed frame": lambda: changed(True),
    "changed file": lambda: changed(True, "b"),
    "changed directory": lambda: changed(False, "c"),
    "save": lambda: make().save("a", mode="w"),
    "open": opened,
    "squeeze": squeezed,
    "slice": lambda: make().slice((slice(3, 9), 0))[...],
    "codec": lambda: CODEC.decode(CODEC.encode(ITEMS)),
    "pickled codec": lambda: pickle.loads(pickle.dumps(CODEC)).decode(ENCODED),
    # errors
    "cut frame": lambda: cat.from_cframe(CUT)[...],
    "damaged frame": lambda: cat.from_cframe(DAMAGED)[...],
    "no frame": lambda: cat.from_cframe(b"text" * 100),
    "no copied frame": lambda: cat.from_cframe(CUT, copy=True),
    "damaged codec": lambda: CODEC.decode(ENCODED[:-30]),
    "missing file": lambda: cat.open("none"),
    "file that is no frame": lambda: cat.open("text"),
    "file that is gone": absent,
    "file that exists": lambda: make(urlpath="text"),
    "unknown codec": lambda: make(codec=200),
    "partition": lambda: make(blocks=(90, 90)),
    "index": lambda: make()[99],
    "value": lambda: make(contiguous=True).__setitem__(0, [1, 2]),
    "shape": lambda: make().resize((1, 2, 3)),
    "view that is held": held,
    "metalayer": lambda: make().vlmeta["none"],
    "too many metalayers": lambda: make().vlmeta.update({str(n): b"" for n in range(30)}),
    "closed": lambda: (lambda array: (array.close(), array[0]))(make()),
    "code": lambda: cat.check(lib.BLOSC2_ERROR_DATA, "asking"),
}


class HeapInfo(ctypes.Structure):
    """The answer of glibc's mallinfo2."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks")),
        ("keepcost", ctypes.c_size_t),
    ]


def in_use():
    # Not resident memory: what the allocator keeps for later comes and goes by 400 KiB.
    gc.collect()
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = HeapInfo
    heap = mallinfo2()
    return heap.uordblks + heap.hblkhd


def repeat(rounds):
    failed = 0
    for _ in range(rounds):
        for operation in OPERATIONS.values():
            try:
                operation()
            except Exception:
                failed += 1
    return failed


def main(rounds):
    Path("text").write_text("text" * 100)
    repeat(max(20, rounds // 4))
    before = in_use()
    failed = repeat(rounds)
    added = in_use() - before
    print(f"operations: {rounds * len(OPERATIONS)}")
    print(f"errors: {failed}")
    print(f"bytes added: {added}")


if __name__ == "__main__":
    # Files in memory where possible: thousands of them are waited for.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder, contextlib.chdir(folder):
        main(int(sys.argv[1]))
