"""Every C error code has an exception, and every wrong argument a clear one."""

import contextlib
import copy
import errno
import os
import pickle
import re
import tracemalloc
from typing import get_args

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi import check, ffi, lib
from caterva_cffi.errors import Cause, Kind, named
from caterva_cffi.zarr import CatervaCodec

CODES = {
    name: getattr(lib, name)
    for name in dir(lib)
    if name.startswith(("BLOSC2_ERROR_", "CAT_ERROR_")) and getattr(lib, name) < 0
}
# These say that something failed, and not why.
WITHOUT_CAUSE = {
    "BLOSC2_ERROR_FAILURE",
    "BLOSC2_ERROR_CHUNK_INSERT",
    "BLOSC2_ERROR_CHUNK_APPEND",
    "BLOSC2_ERROR_CHUNK_UPDATE",
    "BLOSC2_ERROR_SCHUNK_COPY",
    "BLOSC2_ERROR_THREAD_CREATE",
    "BLOSC2_ERROR_POSTFILTER",
}
CLASSES = {
    cat.ArgumentError: ValueError,
    cat.ArgumentTypeError: TypeError,
    cat.BusyError: RuntimeError,
    cat.CapacityError: MemoryError,
    cat.ClosedError: ValueError,
    cat.DifferenceError: Exception,
    cat.FormatError: ValueError,
    cat.MissingMetalayerError: KeyError,
    cat.ReadOnlyError: ValueError,
    cat.SelectionError: IndexError,
    cat.StorageError: OSError,
    cat.UnsupportedError: Exception,
}
EXPECTED = {
    "BLOSC2_ERROR_CODEC_SUPPORT": cat.UnsupportedError,
    "BLOSC2_ERROR_VERSION_SUPPORT": cat.UnsupportedError,
    "BLOSC2_ERROR_INVALID_PARAM": cat.ArgumentError,
    "BLOSC2_ERROR_METALAYER_NOT_FOUND": cat.ArgumentError,
    "BLOSC2_ERROR_FILE_OPEN": cat.StorageError,
    "BLOSC2_ERROR_FILE_WRITE": cat.StorageError,
    "BLOSC2_ERROR_MEMORY_ALLOC": cat.CapacityError,
    "BLOSC2_ERROR_2GB_LIMIT": cat.CapacityError,
    "BLOSC2_ERROR_INVALID_HEADER": cat.FormatError,
    "BLOSC2_ERROR_DATA": cat.FormatError,
    "CAT_ERROR_CODEC": cat.UnsupportedError,
    "CAT_ERROR_FILTER": cat.UnsupportedError,
    "CAT_ERROR_TRUNCATED": cat.FormatError,
    "CAT_ERROR_BLOCK": cat.FormatError,
    "CAT_ERROR_MEMORY": cat.CapacityError,
}


def test_all_codes_are_known():
    assert len(CODES) > 45
    assert len(set(CODES.values())) == len(CODES)
    assert CODES.keys() >= EXPECTED.keys() | WITHOUT_CAUSE


# Raises what a signal handler raised: test_interrupts.py.
INTERRUPTED = "CAT_ERROR_INTERRUPTED"


@pytest.mark.parametrize("name", [name for name in CODES if name != INTERRUPTED])
def test_codes_are_exceptions(name):
    code = CODES[name]
    with pytest.raises(cat.CatervaError, match="reading chunk 3") as caught:
        check(code, "reading chunk 3")
    error = caught.value
    assert error.code == code
    assert str(error).endswith(f"(code {code})")
    # What it says is about this code, and not "unknown error".
    assert len(str(error)) > len(f"reading chunk 3:  (code {code})") + 5
    assert "nknown" not in str(error) or name == "BLOSC2_ERROR_FAILURE"
    assert (type(error) is cat.CatervaError) == (name in WITHOUT_CAUSE)
    assert type(error) is EXPECTED.get(name, type(error))


@pytest.mark.parametrize("code", [-99, -999, -(2**31)])
def test_unknown_codes_are_exceptions_too(code):
    with pytest.raises(cat.CatervaError, match=f"asking: .* \\(code {code}\\)") as caught:
        check(code, "asking")
    assert caught.value.code == code


@pytest.mark.parametrize("code", [0, 1, 2**31 - 1])
def test_results_are_handed_through(code):
    assert check(code, "asking") == code


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_classes(cls):
    assert issubclass(cls, cat.CatervaError)
    assert issubclass(cls, CLASSES[cls])
    assert cls.__doc__
    for error in (cls("what was found"), cls("what was found", code=-5)):
        again = pickle.loads(pickle.dumps(error))
        for each in (error, again):
            assert type(each) is cls
            assert str(each) == "what was found"
        assert again.code == error.code
    assert cls("found").code is None
    assert set(CLASSES) == set(cat.CatervaError.__subclasses__())


def attributes(error):
    return error.kind, error.parameter, error.found, error.expected, error.code


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_kind_and_numbers_survive(cls):
    plain = cls("nothing is known")
    assert attributes(plain) == (cls.kind, None, None, None, None)
    assert cls.kind in get_args(Kind)
    error = cls("7 of 5", Cause("cut-off", "size", 7, (5, "<f4")), code=-5)
    error.add_note("a note")
    for again in (
        pickle.loads(pickle.dumps(error)),
        copy.copy(error),
        copy.deepcopy(error),
        named(error, "'c/0'"),
    ):
        assert type(again) is cls and again is not error
        assert attributes(again) == ("cut-off", "size", 7, (5, "<f4"), -5)
        assert again.__notes__ == ["a note"]
    assert str(error) == "7 of 5" and str(named(error, "'c/0'")) == "'c/0': 7 of 5"


def test_errors_hold_no_values_of_users():
    """Neither memory, nor what cannot be pickled."""
    items = np.zeros(3)
    found = [items, lambda: 0, np.int64(3), True, None, 2.5, "a"]
    error = cat.ArgumentError("", Cause("wrong-value", found=found))
    assert error.found[0] == "array([0., 0., 0.])" and "<lambda>" in error.found[1]
    assert error.found[2:] == (3, True, None, 2.5, "a") and type(error.found[2]) is int
    pickle.dumps(error)


KINDS = {
    "blocks": (
        lambda: cat.zeros((9, 9), 4, chunks=(5, 5), blocks=(3, 6)),
        ("block-shape-too-large", "blocks", (3, 6), (3, 5)),
    ),
    "block_shape": (
        lambda: CatervaCodec(block_shape=(3, 6), chunk_shape=(5, 5)),
        ("block-shape-too-large", "block_shape", (3, 6), (3, 5)),
    ),
    "bytes of a chunk": (
        lambda: cat.zeros((2**16, 2**16), 4, chunks=(2**15, 2**15), blocks=(2, 2**15)),
        ("chunk-too-large", "chunks", 2**32, 2**31 - 1 - 32),
    ),
    "codec": (
        lambda: cat.zeros(3, 4, codec="zstdd"),
        ("unknown-name", "codec", "zstdd", "a Codec (BLOSCLZ, LZ4, LZ4HC, ZLIB, ZSTD, "),
    ),
    "argument": (
        lambda: cat.zeros(3, 4, block_shape=(1,)),
        ("unknown-argument", "block_shape", ("block_shape",), ("blocks",)),
    ),
    "index": (lambda: cat.zeros(3, 4)[3], ("out-of-bounds", None, 3, 3)),
    "indices": (lambda: cat.zeros(3, 4)[0, 0], ("wrong-ndim", None, 2, 1)),
    "metalayer": (
        lambda: cat.zeros(3, 4, meta={"units": b"K"}).meta["unit"],
        ("no-metalayer", "name", "unit", ("caterva", "b2nd", "units")),
    ),
    "frame": (lambda: cat.from_cframe(b"no frame at all"), ("not-a-frame", None, None, None)),
    "mode": (lambda: cat.open("a", mode="w"), ("unknown-name", "mode", "w", "'r' (read) or ")),
}


@pytest.mark.parametrize(("call", "expected"), KINDS.values(), ids=list(KINDS))
def test_kinds(call, expected):
    with pytest.raises(cat.CatervaError) as caught:
        call()
    found = attributes(caught.value)[:4]
    if isinstance(expected[3], str):
        assert found[3].startswith(expected[3])
        found, expected = found[:3], expected[:3]
    assert found == expected


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (lambda: cat.zeros(3, 4, codec="zstdd"), "ZSTD"),
        (lambda: cat.zeros(3, 4, filters="bitshufle"), "BITSHUFFLE"),
        (lambda: cat.zeros(3, 4, splitmode="alway"), "ALWAYS"),
        (lambda: CatervaCodec(cname="lz4hcc"), "lz4hc"),
        (lambda: CatervaCodec(shuffle="bitshufle"), "bitshuffle"),
        (lambda: CatervaCodec(filters=["bytedeltas"]), "bytedelta"),
        (lambda: cat.zeros(3, 4, meta={"units": b"K"}).meta["unit"], "units"),
        (lambda: cat.zeros(3, 4).vlmeta.__delitem__("a"), None),
        (lambda: cat.set_read_policy("remotes", cat.get_read_policy("local")), "remote"),
        (lambda: cat.advise((9, 9), "f4", "items", store="locale"), "local"),
        (lambda: cat.convert("a.zarr", "b.zarr", format="plain-zar"), "plain-zarr"),
        (lambda: cat.asarray(ITEMS, blcoks=(1, 1)), "blocks"),
    ],
)
def test_misspelled_names_are_told(call, meant):
    with pytest.raises(cat.CatervaError) as caught:
        call()
    told = re.findall(r"Did you mean '(.+)' by ", str(caught.value))
    assert told == ([meant] if meant else [])


def test_a_named_error_keeps_its_numbers(tmp_path):
    path = tmp_path / "a.b2nd"
    array(urlpath=path, contiguous=True)
    frame = path.read_bytes()
    for size in (len(frame) - 20, 100):
        path.write_bytes(frame[:size])
        for call in (lambda: cat.open(path), lambda: cat.from_cframe(path.read_bytes())):
            with pytest.raises(cat.FormatError, match="it is cut off") as caught:
                call()
            assert caught.value.kind == "cut-off"
        with pytest.raises(cat.FormatError, match=re.escape(repr(os.fspath(path)))) as caught:
            cat.open(path)
        assert attributes(caught.value)[2:4] == (size, len(frame))


def test_codes_of_c_arrive():
    items = np.arange(100, dtype="i4")
    frame = bytearray(cat.asarray(items, contiguous=True, clevel=0).to_cframe())
    at = frame.index(items.tobytes()[:20]) - lib.BLOSC_EXTENDED_HEADER_LENGTH
    frame[at + 4 : at + 8] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(cat.FormatError, match="chunk 0") as caught:
        cat.from_cframe(frame)[...]
    assert caught.value.code in CODES.values()


# --- one table of what is wrong ---------------------------------------------------------------

ITEMS = np.arange(24, dtype="<i4").reshape(4, 6)


def array(**kwargs):
    return cat.asarray(ITEMS, **{"chunks": (3, 4), "blocks": (2, 3), **kwargs})


def read_only():
    return cat.from_cframe(array(contiguous=True).to_cframe())


def unwritable(shape, dtype="<i4"):
    out = np.zeros(shape, dtype)
    out.flags.writeable = False
    return out


def zeros(shape=(4, 6), itemsize=4, **kwargs):
    return lambda: cat.zeros(shape, itemsize, **kwargs)


A, T, C = cat.ArgumentError, TypeError, cat.CapacityError
WRONG = {
    # shapes
    "negative shape": (zeros((-1,)), A, r"shape is \(-1,\); expected lengths of at least 0"),
    "float shape": (zeros((2.5,)), T, r"shape is \(2.5,\); expected a sequence of integers"),
    "text as shape": (zeros("ab"), T, "shape is .* expected a sequence of integers"),
    "nested shape": (zeros(((1, 2),)), T, "shape is .* expected a sequence of integers"),
    "no shape": (zeros(None), T, "None"),
    "17 dimensions": (zeros((1,) * 17), A, "17 dimensions; at most 16 are possible"),
    "17 dimensions of one block": (
        zeros((1,) * 17, chunks=(1,) * 17, blocks=(1,) * 17),
        A,
        "17 dimensions; at most 16",
    ),
    "length beyond 64 bits": (zeros((2**70,)), C, "too long"),
    "bytes beyond 64 bits": (zeros((2**62,), 4), C, "too large"),
    "bytes beyond 64 bits in 2-d": (zeros((2**40, 2**40)), C, "too large"),
    "too many chunks": (zeros((2**40,), 1, chunks=(1,), blocks=(1,)), C, "too large"),
    # partitions
    "fewer chunks": (zeros(chunks=(3,)), A, r"shape \(4, 6\), chunks \(3,\) .* differ in length"),
    "more blocks": (zeros(blocks=(1, 1, 1)), A, "differ in length"),
    "block larger than chunk": (
        zeros(chunks=(3, 3), blocks=(4, 3)),
        A,
        r"blocks \(4, 3\) are larger than chunks \(3, 3\)",
    ),
    "chunks of zero": (zeros(chunks=(0, 3)), A, "length of zero"),
    "blocks of zero": (zeros(blocks=(0, 3)), A, "length of zero"),
    "negative chunks": (zeros(chunks=(-1, 3)), A, r"chunks is \(-1, 3\)"),
    "negative blocks": (zeros(blocks=(1, -3)), A, r"blocks is \(1, -3\)"),
    "number as chunks": (zeros(chunks=5), T, "chunks is 5; expected a sequence of integers"),
    "number as blocks": (zeros(blocks=5), T, "blocks is 5; expected a sequence of integers"),
    "numbers as both": (zeros(chunks=5, blocks=5), T, "chunks is 5; expected a sequence"),
    "float chunks": (zeros(chunks=(1.0, 3)), T, r"chunks is \(1.0, 3\)"),
    "text as chunks": (zeros(chunks="ab"), T, "chunks is 'ab'"),
    "chunk beyond 31 bits": (zeros(chunks=(2**31, 1)), C, "too long"),
    "chunk of 2 GiB": (zeros((2**16, 2**16), chunks=(2**15, 2**15)), C, "at most"),
    "block of 1 GiB": (
        zeros((2**14, 2**14), chunks=(2**14, 2**14), blocks=(2**14, 2**14)),
        C,
        "at most 536866816 are possible",
    ),
    # items
    "no item size": (lambda: cat.zeros((3,)), T, "neither itemsize nor dtype"),
    "item size of zero": (zeros(itemsize=0), A, "itemsize is 0; expected 1 to"),
    "negative item size": (zeros(itemsize=-4), A, "itemsize is -4"),
    "huge item size": (zeros(itemsize=2**40), A, "itemsize is 1099511627776"),
    "float item size": (zeros(itemsize=4.0), T, "itemsize is 4.0; expected an integer"),
    "contradiction": (zeros(itemsize=4, dtype="f8"), A, "itemsize 4 contradicts dtype float64"),
    "objects": (lambda: cat.asarray(np.array([None])), T, "dtype object has no items"),
    "structure of objects": (zeros(3, None, dtype=[("a", "O")]), T, "has no items of a fixed"),
    "items of no bytes": (zeros(3, None, dtype="V0"), T, "has no items of a fixed"),
    "lists of different lengths": (lambda: cat.asarray([[1], [1, 2]]), ValueError, "inhomogeneous"),
    "not a dtype": (zeros(3, None, dtype="nonsense"), T, "nonsense"),
    # values
    "fill value of two items": (
        lambda: cat.full((3,), [1, 2], dtype="i4"),
        A,
        r"fill_value has shape \(2,\); expected one item",
    ),
    "fill value of no bytes": (lambda: cat.full((3,), b""), A, "itemsize is 0"),
    "fill value that cannot be cast": (lambda: cat.full((3,), "x", dtype="i4"), ValueError, "'x'"),
    "fill value out of range": (lambda: cat.full((3,), 300, dtype="u1"), OverflowError, "300"),
    "fill value of objects": (lambda: cat.full((3,), None), T, "dtype object"),
    # compression
    "codec name": (zeros(codec="lzma"), A, "codec is 'lzma'; expected a Codec .*LZ4"),
    "codec number": (zeros(codec=256), A, "codec is 256; expected a Codec"),
    "no codec": (zeros(codec=None), A, "codec is None"),
    "codec that is not there": (
        lambda: cat.asarray(ITEMS, codec=200),
        cat.UnsupportedError,
        "chunk 0",
    ),
    "codec level": (zeros(clevel=10), A, "clevel is 10; expected an integer from 0 to 9"),
    "negative codec level": (zeros(clevel=-1), A, "clevel is -1"),
    "codec level in text": (zeros(clevel="5"), A, "clevel is '5'"),
    "filter name": (zeros(filters=["SHUFFLED"]), A, "filter is 'SHUFFLED'; expected a Filter"),
    "filter number": (zeros(filters=[-1]), A, "filter is -1"),
    "a number for the filters": (zeros(filters=5), T, "filters is 5, of type int; expected one or"),
    "bytes for the filters": (zeros(filters=b"shuffle"), T, "of type bytes"),
    "name of one filter": (zeros(filters="shuffled"), A, "filter is 'shuffled'; expected a Filter"),
    "no filters": (zeros(filters=None), T, "filters is None"),
    "filter parameters in text": (zeros(filtersmeta=1.5), T, "filtersmeta is 1.5, of type float"),
    "seven filters": (zeros(filters=[cat.Filter.SHUFFLE] * 7), A, "7 filters .* at most 6 fit"),
    "filter parameters": (zeros(filtersmeta=[256]), A, "meta is 256"),
    "seven filter parameters": (zeros(filtersmeta=[0] * 7), A, "7 filtersmeta; at most 6"),
    "codec parameter": (zeros(codec_meta=-129), A, "meta is -129"),
    "split mode": (zeros(splitmode=7), A, "splitmode is 7; expected a SplitMode"),
    "no threads": (zeros(nthreads=0), A, "nthreads is 0; expected a positive integer"),
    "unknown argument": (
        zeros(chunk=(2, 2)),
        T,
        r"unknown arguments \['chunk'\]; expected .* Did you mean 'chunks' by 'chunk'",
    ),
    # destinations
    "small destination": (
        lambda: array().read(out=np.zeros((4, 5), "<i4")),
        A,
        r"out has shape \(4, 5\) and dtype int32; expected \(4, 6\) and int32",
    ),
    "small destination of a selection": (
        lambda: array().read((slice(2), 0), np.zeros(3, "<i4")),
        A,
        r"out has shape \(3,\) .* expected \(2,\)",
    ),
    "destination of another dtype": (
        lambda: array().read(out=np.zeros((4, 6), "<u4")),
        A,
        "dtype uint32; expected .* int32",
    ),
    "destination of another byte order": (
        lambda: array().read(out=np.zeros((4, 6), ">i4")),
        A,
        "dtype >i4; expected .* int32",
    ),
    "read-only destination": (
        lambda: array().read(out=unwritable((4, 6))),
        cat.ReadOnlyError,
        "out is read-only",
    ),
    "read-only destination of arrays": (
        lambda: array().read([0, 1], unwritable((2, 6))),
        cat.ReadOnlyError,
        "out is read-only",
    ),
    "destination that is no array": (
        lambda: array().read(out=bytearray(96)),
        T,
        "out is bytearray; expected a NumPy array",
    ),
    # reading and writing
    "index": (lambda: array()[4], IndexError, "index 4 is out of bounds .* dimension 0"),
    "negative index": (lambda: array()[0, -7], IndexError, "index -7 is out of bounds"),
    "too many indices": (lambda: array()[0, 0, 0], IndexError, "too many|3"),
    "float index": (lambda: array()[1.0], IndexError, ""),
    "text as index": (lambda: array()["a"], IndexError, ""),
    "mask of another shape": (lambda: array()[np.ones((4, 5), bool)], IndexError, "5"),
    "value of another shape": (
        lambda: array().__setitem__(0, [1, 2]),
        ValueError,
        "broadcast",
    ),
    "value that cannot be cast": (lambda: array().__setitem__(0, "x"), ValueError, "'x'"),
    "value into what is read-only": (
        lambda: read_only().__setitem__(0, 0),
        cat.ReadOnlyError,
        "the frame was opened for reading",
    ),
    "__array__ without a copy": (
        lambda: array().__array__(copy=False),
        ValueError,
        "cannot be had without a copy",
    ),
    "length of a 0-d array": (lambda: len(cat.asarray(5)), T, r"len\(\) of a 0-d array"),
    # changes of shape
    "shape of another dimension": (lambda: array().resize((5,)), A, r"\(5,\) for 2 dimensions"),
    "negative new shape": (lambda: array().resize((5, -1)), A, r"shape is \(5, -1\)"),
    "float new shape": (lambda: array().resize((5, 2.5)), T, r"shape is \(5, 2.5\)"),
    "huge new shape": (lambda: array().resize((2**62, 6)), C, "too large"),
    "values of another shape": (
        lambda: array().append(np.zeros((2, 5))),
        A,
        r"values of shape \(2, 5\) for an array of shape \(4, 6\); only .* axis 0 may differ",
    ),
    "values of another dimension": (
        lambda: array().append(np.zeros(6)),
        A,
        r"values of shape \(6,\)",
    ),
    "axis": (lambda: array().append(ITEMS, axis=2), IndexError, "axis 2 is out of bounds for 2"),
    "negative axis": (lambda: array().delete(0, axis=-3), IndexError, "axis -3 is out of bounds"),
    "axis of a 0-d array": (lambda: cat.asarray(5).append([5]), IndexError, "axis 0 .* 0 dim"),
    "position of an insert": (
        lambda: array().insert(5, ITEMS),
        IndexError,
        "index 5 is out of bounds for axis 0 of length 4",
    ),
    "start of a delete": (
        lambda: array().delete(4),
        IndexError,
        "1 items from 4 on are out of bounds for axis 0 of length 4",
    ),
    "length of a delete": (lambda: array().delete(2, 3), IndexError, "3 items from 2 on"),
    "negative length of a delete": (lambda: array().delete(2, -1), IndexError, "-1 items from 2"),
    "resize of what is read-only": (
        lambda: read_only().resize((2, 2)),
        cat.ReadOnlyError,
        "opened for reading",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said(call, error, message, capfd):
    with pytest.raises(error, match=message or "."):
        call()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.resize((5,)),
        lambda a: a.resize((2**62, 6)),
        lambda a: a.append(np.zeros((2, 5))),
        lambda a: a.append([["x"] * 6]),
        lambda a: a.insert(9, ITEMS),
        lambda a: a.delete(1, 9),
        lambda a: a.__setitem__(0, [1, 2]),
        lambda a: a.__setitem__((0, [0, 9]), 1),
        lambda a: a.oindex.__setitem__(([0, 9], 1), 1),
    ],
)
@pytest.mark.parametrize("contiguous", [True, False])
def test_an_error_changes_nothing(change, contiguous, tmp_path):
    changed = array(urlpath=tmp_path / "a", contiguous=contiguous)
    before = bytes(changed.to_cframe())
    with pytest.raises((ValueError, IndexError, MemoryError)):
        change(changed)
    assert changed.shape == ITEMS.shape
    assert (changed[...] == ITEMS).all()
    assert bytes(changed.to_cframe()) == before


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("broken", ["pread", "fsync", "open", "link"])
def test_a_failing_disk_is_an_error_of_ours(broken, contiguous, tmp_path, monkeypatch):
    stored = array(urlpath=tmp_path / "a", contiguous=contiguous)
    noise = np.random.default_rng(0).bytes(1 << 20)
    large = cat.asarray(np.frombuffer(noise, "u1"), urlpath=tmp_path / "b", contiguous=contiguous)

    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, broken, fail)
    monkeypatch.setattr("caterva_cffi.memory_pool.LEAST", 1 << 14)
    if broken == "open":
        monkeypatch.setattr("builtins.open", fail)
    failed = 0
    for use in (
        lambda: stored[1, 1],
        lambda: large[...],
        lambda: cat.open(tmp_path / "a"),
        lambda: stored.save(tmp_path / "c"),
        lambda: array(urlpath=tmp_path / "d", contiguous=contiguous),
    ):
        try:
            use()
        except cat.StorageError as error:
            failed += 1
            assert "Input/output error" in str(error)
    assert failed or broken == "link"
    monkeypatch.undo()
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors are counted in /proc")
@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("spare", range(6))
def test_nothing_is_left_where_descriptors_run_out(spare, contiguous, tmp_path):
    resource = pytest.importorskip("resource")
    old = array(urlpath=tmp_path / "old", contiguous=contiguous)
    before = {*os.listdir("/proc/self/fd")}
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, before)) + 9
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(spare):
            os.close(held.pop())
        for use in (
            lambda: array(urlpath=tmp_path / "a", contiguous=contiguous),
            lambda: array(urlpath=tmp_path / "old", mode="w", contiguous=contiguous),
            lambda: old.save(tmp_path / "c"),
            lambda: cat.open(tmp_path / "old")[...],
            lambda: old.resize((9, 9)),
        ):
            with contextlib.suppress(cat.StorageError):
                use()
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert len({*os.listdir("/proc/self/fd")} - before) <= 1  # that of the listing
    assert {*os.listdir(tmp_path)} <= {"old", "a", "c"}


def test_a_file_with_holes_is_not_read_into_memory(tmp_path):
    path = tmp_path / "a"
    array(urlpath=path, contiguous=True)
    with open(path, "rb+") as file:
        for at, size in ((11, 4), (16, 8)):
            file.seek(at)
            file.write((500 << 20).to_bytes(size, "big"))
        file.truncate(500 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(cat.FormatError, match="a frame header of 524288000 bytes"):
            cat.open(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_urls_are_not_taken_for_paths():
    for use in (cat.remove, array().save, lambda url: array(urlpath=url)):
        with pytest.raises(cat.ArgumentError, match=r"'https://h/a\?\.\.\.' is a URL"):
            use("https://h/a?secret")


def test_the_other_byte_order_is_kept():
    swapped = ITEMS.astype(">i4")
    stored = cat.asarray(swapped)
    assert stored.dtype == np.dtype(">i4")
    assert stored.to_buffer() == swapped.tobytes()
    stored[0] = ITEMS[1]
    assert (stored[0] == ITEMS[1]).all()


def test_c_errors_print_nothing(capfd):
    pointer = ffi.new("uint8_t **")
    with pytest.raises(cat.CatervaError):
        check(
            lib.blosc2_schunk_get_chunk(array().schunk.ptr, 99, pointer, ffi.new("bool *")),
            "asking",
        )
    assert lib.blosc2_schunk_open(b"nowhere") == ffi.NULL
    assert capfd.readouterr() == ("", "")
