"""What the architecture page promises: the rooms, the public names, and what reading costs."""

from __future__ import annotations

import ast
import asyncio
import math
import os
import re
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zarr
from checkout import ROOT
from system_reads import counted_by_the_system, system_reads
from zarr_arrays import PIPELINES

import caterva_cffi as cat
from caterva_cffi.arrays.readable import items_of
from caterva_cffi.format.chunk_header import HEADER
from caterva_cffi.zarr import CatervaCodec

PACKAGE = Path(cat.__file__).parent
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
SHAPE, CHUNKS, BLOCKS = (256, 128, 128), (128, 64, 128), (16, 16, 16)


def test_dir_shows_public_names_only():
    assert dir(cat) == sorted(cat.__all__)


def test_each_room_is_on_the_page():
    rooms = re.findall(r"^\| (`.+?) \|", PAGE, re.M)
    named = {name for room in rooms for name in re.findall(r"`(\w+)`", room)}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"_version"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages | modules <= named


def test_each_c_file_is_on_the_page():
    section = PAGE.partition("## The C side")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", section))
    files = {path.name.partition(".")[0] for path in (ROOT / "caterva_cffi/_native").glob("*.[ch]")}
    assert files <= named


MUTABLE = (
    {"dict", "list", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"}
    | {"WeakSet", "WeakKeyDictionary", "WeakValueDictionary", "Cache", "ContextVar"}
    | {"local", "Lock", "RLock", "Condition", "Event", "Semaphore", "BoundedSemaphore", "Barrier"}
)
CHANGES = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "clear", "discard"}


def called(node):
    """Return the last part of the name of what is called: `local` of `threading.local()`."""
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "attr", getattr(function, "id", None))


def changed_names(tree):
    """Yield names whose contents something in a module changes, or that it rebinds."""
    for node in ast.walk(tree):
        is_item = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
        if is_item or (isinstance(node, ast.Attribute) and node.attr in CHANGES):
            yield getattr(node.value, "id", None)
        elif isinstance(node, ast.Global):
            yield from node.names


def has_hidden_state(text):
    """Whether a module has state that outlives a call, or changes that of others at import."""
    tree = ast.parse(text)
    changed = set(changed_names(tree)) - {None}
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return True
        if isinstance(node, ast.Assign | ast.AnnAssign):
            names = node.targets if isinstance(node, ast.Assign) else [node.target]
            is_made = isinstance(node.value, ast.Call) and called(node.value) in MUTABLE
            if is_made or changed & {getattr(name, "id", None) for name in names}:
                return True
    return any(
        {"lru_cache", "cache"} & set(map(called, node.decorator_list))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A = {'a': 1}", False),
        ("A = frozenset({1})\n__all__ = ['A']", False),
        ("A = {'a': 1}\ndef f(): A['b'] = 2", True),
        ("A: list[int] = []\ndef f(): A.append(1)", True),
        ("A = 1\ndef f():\n    global A\n    A = 2", True),
        ("A = threading.local()", True),
        ("A: WeakSet[int] = WeakSet()", True),
        ("@lru_cache(maxsize=1)\ndef f(): pass", True),
        ("class C:\n    @functools.cache\n    def f(self): pass", True),
        ("register_codec(C)", True),
    ],
)
def test_hidden_state_is_found(text, expected):
    assert has_hidden_state(text) == expected


def test_hidden_state_is_on_the_page():
    table = PAGE.partition("## Hidden state")[2].partition("\nState of single objects")[0]
    named = {
        name
        for row in re.findall(r"^\| .+? \| (.+?) \|", table, re.M)
        for name in re.findall(r"`([\w./]+)`", row)
    }
    found = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for path in PACKAGE.rglob("*.py")
        if has_hidden_state(path.read_text(encoding="utf-8"))
    }
    assert found == {name for name in named if not name.startswith("_native/")}


@pytest.fixture
def calls(monkeypatch):
    """Count calls of the system that look at files."""
    counts = Counter()

    def counted(name, what):
        function = getattr(os, name)

        def call(*arguments, **options):
            counts[what] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    counted("open", "open")
    for name in ("stat", "lstat", "fstat"):
        counted(name, "stat")
    return counts


@pytest.fixture(scope="module")
def items():
    return np.random.default_rng(0).integers(1 << 10, size=SHAPE, dtype="i4")


@pytest.fixture(scope="module")
def points():
    rng = np.random.default_rng(1)
    return tuple(rng.integers(length, size=1000) for length in SHAPE)


def chunk_of(array, number):
    return items_of(array).chunk_bytes(number)


def runs_of_blocks(points, chunks):
    """Return how many runs of blocks that lie behind each other hold some of the points."""
    sides = [chunk // block for chunk, block in zip(CHUNKS, BLOCKS, strict=True)]
    places = zip(SHAPE, CHUNKS, BLOCKS, points, strict=True)
    chunk, block, count = 0, 0, math.prod(sides)
    for side, (length, long, short, positions) in zip(sides, places, strict=True):
        chunk = chunk * (length // long) + positions // long
        block = block * side + positions % long // short
    offsets = [np.frombuffer(data, "<i4", count, HEADER) for data in chunks]
    ranks = np.array([np.argsort(np.argsort(each)) for each in offsets])
    number = np.unique(chunk * (count + 1) + ranks[chunk, block])
    return 1 + np.count_nonzero(np.diff(number) > 1)


@counted_by_the_system
@pytest.mark.parametrize("codec", ["LZ4", "ZSTD"])
def test_scattered_items_of_a_file(tmp_path, calls, items, points, codec):
    path = tmp_path / "a"
    made = {"chunks": CHUNKS, "blocks": BLOCKS, "codec": cat.Codec[codec]}
    cat.asarray(items, urlpath=path, contiguous=True, **made)
    with cat.open(path, "r") as array:
        np.testing.assert_array_equal(array[0], items[0])
        calls.clear()
        with system_reads() as reads:
            found = array[points]
        assert calls["open"] == 1
        assert calls["stat"] <= 2  # before and after
        runs = runs_of_blocks(points, [chunk_of(array, k) for k in range(array.nchunks)])
    np.testing.assert_array_equal(found, items[points])
    chunks = np.prod(SHAPE) // np.prod(CHUNKS)  # each has a beginning
    [(count, _)] = reads
    assert count <= runs + chunks


@counted_by_the_system
@pytest.mark.parametrize("how", ["Zarr", "cat.open"])
def test_reads_of_scattered_items_of_a_zarr_array(tmp_path, items, points, how):
    codec = CatervaCodec(block_shape=BLOCKS, cname="zstd")
    with zarr.config.set({"codec_pipeline.path": PIPELINES["CatervaPipeline"]}):
        array = zarr.create_array(
            tmp_path, shape=SHAPE, dtype="i4", chunks=CHUNKS, serializer=codec, compressors=None
        )
    array[...] = items
    frames = [(tmp_path / f"c/{key}").read_bytes() for key in ("0/0/0", "0/1/0", "1/0/0", "1/1/0")]
    runs = runs_of_blocks(points, [chunk_of(cat.from_cframe(frame), 0) for frame in frames])
    time.sleep(0.1)  # what was written just now is read in another way
    read = array.vindex if how == "Zarr" else cat.open(tmp_path)
    np.testing.assert_array_equal(read[points], items[points])
    with system_reads() as reads:
        read[points]
    assert reads[0].calls <= runs + 2 * len(frames)


def test_scattered_items_of_a_zarr_array(tmp_path, calls, items, points):
    codec = CatervaCodec(block_shape=BLOCKS)
    array = zarr.create_array(
        tmp_path, shape=SHAPE, dtype="i4", chunks=CHUNKS, serializer=codec, compressors=None
    )
    array[...] = items
    calls.clear()
    np.testing.assert_array_equal(array.vindex[points], items[points])
    assert calls["open"] == 4


async def modules_of_a_second_slice(path):
    """Return the modules of ours that a small slice enters, once its chunk is known."""
    entered = set()

    def note(frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in file.parents:
            entered.add(file.relative_to(PACKAGE).as_posix())

    threading.setprofile(note)  # of the threads that this loop starts from now on
    sys.setprofile(note)
    try:
        array = await zarr.api.asynchronous.open_array(store=path, mode="r")
        for _ in range(2):
            entered.clear()
            items = await array.getitem((slice(3, 9), slice(4, 8)))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert items[1, 2] == 4 * 64 + 6
    return entered


@pytest.mark.parametrize(
    ("pipeline", "most"), [("BatchedCodecPipeline", 16), ("CatervaPipeline", 14)]
)
def test_a_small_slice_of_a_known_chunk_enters_few_modules(tmp_path, pipeline, most):
    codec = CatervaCodec(block_shape=(8, 8))
    with zarr.config.set({"codec_pipeline.path": PIPELINES[pipeline]}):
        array = zarr.create_array(
            tmp_path, shape=(64, 64), dtype="i4", chunks=(32, 64), serializer=codec,
            compressors=None,
        )  # fmt: skip
        array[...] = np.arange(64 * 64).reshape(64, 64)
        time.sleep(0.06)  # until a change would show in the files' times
        entered = asyncio.run(modules_of_a_second_slice(tmp_path))
    assert len(entered) <= most, sorted(entered)
