"""One session of python-caterva calls, for python-caterva itself and for what replaces it.

Usage: python parity.py MODULE, in an empty directory. Prints what each step returned or raised, as
JSON. Every step stands alone.
"""

import enum
import importlib
import json
import os
import sys

import numpy as np

cat = importlib.import_module(sys.argv[1])

DATA = np.arange(7 * 11, dtype="<i4").reshape(7, 11)
PARTITION = {"chunks": (4, 6), "blocks": (3, 2)}
BYTES = np.array([f"{i:03d}" for i in range(77)], "S3").reshape(7, 11)


def plain(value):
    """Return a result as what JSON has."""
    if isinstance(value, cat.NDArray):
        return {"array": plain(value.shape), "data": value.to_buffer().hex()}
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}={value.value}"
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)  # an item may be a scalar or an array without dimensions
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": value.tobytes().hex()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(plain, value)]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return type(value).__name__


def make(dtype=DATA, **kwargs):
    return cat.asarray(dtype, **{**PARTITION, **kwargs})


def properties(array):
    names = (
        "shape chunks blocks ndim itemsize size nchunks chunksize blocksize codec clevel filters"
    )
    return {name: plain(getattr(array, name)) for name in names.split()}


def make_squeezed(shape, chunks, blocks):
    array = cat.zeros(shape, 4, chunks=chunks, blocks=blocks)
    return array.squeeze(), array.shape, array.chunks, array.blocks, array.ndim


def assign(array, key, value):
    array[key] = value
    return array


def with_file(name, **kwargs):
    """Write an array with metalayers to disk, change it, open it again, and copy it."""
    array = make(urlpath=name, meta={"m": b"123", b"n": b"1"}, **kwargs)
    array[2:5, 1:3] = -DATA[2:5, 1:3].copy()
    array.resize((9, 10))
    del array
    opened = cat.open(name)
    opened.meta["m"] = b"456"
    again = cat.open(name)
    copied = again.copy(**PARTITION, urlpath=f"{name}-copy", contiguous=True)
    seen = [
        properties(opened),
        again,
        again.meta["m"],
        again.meta["n"],
        copied,
        os.path.isdir(name),
    ]
    seen = plain(seen)
    cat.remove(name)
    seen.append(os.path.exists(name))
    cat.remove(f"{name}-copy")
    return seen


def write_twice(name, **kwargs):
    make(urlpath=name, **kwargs)
    try:
        cat.zeros((3,), 4, chunks=(3,), blocks=(3,), urlpath=name, **kwargs)
    finally:
        cat.remove(name)


COMPRESSION = [
    {"codec": codec, "clevel": clevel, "filters": filters, "filtersmeta": metas}
    for codec, clevel, filters, metas in [
        (cat.Codec.BLOSCLZ, 9, [], []),
        (cat.Codec.LZ4HC, 3, [cat.Filter.BITSHUFFLE], [0]),
        (cat.Codec.ZLIB, 1, [cat.Filter.DELTA, cat.Filter.SHUFFLE], [0, 0]),
        (cat.Codec.ZSTD, 0, [cat.Filter.TRUNC_PREC, cat.Filter.SHUFFLE], [23, 0]),
    ]
]

INFO = (
    "Type",
    "Itemsize",
    "Shape",
    "Chunks",
    "Blocks",
    "Comp. codec",
    "Comp. level",
    "Comp. filters",
)

STEPS = {
    "codecs": lambda: [cat.Codec[n] for n in ("BLOSCLZ", "LZ4", "LZ4HC", "ZLIB", "ZSTD")],
    "codec by number": lambda: [cat.Codec(number) for number in (0, 1, 2, 4, 5)],
    "filters": lambda: [cat.Filter(number) for number in range(5)],
    "empty": lambda: properties(cat.empty((7, 11), 4, **PARTITION)),
    "empty: positional and lists": lambda: properties(
        cat.empty([7, 11], 4, chunks=[4, 6], blocks=[3, 2])
    ),
    "zeros": lambda: cat.zeros((7, 11), 8, **PARTITION),
    "zeros: keywords": lambda: cat.zeros(shape=(7, 11), itemsize=8, **PARTITION),
    "full": lambda: cat.full((7, 11), b"abcde", **PARTITION),
    "full: keywords": lambda: cat.full(shape=(7, 11), fill_value=b"ab", **PARTITION)[1:3, 2],
    "from_buffer": lambda: cat.from_buffer(bytes(range(77)), (7, 11), 1, **PARTITION),
    "from_buffer: keywords": lambda: cat.from_buffer(
        buffer=bytes(range(77)), shape=[7, 11], itemsize=1, **PARTITION
    )[6],
    "asarray": lambda: make(),
    "asarray: keyword": lambda: cat.asarray(ndarray=DATA, **PARTITION),
    "asarray: bytes": lambda: make(BYTES),
    "copy function": lambda: cat.copy(make(), chunks=(5, 5), blocks=(2, 5)),
    "copy function: keyword": lambda: cat.copy(array=make(), **PARTITION),
    "copy method": lambda: properties(make().copy(chunks=(5, 5), blocks=(2, 5), clevel=1)),
    "8 dimensions": lambda: cat.zeros((2,) * 8, 2, chunks=(2,) * 8, blocks=(1,) * 8)[0, 1],
    "one dimension": lambda: cat.asarray(BYTES[0].copy(), chunks=(4,), blocks=(3,))[2:9],
    "zero length": lambda: cat.zeros((4, 0), 4, chunks=(2, 0), blocks=(2, 0)),
    "255-byte items": lambda: cat.full((3,), b"x" * 255, chunks=(2,), blocks=(1,)),
    "properties": lambda: properties(make()),
    **{
        f"compression {number}": lambda kwargs=kwargs: (make(**kwargs), properties(make(**kwargs)))
        for number, kwargs in enumerate(COMPRESSION)
    },
    "dictionary": lambda: cat.asarray(
        np.tile(BYTES, (30, 20)),
        chunks=(200, 200),
        blocks=(50, 50),
        codec=cat.Codec.ZSTD,
        usedict=True,
    ),
    "threads": lambda: make(nthreads=4),
    "memframe": lambda: (make(memframe=True), make(contiguous=True), make(memframe=False)),
    "cratio": lambda: (
        make().cratio > 0,
        cat.zeros((999,), 4, chunks=(999,), blocks=(99,)).cratio > 9,
    ),
    "info": lambda: [line for line in repr(make().info).splitlines() if line.startswith(INFO)],
    "info: compression": lambda: "Comp. ratio   : " in repr(make().info),
    "info_items": lambda: [item for item in make().info_items if item[0] in INFO],
    "info in notebooks": lambda: make().info._repr_html_()[:6],
    "to_buffer": lambda: make().to_buffer(),
    "item of bytes": lambda: make(BYTES)[2, 3],
    "rows of bytes": lambda: make(BYTES)[2],
    "column of bytes": lambda: make(BYTES)[:, -1],
    "box of bytes": lambda: make(BYTES)[1:6, 3:9],
    "all bytes": lambda: make(BYTES)[...],
    "all bytes, empty tuple": lambda: make(BYTES)[()],
    "all bytes, colon": lambda: make(BYTES)[:],
    "negative bounds": lambda: make(BYTES)[-3:-1, -5:],
    "bounds beyond the end": lambda: make(BYTES)[3:99, 5:99],
    "no rows": lambda: make(BYTES)[3:3],
    "ellipsis and index": lambda: make(BYTES)[..., 3],
    "typed box": lambda: make()[1:6, 3:9],
    "slice of one row": lambda: make(BYTES)[1:2],
    "step": lambda: make(BYTES)[::2],
    "negative step": lambda: make(BYTES)[::-1],
    "index out of bounds": lambda: make()[7],
    "too many indices": lambda: make()[1, 2, 3],
    "set box": lambda: assign(make(), (slice(1, 3), slice(2, 5)), -DATA[1:3, 2:5].copy()),
    "set row": lambda: assign(make(), 3, -DATA[3].copy()),
    "set item": lambda: assign(make(), (3, 4), np.array(-1, "<i4")),
    "set bytes": lambda: assign(make(BYTES), slice(0, 2), np.full((2, 11), b"xyz")),
    "slice": lambda: make().slice((slice(1, 6), slice(2, 9)), chunks=(3, 3), blocks=(2, 2)),
    "slice with index": lambda: make().slice((slice(1, 6), 2), chunks=(3, 1), blocks=(2, 1)),
    "slice: properties": lambda: properties(
        make().slice(slice(2, 7), chunks=(5, 5), blocks=(5, 5), codec=cat.Codec.ZSTD, clevel=2)
    ),
    "resize: larger": lambda: make().resize((9, 13)).shape,
    "resize: smaller": lambda: make().resize((5, 3)),
    "resize: list": lambda: make().resize([5, 13])[:, :11],
    "resize: same object": lambda: (lambda array: array.resize((8, 8)) is array)(make()),
    "squeeze": lambda: make_squeezed((1, 7, 1, 2), (1, 4, 1, 2), (1, 3, 1, 1)),
    "squeeze: nothing to do": lambda: make_squeezed((7, 2), (4, 2), (3, 1)),
    "meta": lambda: make(meta={"a": b"1234", b"b": b"\0\1"}).meta["a"],
    "meta: bytes as name": lambda: make(meta={"a": b"1234"}).meta[b"a"],
    "meta: contains": lambda: ["a" in make(meta={"a": b"1"}).meta, "c" in make().meta],
    "meta: get": lambda: [
        make(meta={"a": b"1"}).meta.get("a"),
        make().meta.get("c"),
        make().meta.get("c", 3),
    ],
    "meta: update": lambda: (lambda m: (m.__setitem__("a", b"4321"), m["a"])[1])(
        make(meta={"a": b"1234"}).meta
    ),
    "meta: other length": lambda: make(meta={"a": b"1234"}).meta.__setitem__("a", b"1"),
    "meta: keys": lambda: sorted(make(meta={"a": b"1", "b": b""}).meta),
    "meta: length": lambda: len(make(meta={"a": b"1", "b": b""}).meta),
    "meta: caterva": lambda: make().meta["caterva"],
    "meta: values": lambda: b"1" in make(meta={"a": b"1"}).meta.values(),
    "meta: items": lambda: ("a", b"1") in make(meta={"a": b"1"}).meta.items(),
    "file": lambda: with_file("array.b2frame", contiguous=True),
    "directory": lambda: with_file("array", contiguous=False),
    "file exists": lambda: write_twice("twice.b2frame", contiguous=True),
    "directory exists": lambda: write_twice("twice", contiguous=False),
    "copy: file exists": lambda: make(urlpath="f", contiguous=True).copy(
        **PARTITION, urlpath="f", contiguous=True
    ),
    "slice: file exists": lambda: make().slice(1, chunks=(1, 5), blocks=(1, 5), urlpath="f"),
    "open: no such file": lambda: cat.open("nothing.b2frame"),
    "remove: no such file": lambda: cat.remove("nothing.b2frame"),
    "bytes as path": lambda: make(urlpath=b"bytes.b2frame", contiguous=True),
    "open: bytes as path": lambda: cat.open(b"bytes.b2frame"),
    "no chunks": lambda: cat.zeros((7, 11), 4, blocks=(3, 2)).shape,
    "no blocks": lambda: cat.zeros((7, 11), 4, chunks=(4, 6)).shape,
    "slice without chunks": lambda: make().slice(slice(1, 3)).shape,
    "copy without chunks": lambda: make().copy().chunks,
    "short buffer": lambda: cat.from_buffer(bytes(76), (7, 11), 1, **PARTITION),
    "full of a number": lambda: cat.full((7, 11), 3, **PARTITION)[1:3, 2],
    "asarray of a list": lambda: cat.asarray([1, 2, 3], chunks=(2,), blocks=(1,)).shape,
    "number of rows": lambda: len(make()),
    "as NumPy array": lambda: np.asarray(make()).shape,
}


def run(step):
    try:
        return plain(step())
    except Exception as error:
        builtin = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        return f"raises {next(name for name in builtin if name != 'Exception')}"


if __name__ == "__main__":
    print(json.dumps({name: run(step) for name, step in STEPS.items()}))
