"""Every public method against every other: `stress.py [SECONDS [SEED [THREADS [STORAGE]]]]`.

Two actions of a pair meet on one array: in threads that begin at the same moment, and one inside
the other, in the same thread: by a signal's handler, by the end of an object that is collected, and
between any two lines of the package. Pairs and storages are drawn
for as many SECONDS, no pair again before all others met. Whatever happens is a right result or an
error of the package.

Run by test_stress.py in a Python with AddressSanitizer, in an empty directory. It prints how many
pairs met, and ends with 1 where something was wrong.
"""

import copy
import faulthandler
import gc
import itertools
import os
import pickle
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import Counter

import numpy as np

import caterva_cffi as cat
from caterva_cffi.arrays.info import InfoReporter
from caterva_cffi.arrays.ndarray import OIndex
from caterva_cffi.superchunk.schunk import SChunk
from caterva_cffi.superchunk.user_metalayers import Meta, VLMeta

HANGS = 60  # seconds
CHUNKS, BLOCKS = (4, 6, 1), (2, 3, 1)
ITEMS = np.repeat(np.repeat(np.arange(4).reshape(2, 2, 1), 4, 0), 6, 1).astype("i4")
META, VLMETA = {"note": b"fixed"}, {"title": b"old"}
KNOWN = {"meta": "note", "vlmeta": "title"}
PACKAGE = os.path.dirname(cat.__file__)

# --- storages -------------------------------------------------------------------------------------


def make(**kwargs):
    array = cat.asarray(ITEMS, chunks=CHUNKS, blocks=BLOCKS, meta=META, **kwargs)
    array.vlmeta.update(VLMETA)
    return array


class Reader:
    """Gives ranges of a frame."""

    def __init__(self, frame):
        self.frame, self.size = frame, len(frame)

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]


def stored(contiguous, checksum, mode="a"):
    kept = f"kept-{contiguous}-{checksum}"
    if not os.path.exists(kept):
        make(urlpath=kept, contiguous=contiguous, checksum=checksum).close()
    if contiguous:
        shutil.copy(kept, "array")
    else:
        shutil.copytree(kept, "array")
    return cat.open("array", mode=mode)


FRAME = bytes(make(contiguous=True, checksum=True).to_cframe())
STORAGES = {
    "sparse": make,
    "sparse, checksums": lambda: make(checksum=True),
    "contiguous": lambda: make(contiguous=True),
    "contiguous, checksums": lambda: make(contiguous=True, checksum=True),
    "file": lambda: stored(True, False),
    "file, checksums": lambda: stored(True, True),
    "file, read-only": lambda: stored(True, True, "r"),
    "directory": lambda: stored(False, False),
    "directory, checksums": lambda: stored(False, True),
    "frame": lambda: cat.from_cframe(bytearray(FRAME)),
    "copied frame": lambda: cat.from_cframe(FRAME, copy=True),
    "reader": lambda: cat.open(Reader(FRAME)),
}


# --- actions --------------------------------------------------------------------------------------

ACTIONS = {}
"""By the name that it covers, and what distinguishes it from others of that name."""


def act(name, *expected):
    """Let a function be an action; from it these errors are right, beside the package's."""
    return lambda function: ACTIONS.__setitem__(name, (function, expected))


def simple(kind, functions, *expected):
    for name, function in functions.items():
        act(f"{kind}.{name}", *expected)(function)


def whole(items):
    """Compare the items of each chunk, which are always the same."""
    items = np.asarray(items)
    rows, columns = (range(0, n, k) for n, k in zip(items.shape[:2], (4, 6), strict=True))
    for row, column in itertools.product(rows, columns):
        part = items[row : row + 4, column : column + 6]
        assert (part == part[:1, :1]).all(), f"a torn chunk: {part.tolist()}"
    return items


def rows(a, count):
    return np.full((count, *a.shape[1:]), 5, "i4")


def write(key):
    return lambda a, r: a.__setitem__(key, r.randrange(99))


def use_frame(a, r):
    view = a.to_cframe()
    whole(cat.from_cframe(view[:])[...])
    del view


def end(a, r):
    with a:
        pass


def save(a, r):
    path = f"saved-{threading.get_ident()}-{r.randrange(1 << 60)}"
    a.save(path)
    whole(cat.open(path)[...])
    cat.remove(path)


def second_handle(change):
    def use(a, r):
        if a.urlpath and type(a) is cat.NDArray:
            change(cat.open(a.urlpath, mode="r" if a.read_only else "a"))

    return use


def raw(a, r):
    with a.schunk.reading() as ptr:
        assert ptr.nchunks >= 0


def raw_change(a, r):
    with a.schunk.changing():
        a[:4, :6] = 7


def with_nthreads(a, r):
    cat.set_nthreads(r.randrange(1, 3))


PROPERTIES = sorted(
    name
    for name in dir(cat.NDArray)
    if name[0] != "_" and isinstance(getattr(cat.NDArray, name), property)
)
simple(
    "NDArray", {name: lambda a, r, name=name: getattr(a, name) for name in PROPERTIES},
    AttributeError,
)  # fmt: skip
simple("NDArray", {
    "__getitem__": lambda a, r: whole(a[...]),
    "__getitem__ item": lambda a, r: a[(1, 1, 0)[: a.ndim]],
    "__getitem__ slice": lambda a, r: a[2:6, ::-1],
    "__getitem__ index arrays": lambda a, r: a[[0, 5, 1]],
    "__getitem__ mask": lambda a, r: a[np.ones(a.shape, bool)],
    "__setitem__": write(...),
    "__setitem__ chunk": write(np.s_[:4, :6]),
    "__setitem__ index arrays": write(([0, 1, 2, 3],)),
    "__array__": lambda a, r: whole(np.asarray(a)),
    "__iter__": lambda a, r: list(a),
    "__contains__": lambda a, r: 3 in a,
    "__eq__": lambda a, r: whole(a == 3),
    "__ne__": lambda a, r: whole(a != 3),
    "__repr__": lambda a, r: repr(a),
    "__hash__": lambda a, r: hash(a),
    "__reduce__": lambda a, r: whole(pickle.loads(pickle.dumps(a))[...]),
    "__reduce__ copied": lambda a, r: whole(copy.deepcopy(a)[...]),
    "__enter__": end, "__exit__": end, "close": lambda a, r: a.close(),
    "read": lambda a, r: whole(a.read(out=np.empty(a.shape, "i4"))),
    "explain": lambda a, r: str(a.explain(np.s_[1:3])),
    "read_many": lambda a, r: whole(a.read_many([(0,) * a.ndim], a.shape)[0]),
    "to_buffer": lambda a, r: a.to_buffer(),
    "slice": lambda a, r: a.slice(np.s_[2:, 3:]),
    "copy": lambda a, r: whole(a.copy()[...]),
    "to_cframe": use_frame,
    "save": save,
    "info": lambda a, r: repr(a.info),
    "_repr_html_": lambda a, r: a._repr_html_(),
    "meta": lambda a, r: a.meta, "vlmeta": lambda a, r: a.vlmeta, "oindex": lambda a, r: a.oindex,
    "resize": lambda a, r: a.resize((8, 12, 1)[: a.ndim]),
    "resize smaller": lambda a, r: a.resize((4, 6, 1)[: a.ndim]),
    "resize deeper": lambda a, r: a.resize((8, 12, 2)[: a.ndim]),
    "resize empty": lambda a, r: a.resize((0, 12, 1)[: a.ndim]),
    "append": lambda a, r: len(a) > 16 or a.append(rows(a, 4)),
    "insert": lambda a, r: len(a) > 16 or a.insert(4, rows(a, 4)),
    "delete": lambda a, r: a.delete(0, 4),
    "squeeze": lambda a, r: a.squeeze(),
}, AttributeError)  # fmt: skip
simple("NDArray", {
    "__len__": lambda a, r: len(a), "__bool__": lambda a, r: bool(a),
    "__int__": lambda a, r: int(a), "__float__": lambda a, r: float(a),
    "__complex__": lambda a, r: complex(a), "__index__": lambda a, r: range(9)[a],
}, TypeError, ValueError)  # fmt: skip
simple("OIndex", {
    "__getitem__": lambda a, r: a.oindex[[0, 5], 2:],
    "__setitem__": lambda a, r: a.oindex.__setitem__(([0, 1, 2, 3], [0, 1, 2, 3, 4, 5]), 3),
}, AttributeError)  # fmt: skip
for kind, attribute in (("Meta", "meta"), ("VLMeta", "vlmeta")):
    simple(kind, {
        "__contains__": lambda a, r, of=attribute: "title" in getattr(a, of),
        "__getitem__": lambda a, r, of=attribute: getattr(a, of)[KNOWN[of]],
        "__iter__": lambda a, r, of=attribute: list(getattr(a, of)),
        "__len__": lambda a, r, of=attribute: len(getattr(a, of)),
        "__repr__": lambda a, r, of=attribute: repr(getattr(a, of)),
        "get": lambda a, r, of=attribute: getattr(a, of).get("note"),
        "items": lambda a, r, of=attribute: list(getattr(a, of).items()),
        "keys": lambda a, r, of=attribute: list(getattr(a, of).keys()),
        "values": lambda a, r, of=attribute: list(getattr(a, of).values()),
        "to_dict": lambda a, r, of=attribute: getattr(a, of).to_dict(),
    }, AttributeError)  # fmt: skip
simple("Meta", {"__setitem__": lambda a, r: a.meta.__setitem__("note", b"FIXED")}, AttributeError)
simple("VLMeta", {
    "__setitem__": lambda a, r: a.vlmeta.__setitem__("title", bytes(r.randrange(99))),
    "__setitem__ new": lambda a, r: a.vlmeta.__setitem__(f"name{r.randrange(8)}", b"1"),
    "__delitem__": lambda a, r: a.vlmeta.__delitem__("title"),
    "clear": lambda a, r: a.vlmeta.clear(),
    "pop": lambda a, r: a.vlmeta.pop("title", None),
    "popitem": lambda a, r: a.vlmeta.popitem(),
    "setdefault": lambda a, r: a.vlmeta.setdefault("title", b"old"),
    "update": lambda a, r: a.vlmeta.update(title=b"1", more=b"2"),
}, AttributeError, TypeError)  # fmt: skip
simple("SChunk", {
    "reading": raw, "changing": raw_change,
    "cbytes": lambda a, r: a.schunk.cbytes, "nchunks": lambda a, r: a.schunk.nchunks,
    "itemsize": lambda a, r: a.schunk.itemsize, "closed": lambda a, r: a.schunk.closed,
    "to_buffer": lambda a, r: bytes(a.schunk.to_buffer()), "close": lambda a, r: a.schunk.close(),
}, AttributeError)  # fmt: skip
simple("InfoReporter", {
    "__repr__": lambda a, r: repr(a.info), "_repr_html_": lambda a, r: a.info._repr_html_(),
}, AttributeError)  # fmt: skip


def recorded(array, _):
    with cat.recorded_accesses():
        whole(array[...])


simple("module", {
    "asarray": lambda a, r: cat.asarray(a), "copy": lambda a, r: cat.copy(a),
    "schunk_to_buffer": lambda a, r: bytes(cat.schunk_to_buffer(a)),
    "from_cframe": lambda a, r: whole(cat.from_cframe(a.to_cframe(), copy=True)[...]),
    "from_buffer": lambda a, r: cat.from_buffer(a.to_buffer(), a.nitems, 4),
    "verify": lambda a, r: cat.verify(a), "recorded_accesses": recorded,
    "open": second_handle(lambda b: whole(b[...])),
    "open written": second_handle(lambda b: b.__setitem__(np.s_[:4, :6], 8)),
    "open resized": second_handle(lambda b: b.resize((4, 12, 1)[: b.ndim])),
    "empty": lambda a, r: cat.empty(a.shape, dtype=a.dtype),
    "zeros": lambda a, r: cat.zeros(a.shape, dtype=a.dtype),
    "full": lambda a, r: cat.full(a.shape, 3, dtype=a.dtype),
    "set_nthreads": with_nthreads, "get_nthreads": lambda a, r: cat.get_nthreads(),
    "set_cache_size": lambda a, r: cat.set_cache_size(r.randrange(1 << 24)),
    "get_cache_size": lambda a, r: cat.get_cache_size(),
    "get_read_policy": lambda a, r: cat.get_read_policy("local"),
    "set_read_policy": lambda a, r: cat.set_read_policy("local", cat.get_read_policy("local")),
    "remove": lambda a, r: cat.remove("nothing"), "versions": lambda a, r: cat.versions(),
}, AttributeError)  # fmt: skip

NAMES = sorted(ACTIONS)
OURS = (cat.CatervaError, BufferError, IndexError, KeyError)
# What its users hold the lock for, or what makes new super-chunks and is not the array's.
OF_THE_PACKAGE = {
    "append_chunk", "change", "change_without_errors", "check", "chunk", "complete", "create",
    "delete_chunk", "discarded_on_error", "fill", "frame", "from_buffer", "insert_chunk",
    "metalayers", "open", "ptr", "successor", "supersede", "update_chunk", "whole_change", "write",
}  # fmt: skip


def uncovered():
    """Return the public names that no action covers."""
    covered = {name.split(" ")[0] for name in ACTIONS}
    wanted = set()
    for kind in (cat.NDArray, cat.RemoteArray, OIndex, Meta, VLMeta, SChunk, InfoReporter):
        ours = [c for c in kind.__mro__ if c.__module__.startswith("caterva_cffi")]
        own = {name for c in ours for name, value in vars(c).items() if callable(value)}
        names = {n for n in dir(kind) if n[0] != "_" or (n[:2] == "__" and n in own)}
        face = "NDArray" if kind is cat.RemoteArray else kind.__name__
        wanted |= {f"{face}.{name}" for name in names - {"__init__"}}
    wanted -= {f"SChunk.{name}" for name in OF_THE_PACKAGE}
    functions = {n for n in cat.__all__ if type(getattr(cat, n)) is type(uncovered)}
    functions -= {"check", "advise", "convert"}  # they use arrays as their users do, or none
    return sorted((wanted | {f"module.{name}" for name in functions}) - covered)


# --- how they meet --------------------------------------------------------------------------------

met = {"threads": Counter(), "inside": Counter()}
outcomes = Counter()
wrong = []


def run(name, array, seed, pair):
    function, expected = ACTIONS[name]
    try:
        function(array, random.Random(seed))
        outcomes[name, "done"] += 1
    except OURS:
        outcomes[name, "refused"] += 1
    except BaseException as error:
        if isinstance(error, expected):
            outcomes[name, "done"] += 1
        else:
            wrong.append((pair, name, "".join(traceback.format_exception(error))))


def fresh(storage):
    cat.remove("array")
    if os.path.exists("array.changing"):  # a change was cut off, which is an error of its own
        os.remove("array.changing")
    return STORAGES[storage]()


def check(array, pair):
    """Read all of an array after it was used, unless it was closed."""
    try:
        whole(array[...])
        dict(array.vlmeta)
    except OURS:
        pass
    except BaseException as error:
        wrong.append((pair, "afterwards", "".join(traceback.format_exception(error))))


def in_threads(array, names, seed):
    start = threading.Barrier(len(names))

    def work(name):
        start.wait(HANGS)
        run(name, array, seed, names)
        run(name, array, seed + 1, names)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for pair in itertools.permutations(names, 2):
        met["threads"][pair] += 1


def traced(act, inner, at):
    """Act, and let something be done between two lines of the package, or after the last one."""
    left = at

    def trace(frame, event, argument):
        nonlocal left
        if left < 0 or not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                inner()
        return trace

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return left < 0


def signalled(act, inner, at):
    done = []
    before = signal.signal(signal.SIGALRM, lambda *_: done.append(inner()))
    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + 5 * at))
    try:
        act()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return bool(done)


def collected(act, inner, at):
    done = []

    class Ends:
        def __del__(self):
            done.append(inner())

    gc.disable()
    cycle = Ends()
    cycle.itself = cycle
    del cycle
    before = gc.get_threshold()
    gc.set_threshold(1 + at, 1000, 1000)
    gc.enable()
    try:
        act()
    finally:
        gc.set_threshold(*before)
    return bool(done)


def inside(array, pair, seed):
    outer, inner = pair
    r = random.Random(seed)
    how = r.choices((traced, signalled, collected), (6, 1, 1))[0]
    for most in (6, 4, 2, 0):  # steps behind which the inner one comes, as powers of 2
        if how(
            lambda: run(outer, array, seed, pair), lambda: run(inner, array, seed + 1, pair),
            int(2 ** r.uniform(0, most)),
        ):  # fmt: skip
            met["inside"][pair] += 1
            return


def main(seconds, seed, nthreads, storage):
    r = random.Random(seed)
    names = [*STORAGES] if storage is None else [storage]
    pairs = list(itertools.product(NAMES, repeat=2))
    began = time.monotonic()
    sys.setswitchinterval(1e-5)
    while not wrong and time.monotonic() - began < seconds:
        r.shuffle(pairs)
        for at in range(0, len(pairs), nthreads // 2):
            if wrong or time.monotonic() - began >= seconds:
                break
            faulthandler.dump_traceback_later(HANGS, exit=True)
            some = pairs[at : at + nthreads // 2]
            where, number = r.choice(names), r.randrange(1 << 40)
            array = fresh(where)
            in_threads(array, [name for pair in some for name in pair], number)
            check(array, (where, some))
            for pair in some:
                array = fresh(where)
                inside(array, pair, number)
                check(array, (where, pair))
    faulthandler.cancel_dump_traceback_later()
    for found in wrong[:3]:
        print(f"seed {seed}:", *found)
    unmet = [name for name in NAMES if not outcomes[name, "done"]]
    print(f"seed {seed}: never done: {unmet}")
    for way, counts in met.items():
        print(f"{way}: {len(+counts)} of {len(pairs)} pairs met")
    return bool(wrong or unmet)


if __name__ == "__main__":
    if uncovered():
        sys.exit(f"no action for {', '.join(uncovered())}")
    given = dict(enumerate(sys.argv[1:]))
    faulthandler.enable()
    gc.freeze()  # what is here already need not be looked at each time
    sys.exit(main(
        float(given.get(0, 60)), int(given.get(1, 1)), int(given.get(2, 4)), given.get(3),
    ))  # fmt: skip
