"""Arrays, their buffers and all that is made of them, ended in every order: `ownership.py [OWNER]`.

Run by test_ownership.py in a Python with AddressSanitizer, in an empty directory. What is left is
used after each end. Where an OWNER is named, it is forgotten, to see whether that is noticed.
"""

import array as arrays
import copy
import gc
import itertools
import mmap
import pickle
import sys
import weakref
from pathlib import Path

import numpy as np

import caterva_cffi as cat
from caterva_cffi import ffi
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.superchunk import schunk
from caterva_cffi.superchunk.schunk import CompressedChunk, SChunk

ITEMS = np.arange(12 * 10, dtype="<i4").reshape(12, 10)
PARTITION = {"chunks": (6, 10), "blocks": (3, 5)}
META, VLMETA = {"mine": b"abc" * 9}, {"title": b"hello " * 9}
CODEC = Caterva(block_shape=(3, 5), chunk_shape=(6, 10))


def make(**kwargs):
    array = cat.asarray(ITEMS, meta=META, **PARTITION, **kwargs)
    array.vlmeta.update(VLMETA)
    return array


FRAME = bytes(make(contiguous=True).to_cframe())
Path("frame").write_bytes(FRAME)
make(urlpath="directory")


class Reader:
    """Gives ranges of a buffer of its own, without a copy."""

    def __init__(self):
        self.data = bytearray(FRAME)

    def read_ranges(self, ranges):
        return [memoryview(self.data)[start:stop] for start, stop in ranges]


def mapped():
    with open("frame", "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


# What a frame may lie in; each is new, so that its memory is freed with it.
BUFFERS = {
    "bytes": lambda: bytes(bytearray(FRAME)),
    "bytearray": lambda: bytearray(FRAME),
    "memoryview": lambda: memoryview(bytearray(FRAME)),
    "array": lambda: arrays.array("B", FRAME),
    "ndarray": lambda: np.frombuffer(FRAME, "u1").copy(),
    "mmap": mapped,
    "frame of an array": lambda: make(contiguous=True).to_cframe(),
    "frame of a sparse array": lambda: make().to_cframe(),
    "frame of a file": lambda: cat.open("frame").to_cframe(),
    "frame of a frame": lambda: cat.from_cframe(cat.from_cframe(FRAME).to_cframe()).to_cframe(),
    "encoded": lambda: CODEC.encode(ITEMS),
}
ARRAYS = {
    "sparse": make,
    "contiguous": lambda: make(contiguous=True),
    "file": lambda: cat.open("frame"),
    "directory": lambda: cat.open("directory"),
    "reader": lambda: cat.open(Reader()),
}
# What is made of an array.
DEPENDENTS = {
    "items": lambda array: array[...],
    "some items": lambda array: array[3:9:2, ::-1],
    "orthogonal": lambda array: array.oindex,
    "method": lambda array: array.read,
    "slice": lambda array: array.slice(np.s_[:, 2:7], **PARTITION | {"chunks": (6, 5)}),
    "copy": lambda array: array.copy(),
    "pickled": lambda array: pickle.loads(pickle.dumps(array)),
    "deep copy": copy.deepcopy,
    "metalayers": lambda array: array.meta,
    "variable-length metalayers": lambda array: array.vlmeta,
    "names": lambda array: iter(array.vlmeta),
    "super-chunk": lambda array: array.schunk,
    "chunk": lambda array: array.schunk.chunk(1),
    "pointer": lambda array: array.schunk.ptr,
    "frame": lambda array: array.to_cframe(),
    "part of the frame": lambda array: array.to_cframe()[40:],
    "frame as ndarray": lambda array: np.frombuffer(array.to_cframe(), "u1"),
    "array of the frame": lambda array: cat.from_cframe(array.to_cframe()),
    "copied from the frame": lambda array: cat.from_cframe(array.to_cframe(), copy=True),
    "decoded": lambda array: CODEC.decode(array.to_cframe()),
    "decoded selection": lambda array: CODEC.decode_selection(array.to_cframe(), np.s_[2:5]),
}
REMOTE = {"items", "some items", "orthogonal", "method"}
# What shares memory with the array, and with others of these.
SHARING = (
    "orthogonal", "variable-length metalayers", "super-chunk", "chunk", "pointer", "frame",
    "part of the frame", "frame as ndarray", "array of the frame",
)  # fmt: skip
# What `close` takes along; C memory is then gone.
ENDED_BY_CLOSE = {"chunk", "pointer", "names"}


def same(found, expected):
    assert np.array_equal(found, expected), (found, expected)


def use(name, thing):
    """Read all of a thing's memory, and compare where it says what it must be."""
    if isinstance(thing, cat.NDArray | cat.RemoteArray):
        same(thing[...], ITEMS[:, 2:7] if name == "slice" else ITEMS)
        same(thing[2, 3], (ITEMS[:, 2:7] if name == "slice" else ITEMS)[2, 3])
    elif name in ("items", "decoded"):
        same(np.reshape(thing, ITEMS.shape), ITEMS)
    elif name == "some items":
        same(thing, ITEMS[3:9:2, ::-1])
    elif name == "decoded selection":
        same(thing, ITEMS[2:5])
    elif name == "orthogonal":
        same(thing[[5, 1], 2:], ITEMS[[5, 1], 2:])
    elif name == "method":
        same(thing(), ITEMS)
    elif name == "metalayers":
        assert dict(thing)["b2nd"]
    elif name == "variable-length metalayers":
        assert dict(thing) in (VLMETA, {})
    elif name == "names":
        assert list(thing) in (["title"], [])
    elif name == "super-chunk":
        use("chunk", thing.chunk(0))
    elif isinstance(thing, CompressedChunk):
        assert bytes(ffi.buffer(thing.pointer, thing.size))[12:16] == thing.size.to_bytes(
            4, "little"
        )
    elif name == "pointer":
        assert (thing.nchunks, thing.storage.cparams.typesize) == (2, 4)
    elif isinstance(thing, Reader):
        assert thing.data == FRAME
    elif len(thing):  # a frame, or a part of one
        assert bytes(thing)[-40:]


def end_in_every_order(build):
    """End things in all orders and in a cycle; use what is left each time."""
    count = 0
    for order in itertools.permutations(range(len(build()))):
        things = build()
        for which in order:
            things[which] = None
            for name, thing in filter(None, things):
                use(name, thing)
        count += 1
    cycle = build()
    cycle.append(cycle)
    gone = [weakref.ref(thing) for _, thing in cycle[:-1] if isinstance(thing, cat.NDArray)]
    del cycle
    gc.collect()
    assert not any(ref() for ref in gone)
    return count + 1


def of_buffers():
    """Buffer, array, and what is made of the array."""
    count = 0
    for what, how, name in itertools.product(BUFFERS, (False, True), DEPENDENTS):
        if how and what not in ("bytearray", "frame of an array"):
            continue  # a copy is the same whatever it was made of

        def build(what=what, how=how, name=name):
            held = BUFFERS[what]()
            array = cat.from_cframe(held, copy=how)
            return [(what, held), ("array", array), (name, DEPENDENTS[name](array))]

        count += end_in_every_order(build)
    return count


def of_arrays():
    """Array, and one or two things that are made of it."""
    count = 0
    for what, names in itertools.product(
        ARRAYS, [*itertools.combinations(DEPENDENTS, 1), *itertools.combinations(SHARING, 2)]
    ):
        if what == "reader" and not REMOTE.issuperset(names):
            continue

        def build(what=what, names=names):
            array = ARRAYS[what]()
            return [("array", array), *((name, DEPENDENTS[name](array)) for name in names)]

        count += end_in_every_order(build)
    return count


def of_closed_arrays():
    """What was made of an array that is closed then: valid, or an error that says so."""
    count = 0
    for (what, make_array), (name, dependent) in itertools.product(
        {**ARRAYS, "frame": lambda: cat.from_cframe(bytearray(FRAME))}.items(), DEPENDENTS.items()
    ):
        if what == "reader" and name not in REMOTE:
            continue
        array = make_array()
        made = dependent(array)
        try:
            array.close()
        except BufferError:
            assert isinstance(made, memoryview | np.ndarray | cat.NDArray)
            use("array", array)
        if name not in ENDED_BY_CLOSE:
            try:
                use(name, made)
            except cat.ClosedError:
                assert array.schunk.closed if what != "reader" else True
        count += 1
    return count


def refused(error, action):
    try:
        action()
    except error:
        return
    raise AssertionError(f"{action} was not refused")


def of_changes():
    """What may not change below others is not changed, and may be once these are gone."""
    buffer = bytearray(FRAME)
    array = cat.from_cframe(buffer)
    refused(BufferError, lambda: buffer.append(0))
    del array
    buffer.append(0)
    file = mapped()
    array = cat.from_cframe(file)
    refused(BufferError, file.close)
    del array
    file.close()
    for change in (
        lambda a: a.resize((3, 3)), lambda a: a.append(ITEMS), lambda a: a.__setitem__(0, 1),
        lambda a: a.delete(0, 3), lambda a: a.vlmeta.update(new=b"1"), lambda a: a.close(),
    ):  # fmt: skip
        array = make(contiguous=True)
        view = array.to_cframe()
        again = cat.from_cframe(view[:])
        refused(BufferError, lambda change=change, array=array: change(array))
        del view
        refused(BufferError, lambda change=change, array=array: change(array))
        use("array", again)
        del again
        change(array)
    # Items and copies are no views.
    array = make()
    kept = [(name, DEPENDENTS[name](array)) for name in ("items", "copy", "frame", "decoded")]
    array[...] = 0
    array.resize((1, 1))
    for name, thing in kept:
        use(name, thing)
    return 8


# --- owners that are forgotten, to see whether that is noticed ------------------------------------


def forget_buffer():
    from_buffer = SChunk.from_buffer.__func__

    def forgetful(cls, buffer, *, copy):
        schunk = from_buffer(cls, buffer, copy=copy)
        schunk._keep = None
        return schunk

    SChunk.from_buffer = classmethod(forgetful)


def forget_array():
    schunk.export = lambda pointer, size, release: memoryview(ffi.buffer(pointer, size))


def forget_chunk():
    schunk.CompressedChunk = lambda pointer, size, owner, in_place: CompressedChunk(
        pointer, size, None, in_place
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"buffer": forget_buffer, "array": forget_array, "chunk": forget_chunk}[sys.argv[1]]()
    gc.freeze()  # what is here already need not be looked at each time
    parts = (of_buffers, of_arrays, of_closed_arrays, of_changes)
    print(sum(part() for part in parts))
