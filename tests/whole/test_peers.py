"""Arrays travel between this package, python-blosc2 and python-caterva, both ways."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path

import blosc2
import msgpack
import numpy as np
import pytest
from checkout import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi import Codec, Filter

SHAPE, CHUNKS, BLOCKS = (23, 31), (10, 12), (4, 5)
PARTITION = {"chunks": CHUNKS, "blocks": BLOCKS}

DTYPES = [
    *["?", "|i1", "|u1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8", "<c8", "<c16"],
    *[">i2", ">u4", ">i8", ">f4", ">f8", ">c16", "<M8[ns]", ">M8[D]", "<m8[ms]"],
    *["|S1", "|S7", "|S300", "<U3", ">U5", "|V5"],
    [("x", "<f4"), ("y", ">f8"), ("id", "|S3")],
    [("t", "<M8[s]"), ("rgb", "|u1", (3,)), ("p", [("a", "<i2"), ("b", "<c8")])],
]


def items(dtype, shape=SHAPE):
    """Items of a dtype: repetitive, none of them all zeros, each byte of them used somewhere."""
    dtype = np.dtype(dtype)
    if dtype.kind == "V":
        result = np.zeros(shape, dtype)
        for name in dtype.names or ():
            result[name] = items(dtype[name].base, (*shape, *dtype[name].shape))
        if not dtype.names:
            result = items(f"S{dtype.itemsize}", shape).view(dtype)
        return result
    numbers = np.arange(prod(shape)).reshape(shape) % 251
    if dtype.kind in "SU":
        return np.char.mod("%d" + "." * (dtype.itemsize // 7), numbers).astype(dtype)
    if dtype.kind == "b":
        return numbers % 3 == 0
    return (numbers % 120 + (1 if dtype.kind in "iumM" else 0.5)).astype(dtype)


def assert_same(found, expected):
    """Compare dtypes, shapes and bytes; NaN is equal to itself, -0 not to 0."""
    found = np.asarray(found)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def send(array):
    """Open an array of ours with python-blosc2."""
    return blosc2.ndarray_from_cframe(bytes(array.to_cframe()))


def receive(array):
    """Open an array of python-blosc2's."""
    return cat.from_cframe(array.to_cframe())


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(np.dtype(dtype)))
def test_dtypes_at_blosc2(dtype):
    data = items(dtype)
    theirs = send(cat.asarray(data, **PARTITION))
    for box in (..., np.s_[3:20, 7:9], np.s_[22:, 30:]):
        assert_same(theirs[box], data[box])
        assert_same(receive(blosc2.asarray(data, **PARTITION))[box], data[box])


PIPELINES = [
    ([], []),
    ([Filter.SHUFFLE], [0]),
    ([Filter.BITSHUFFLE], [0]),
    ([Filter.DELTA], [0]),
    ([Filter.DELTA, Filter.SHUFFLE], [0, 0]),
    ([Filter.SHUFFLE, Filter.BYTEDELTA], [0, 4]),
    ([Filter.NDCELL], [4]),
    ([Filter.NDCELL, Filter.SHUFFLE], [4, 0]),
]
LOSSY = [
    ("<f4", [Filter.TRUNC_PREC], [12]),
    ("<f8", [Filter.TRUNC_PREC, Filter.SHUFFLE], [30, 0]),
    ("<f4", [Filter.NDMEAN], [4]),
    ("<i4", [Filter.INT_TRUNC], [-3]),
]


def blosc2_params(codec, filters=(), metas=(), **kwargs):
    return {
        "codec": blosc2.Codec[codec.name],
        "filters": [blosc2.Filter.NOFILTER] * (6 - len(filters))
        + [blosc2.Filter[item.name] for item in filters],
        "filters_meta": [0] * (6 - len(metas)) + list(metas),
        "nthreads": 1,
        **kwargs,
    }


def check_compressed(data, ours, theirs, tolerance):
    """Check that both libraries decode both arrays to the same items, close to those written."""
    for array, other in ((ours, send(ours)), (receive(theirs), theirs)):
        found = array[...]
        assert_same(other[...], found)
        assert_same(array[5:9, 3:30], found[5:9, 3:30])
        if Filter.DELTA not in ours.filters:  # C-Blosc2 decodes parts of such chunks wrongly
            assert_same(other[5:9, 3:30], found[5:9, 3:30])
        np.testing.assert_allclose(found, data, rtol=0, atol=tolerance)
    theirs_params = send(ours).schunk.cparams
    assert theirs_params.codec.name == ours.codec.name == theirs.schunk.cparams.codec.name
    assert [f.name for f in theirs_params.filters] == [f.name for f in ours.filters]
    assert [meta & 0xFF for meta in theirs_params.filters_meta] == ours.filtersmeta


@pytest.mark.parametrize("codec", ["BLOSCLZ", "LZ4", "LZ4HC", "ZLIB", "ZSTD"])
@pytest.mark.parametrize(("filters", "metas"), PIPELINES, ids=str)
def test_codecs_and_filters_at_blosc2(codec, filters, metas):
    data = items("<i4")
    ours = cat.asarray(data, codec=Codec[codec], filters=filters, filtersmeta=metas, **PARTITION)
    params = blosc2_params(Codec[codec], filters, metas)
    check_compressed(data, ours, blosc2.asarray(data, cparams=params, **PARTITION), 0)


@pytest.mark.parametrize(("dtype", "filters", "metas"), LOSSY, ids=str)
def test_lossy_filters_at_blosc2(dtype, filters, metas):
    data = items(dtype)
    ours = cat.asarray(data, codec=Codec.ZSTD, filters=filters, filtersmeta=metas, **PARTITION)
    params = blosc2_params(Codec.ZSTD, filters, metas)
    tolerance = {Filter.NDMEAN: 120, Filter.INT_TRUNC: 8}.get(filters[0], 0.1)
    check_compressed(data, ours, blosc2.asarray(data, cparams=params, **PARTITION), tolerance)


@pytest.mark.parametrize(
    ("codec", "meta", "dtype"),
    [
        (Codec.NDLZ, 4, "|u1"),
        (Codec.NDLZ, 8, "|u1"),
        *[
            (codec, meta, dtype)
            for codec, meta in [(Codec.ZFP_ACC, -3), (Codec.ZFP_PREC, 20), (Codec.ZFP_RATE, 40)]
            for dtype in ("<f4", "<f8")
        ],
    ],
)
def test_nd_codecs_at_blosc2(codec, meta, dtype):
    data = items(dtype)
    partition = {"chunks": (16, 24), "blocks": (8, 12)}
    never = cat.SplitMode.NEVER
    compression = {"codec": codec, "codec_meta": meta, "filters": [], "filtersmeta": []}
    ours = cat.asarray(data, **compression, splitmode=never, **partition)
    params = blosc2_params(codec, codec_meta=meta & 0xFF, splitmode=blosc2.SplitMode.NEVER_SPLIT)
    tolerance = 0 if codec is Codec.NDLZ else 0.1
    check_compressed(data, ours, blosc2.asarray(data, cparams=params, **partition), tolerance)


@pytest.mark.parametrize("codec", [Codec.LZ4, Codec.LZ4HC, Codec.ZSTD])
def test_dictionaries_at_blosc2(codec):
    data = np.char.mod("%05d,station-x", np.arange(64 * 64) % 97).astype("S32").reshape(64, 64)
    kwargs = {"chunks": (64, 64), "blocks": (16, 16)}
    ours = cat.asarray(data, codec=codec, filters=[], filtersmeta=[], usedict=True, **kwargs)
    params = blosc2_params(codec, use_dict=True)
    theirs = blosc2.asarray(data, cparams=params, **kwargs)
    for array in (send(ours), receive(theirs)):
        assert_same(array[...], data)
        assert_same(array[60:, 3:5], data[60:, 3:5])


@pytest.mark.parametrize("clevel", [0, 1, 9])
@pytest.mark.parametrize("mode", list(cat.SplitMode), ids=lambda mode: mode.name)
def test_levels_and_split_modes_at_blosc2(clevel, mode):
    data = items("<f8")
    ours = cat.asarray(data, clevel=clevel, splitmode=mode, **PARTITION)
    split = {item.value: item for item in blosc2.SplitMode}[mode.value]
    params = blosc2_params(Codec.LZ4, [Filter.SHUFFLE], [0], clevel=clevel, splitmode=split)
    check_compressed(data, ours, blosc2.asarray(data, cparams=params, **PARTITION), 0)


@st.composite
def partitions(draw):
    """Shapes with edge chunks, chunks that blocks do not fill, chunks larger than the array."""
    ndim = draw(st.integers(1, 5))
    side = st.integers(1, 9 if ndim < 4 else 4)
    shape, chunks = (draw(st.tuples(*[side] * ndim)) for _ in range(2))
    blocks = tuple(draw(st.integers(1, n)) for n in chunks)
    return shape, chunks, blocks


@settings(max_examples=60, deadline=None)
@given(partitions(), st.sampled_from(["|u1", "<f4", ">i8", "|S3"]))
def test_any_partition_at_blosc2(partition, dtype):
    shape, chunks, blocks = partition
    data = items(dtype, shape)
    theirs = send(cat.asarray(data, chunks=chunks, blocks=blocks))
    assert (theirs.shape, theirs.chunks, theirs.blocks) == (shape, chunks, blocks)
    assert_same(theirs[...], data)
    ours = receive(blosc2.asarray(data, chunks=chunks, blocks=blocks))
    assert (ours.shape, ours.chunks, ours.blocks) == (shape, chunks, blocks)
    assert_same(ours[...], data)


@pytest.mark.parametrize("nthreads", [1, 4])
@pytest.mark.parametrize("how", [{}, {"checksum": True}, {"filters": [Filter.BITSHUFFLE]}], ids=str)
def test_blocks_in_any_order_at_blosc2(how, nthreads, tmp_path):
    """Ours lie along a curve, also after changes; those of several threads as these end."""
    data = items("<i4", (40, 36, 44))
    ours = cat.asarray(
        data,
        chunks=(40, 36, 44),
        blocks=(5, 9, 11),
        urlpath=str(tmp_path / "a"),
        contiguous=True,
        **how,
    )
    ours[3:9, 20, ::5] = data[3:9, 20, ::5] = 7
    ours[30, 30, 30] = data[30, 30, 30] = 10**9
    ours.close()
    theirs = blosc2.open(str(tmp_path / "a"), mode="r", dparams={"nthreads": nthreads})
    for key in (np.s_[...], np.s_[4], np.s_[:, 20], np.s_[:, :, 43], np.s_[30, 30, 30]):
        assert_same(theirs[key], data[key])
    params = {"nthreads": nthreads}
    back = receive(blosc2.asarray(data, chunks=(40, 36, 44), blocks=(5, 9, 11), cparams=params))
    assert_same(back[:, :, 43], data[:, :, 43])


def test_no_dimensions_and_no_items_at_blosc2():
    for data in (np.array(7, "<i4"), np.zeros((0, 5), "<f4"), np.zeros((3, 0, 2), "<i2")):
        assert_same(send(cat.asarray(data))[...], data)
        assert_same(receive(blosc2.asarray(data))[...], data)


@pytest.mark.parametrize("ndim", [9, 16])
def test_more_dimensions_than_caterva_has_at_blosc2(ndim):
    data = items("<i2", (2,) * ndim)
    partition = {"chunks": (2,) * ndim, "blocks": (1,) * ndim}
    assert_same(send(cat.asarray(data, **partition))[...], data)
    assert_same(receive(blosc2.asarray(data, **partition))[...], data)


@pytest.mark.parametrize("dtype", ["?", "<f4", "<f8", ">i4", "<c16", "|S5"])
def test_special_chunks_at_blosc2(dtype):
    value = b"abcde" if dtype == "|S5" else items(dtype)[2, 3]
    kwargs = {"dtype": dtype, **PARTITION}
    for ours, theirs in [
        (cat.zeros(SHAPE, **kwargs), blosc2.zeros(SHAPE, **kwargs)),
        (cat.full(SHAPE, value, **kwargs), blosc2.full(SHAPE, value, **kwargs)),
    ]:
        expected = theirs[...]
        for array in (send(ours), receive(theirs), ours):
            assert_same(array[...], expected)
            assert_same(array[9:11, 11:], expected[9:11, 11:])
    if np.dtype(dtype).kind == "f":
        expected = np.full(SHAPE, np.nan, dtype)
        assert_same(receive(blosc2.nans(SHAPE, **kwargs))[...], expected)
        assert_same(send(cat.full(SHAPE, np.nan, **kwargs))[...], expected)
    assert receive(blosc2.uninit(SHAPE, **kwargs))[...].shape == SHAPE
    assert send(cat.empty(SHAPE, **kwargs))[...].shape == SHAPE


STORES = pytest.mark.parametrize("contiguous", [True, False], ids=["file", "directory"])
META = {"numbers": [1, 2, 3], "name": "peer"}
VLMETA = {"history": ["made", "changed"], "long": "x" * 5000}


def pack(mapping):
    return {name: msgpack.packb(value) for name, value in mapping.items()}


@STORES
def test_ours_on_disk_at_blosc2(tmp_path, contiguous):
    data, path = items(">f8"), str(tmp_path / "array.b2nd")
    ours = cat.asarray(data, urlpath=path, contiguous=contiguous, meta=pack(META), **PARTITION)
    for name, value in pack(VLMETA).items():
        ours.vlmeta[name] = value
    ours.close()

    theirs = blosc2.open(path, mode="a")
    assert_same(theirs[...], data)
    assert {name: theirs.schunk.meta[name] for name in META} == META
    assert theirs.schunk.vlmeta[:] == VLMETA
    theirs.schunk.vlmeta["history"] = "shorter"
    theirs.schunk.vlmeta["new"] = 1.5
    del theirs.schunk.vlmeta["long"]
    theirs.resize((30, 29))
    theirs[23:] = -1
    theirs[:2] = 5
    del theirs

    expected = np.full((30, 29), -1, data.dtype)
    expected[:23], expected[:2] = data[:, :29], 5
    ours = cat.open(path)
    assert_same(ours[...], expected)
    assert dict(ours.vlmeta) == pack({"history": "shorter", "new": 1.5})
    assert {name: ours.meta[name] for name in META} == pack(META)


@STORES
def test_theirs_on_disk_from_blosc2(tmp_path, contiguous):
    data, path = items(">f8"), str(tmp_path / "array.b2nd")
    theirs = blosc2.asarray(data, urlpath=path, contiguous=contiguous, meta=META, **PARTITION)
    for name, value in VLMETA.items():
        theirs.schunk.vlmeta[name] = value
    del theirs

    ours = cat.open(path)
    assert ours.contiguous is contiguous
    assert_same(ours[...], data)
    assert dict(ours.vlmeta) == pack(VLMETA)
    assert {name: ours.meta[name] for name in META} == pack(META)
    ours.meta["name"] = msgpack.packb("bear")
    ours.vlmeta["history"] = msgpack.packb("shorter")
    del ours.vlmeta["long"]
    ours.resize((30, 29))
    ours[23:] = -1
    ours[:2] = 5
    ours.append(np.full((3, 29), 8.0, data.dtype))
    ours.close()

    expected = np.full((33, 29), -1, data.dtype)
    expected[:23], expected[:2], expected[30:] = data[:, :29], 5, 8
    theirs = blosc2.open(path, mode="r")
    assert_same(theirs[...], expected)
    assert theirs.schunk.vlmeta[:] == {"history": "shorter"}
    assert theirs.schunk.meta["name"] == "bear"


@STORES
def test_insert_and_delete_at_blosc2(tmp_path, contiguous):
    data, path = items("<i4"), str(tmp_path / "array.b2nd")
    ours = cat.asarray(data, urlpath=path, contiguous=contiguous, **PARTITION)
    ours.insert(10, np.zeros((10, 31), "<i4"))
    ours.delete(12, 12, axis=1)
    ours.close()
    expected = np.insert(data, [10] * 10, 0, axis=0)
    expected = np.delete(expected, slice(12, 24), axis=1)
    assert_same(blosc2.open(path, mode="r")[...], expected)


def test_saved_by_either(tmp_path):
    data = items("<c8")
    cat.asarray(data, **PARTITION).save(tmp_path / "ours.b2nd")
    assert_same(blosc2.open(str(tmp_path / "ours.b2nd"), mode="r")[...], data)
    blosc2.asarray(data, **PARTITION).save(str(tmp_path / "theirs.b2nd"))
    assert_same(cat.open(tmp_path / "theirs.b2nd", mode="r")[...], data)


# --- python-caterva ----------------------------------------------------------------------------
# It installs on Python 3.11 with NumPy 1 only, so it has an environment of its own: the one that
# $CATERVA_CFFI_PYTHON_CATERVA names the Python of, or one that is made here.


def find_python_311():
    """Return an interpreter: $PYTHON311, this one, one on PATH, or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [os.environ.get("PYTHON311"), sys.executable, shutil.which("python3.11")]
    candidates += sorted(pyenv.glob("versions/3.11*/bin/python"))
    code = "import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 11))"
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "-c", code], capture_output=True).returncode == 0:
            return candidate
    pytest.fail(
        "no Python 3.11 for python-caterva: name one in $PYTHON311 (tried "
        f"{', '.join(str(candidate) for candidate in candidates if candidate)})"
    )


@pytest.fixture(scope="session")
def python_caterva(run_tool):
    """Run a script of tests/peers in the environment of python-caterva; return what it prints."""
    environment = ROOT / "build/venv-python-caterva"
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    python = Path(os.environ.get("CATERVA_CFFI_PYTHON_CATERVA", python))
    check = [python, "-c", "import caterva; assert caterva.__version__ == '0.7.3'"]
    if not (python.exists() and subprocess.run(check, capture_output=True).returncode == 0):
        assert python.is_relative_to(environment), f"{python} has no python-caterva 0.7.3"
        run_tool(find_python_311(), "-m", "venv", "--clear", environment)
        requirements = ROOT / "requirements/peer-python-caterva.txt"
        run_tool(python, "-m", "pip", "install", "-q", "-r", requirements)

    def run(script, *arguments, cwd):
        command = [python, ROOT / "tests/peers" / script, *arguments]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    return run


@dataclass(frozen=True)
class Case:
    """An array that both packages are to write and read; peers/python_caterva.py has it as JSON."""

    name: str
    shape: tuple = SHAPE
    chunks: tuple = CHUNKS
    blocks: tuple = BLOCKS
    dtype: object = "<i4"
    constructor: str = "from_buffer"
    contiguous: bool = True
    codec: str = "LZ4"
    clevel: int = 5
    filters: list = field(default_factory=lambda: ["SHUFFLE"])
    filtersmeta: list = field(default_factory=lambda: [0])
    nthreads: int = 1
    usedict: bool = False
    meta: dict = field(default_factory=dict)
    tolerance: float = 0

    @property
    def items(self):
        if self.constructor == "from_buffer":
            return items(self.dtype, self.shape)
        if self.constructor == "full":
            return np.full(self.shape, items(self.dtype)[2, 3], self.dtype)
        return np.zeros(self.shape, self.dtype)

    def to_json(self):
        return {**asdict(self), "dtype": None, "itemsize": np.dtype(self.dtype).itemsize}

    def write(self, path):
        kwargs = {
            "chunks": self.chunks,
            "blocks": self.blocks,
            "urlpath": path,
            "contiguous": self.contiguous,
            "codec": Codec[self.codec],
            "clevel": self.clevel,
            "filters": [Filter[name] for name in self.filters],
            "filtersmeta": self.filtersmeta,
            "nthreads": self.nthreads,
            "usedict": self.usedict,
            "meta": {name: bytes.fromhex(text) for name, text in self.meta.items()},
        }
        if self.constructor == "from_buffer":
            cat.asarray(self.items, **kwargs).close()
        elif self.constructor == "full":
            cat.full(self.shape, items(self.dtype)[2, 3], dtype=self.dtype, **kwargs).close()
        else:
            getattr(cat, self.constructor)(self.shape, dtype=self.dtype, **kwargs).close()


def caterva_cases():
    for number, dtype in enumerate(DTYPES):
        if np.dtype(dtype).itemsize <= 255:  # Caterva's limit
            yield Case(f"dtype-{number}", dtype=dtype)
    for codec in ("BLOSCLZ", "LZ4", "LZ4HC", "ZLIB", "ZSTD"):
        for filters in ([], ["SHUFFLE"], ["BITSHUFFLE"], ["DELTA", "SHUFFLE"]):
            name = "-".join(["compression", codec, *filters])
            yield Case(name, codec=codec, filters=filters, filtersmeta=[0] * len(filters))
    for clevel in (0, 1, 9):
        yield Case(f"clevel-{clevel}", clevel=clevel)
    lossy = {"filters": ["TRUNC_PREC", "SHUFFLE"], "filtersmeta": [12, 0]}
    yield Case("trunc-prec", dtype="<f4", **lossy, tolerance=0.1)
    yield Case("threads", shape=(200, 100), chunks=(100, 100), blocks=(10, 10), nthreads=4)
    large = {"shape": (150, 200), "chunks": (128, 200), "blocks": (32, 40)}
    yield Case("dictionary", **large, dtype="|S7", codec="ZSTD", filters=[], usedict=True)
    yield Case("meta", meta={"first": b"\0\1\2".hex(), "second": (b"x" * 300).hex()})
    yield Case("directory", contiguous=False, meta={"m": b"1".hex()})
    for constructor in ("zeros", "full", "empty"):
        for contiguous in (True, False):
            name = f"{constructor}-{'file' if contiguous else 'directory'}"
            yield Case(name, constructor=constructor, contiguous=contiguous, dtype="<f8")
    for shape, chunks, blocks in [
        ((1,), (1,), (1,)),
        ((100,), (30,), (7,)),
        ((5, 4), (8, 9), (3, 9)),
        ((7, 8, 9), (4, 5, 6), (3, 2, 4)),
        ((4, 0, 3), (2, 0, 3), (2, 0, 1)),
        ((3, 1, 2, 4, 2, 1, 3, 2), (2, 1, 2, 3, 2, 1, 2, 2), (1, 1, 2, 2, 1, 1, 2, 1)),
    ]:
        yield Case(f"shape-{'x'.join(map(str, shape))}", shape, chunks, blocks)


CASES = {case.name: case for case in caterva_cases()}
CHANGED = ["dtype-0", "dtype-6", "directory", "zeros-file", "full-directory", "shape-7x8x9", "meta"]
by_case = pytest.mark.parametrize("case", list(CASES.values()), ids=lambda case: case.name)
# From disk, C-Blosc2 decodes chunks with dictionaries wrongly, whoever wrote them.
without_dictionary = pytest.mark.parametrize(
    "case", [case for case in CASES.values() if not case.usedict], ids=lambda case: case.name
)
by_changed = pytest.mark.parametrize("name", CHANGED)


def lay_out(directory, cases):
    """Write the list of cases, and the items of each."""
    directory.mkdir()
    (directory / "cases.json").write_text(json.dumps([case.to_json() for case in cases]))
    for case in cases:
        (directory / f"{case.name}.raw").write_bytes(case.items.tobytes())
    return directory


@pytest.fixture(scope="session")
def from_caterva(tmp_path_factory, python_caterva):
    """A directory of arrays that python-caterva wrote, one for each case."""
    directory = lay_out(tmp_path_factory.mktemp("from-caterva") / "arrays", CASES.values())
    python_caterva("python_caterva.py", "write", directory, cwd=directory)
    return directory


@pytest.fixture(scope="session")
def to_caterva(tmp_path_factory, python_caterva):
    """What python-caterva reads of our arrays, one for each case."""
    directory = lay_out(tmp_path_factory.mktemp("to-caterva") / "arrays", CASES.values())
    for case in CASES.values():
        case.write(directory / f"{case.name}.b2frame")
    return python_caterva("python_caterva.py", "read", directory, cwd=directory)


@by_case
def test_reads_arrays_of_python_caterva(case, from_caterva):
    path = from_caterva / f"{case.name}.b2frame"
    data = case.items
    arrays = [cat.open(path, mode="r")]
    if case.contiguous:
        arrays.append(cat.from_cframe(path.read_bytes()))
    for array in arrays:
        assert (array.shape, array.chunks, array.blocks) == (case.shape, case.chunks, case.blocks)
        assert array.dtype == f"S{data.itemsize}"
        assert array.codec.name == case.codec
        assert [f.name for f in array.filters if f is not Filter.NOFILTER] == case.filters
        assert {name: array.meta[name].hex() for name in case.meta} == case.meta
        if case.constructor == "empty":
            continue  # its items are undefined
        found = np.frombuffer(array.to_buffer(), data.dtype).reshape(data.shape)
        if case.tolerance:
            np.testing.assert_allclose(found, data, rtol=0, atol=case.tolerance)
        else:
            assert_same(found, data)
        if 0 not in data.shape:
            box = tuple(slice(n // 3, n // 3 + n // 2) for n in data.shape)
            assert np.ascontiguousarray(array[box]).tobytes() == found[box].tobytes()


@without_dictionary
def test_python_caterva_reads_arrays_of_ours(case, to_caterva):
    seen, data = to_caterva[case.name], case.items
    assert seen["itemsize"] == data.itemsize
    for name in ("shape", "chunks", "blocks"):
        assert tuple(seen[name]) == getattr(case, name)
    assert seen["codec"] == case.codec
    assert [name for name in seen["filters"] if name != "NOFILTER"] == case.filters
    assert seen["meta"] == case.meta
    if case.constructor == "empty":
        return
    found = np.frombuffer(bytes.fromhex(seen["items"]), data.dtype).reshape(data.shape)
    if case.tolerance:
        np.testing.assert_allclose(found, data, rtol=0, atol=case.tolerance)
    else:
        assert_same(found, data)
    if "DELTA" not in case.filters:  # C-Blosc2 decodes parts of such chunks wrongly
        box = tuple(slice(n // 3, n // 3 + n // 2) for n in data.shape)
        assert bytes.fromhex(seen["box"]) == found[box].tobytes()


def change(array):
    """Do with an array what peers/python_caterva.py does to change it."""
    array[0] = np.full(array.shape[1:], b"\1" * array.itemsize).view(array.dtype)
    array.resize([n + chunk for n, chunk in zip(array.shape, array.chunks, strict=True)])
    array[-1] = np.full(array.shape[1:], b"\2" * array.itemsize).view(array.dtype)


def changed_shape(case):
    return tuple(n + chunk for n, chunk in zip(case.shape, case.chunks, strict=True))


def changed_items(case):
    """Return the items after such a change, as void; what was added is zeros."""
    data = case.items.view(f"V{np.dtype(case.dtype).itemsize}")
    data[0] = b"\1" * data.itemsize
    grown = np.zeros(changed_shape(case), data.dtype)
    grown[tuple(map(slice, data.shape))] = data
    grown[-1] = b"\2" * data.itemsize
    return grown


@pytest.fixture(scope="session")
def changed_by_caterva(tmp_path_factory, python_caterva):
    """A directory of arrays that we wrote and python-caterva changed."""
    cases = [CASES[name] for name in CHANGED]
    directory = lay_out(tmp_path_factory.mktemp("changed-by-caterva") / "arrays", cases)
    for case in cases:
        case.write(directory / f"{case.name}.b2frame")
    python_caterva("python_caterva.py", "change", directory, cwd=directory)
    return directory


@pytest.fixture(scope="session")
def changed_by_us(tmp_path_factory, python_caterva):
    """What python-caterva reads of arrays that it wrote and we changed."""
    cases = [CASES[name] for name in CHANGED]
    directory = lay_out(tmp_path_factory.mktemp("changed-by-us") / "arrays", cases)
    python_caterva("python_caterva.py", "write", directory, cwd=directory)
    for case in cases:
        with cat.open(directory / f"{case.name}.b2frame") as array:
            change(array)
    return python_caterva("python_caterva.py", "read", directory, cwd=directory)


@by_changed
def test_reads_what_python_caterva_changed(name, changed_by_caterva):
    case = CASES[name]
    array = cat.open(changed_by_caterva / f"{name}.b2frame", mode="r")
    assert array.shape == changed_shape(case)
    assert array.dtype == case.dtype
    expected = changed_items(case)
    found = np.frombuffer(array.to_buffer(), expected.dtype).reshape(expected.shape)
    # What Caterva adds is undefined.
    for box in (tuple(map(slice, case.shape)), -1):
        assert found[box].tobytes() == expected[box].tobytes()


@by_changed
def test_python_caterva_reads_what_we_changed(name, changed_by_us):
    case, seen = CASES[name], changed_by_us[name]
    assert tuple(seen["shape"]) == changed_shape(case)
    assert bytes.fromhex(seen["items"]) == changed_items(case).tobytes()
    assert seen["meta"] == case.meta


# --- a drop-in for python-caterva --------------------------------------------------------------


def array_result(data):
    return {"dtype": data.dtype.str, "shape": list(data.shape), "data": data.tobytes().hex()}


@pytest.fixture(scope="session")
def parity(tmp_path_factory, python_caterva):
    """What each step of peers/parity.py gives: with python-caterva, and with this package."""
    theirs = python_caterva("parity.py", "caterva", cwd=tmp_path_factory.mktemp("theirs"))
    command = [sys.executable, "-W", "error", ROOT / "tests/peers/parity.py", "caterva_cffi"]
    directory = tmp_path_factory.mktemp("ours")
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return theirs, json.loads(done.stdout)


@pytest.fixture(scope="session")
def deliberate():
    """What differs on purpose, and what this package gives instead."""
    strings = np.array([f"{i:03d}" for i in range(77)], "S3").reshape(7, 11)
    numbers = np.arange(77, dtype="<i4").reshape(7, 11)
    box = numbers[1:6, 3:9]
    return {
        # The dtype is kept.
        "typed box": array_result(box),
        "resize: list": array_result(numbers[:5]),
        # A slice of one row keeps its dimension.
        "slice of one row": array_result(strings[1:2]),
        # Steps were ignored, or failed.
        "step": array_result(strings[::2]),
        "negative step": array_result(strings[::-1]),
        # There is a second metalayer, for python-blosc2, and the mapping is a whole one.
        "meta: keys": ["list", "a", "b", "b2nd", "caterva"],
        "meta: length": 4,
        "meta: values": True,
        "meta: items": True,
        # Chunk and block shapes may be left out.
        "no chunks": ["tuple", 7, 11],
        "no blocks": ["tuple", 7, 11],
        "slice without chunks": ["tuple", 2, 11],
        "copy without chunks": ["tuple", 4, 6],
        # Too few bytes gave zeros.
        "short buffer": "raises ValueError",
        # Where python-caterva refuses, more is possible.
        "full of a number": array_result(np.array([3, 3])),
        "asarray of a list": ["tuple", 3],
        "number of rows": 7,
        "as NumPy array": ["tuple", 7, 11],
    }


def test_every_deliberate_difference_is_one(parity, deliberate):
    theirs, ours = parity
    assert {name: ours[name] for name in deliberate} == deliberate
    assert not [name for name in deliberate if theirs[name] == ours[name]]


def test_all_else_is_as_python_caterva_has_it(parity, deliberate):
    theirs, ours = parity
    assert theirs.keys() == ours.keys() and len(theirs) > 70
    expected = {name: result for name, result in theirs.items() if name not in deliberate}
    assert {name: ours[name] for name in expected} == expected
