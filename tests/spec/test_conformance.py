"""The conformance kit: the reference reader and the package make of each sample what it says."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from reference_reader import SPEC, reader

import caterva_cffi as cat
from caterva_cffi.numcodecs import Caterva

KIT = SPEC / "conformance"
SAMPLES = json.loads((KIT / "index.json").read_text("utf-8"))["samples"]
FRAMES = [sample for sample in SAMPLES if sample["kind"] == "frame"]
WRITTEN = [sample for sample in SAMPLES if sample.get("written")]


def each(samples):
    return pytest.mark.parametrize("sample", samples, ids=[sample["name"] for sample in samples])


class Ranges:
    """A frame that is read by ranges."""

    def __init__(self, data):
        self.data = data

    def read_ranges(self, ranges):
        return [self.data[start:stop] for start, stop in ranges]

    @property
    def size(self):
        return len(self.data)


def data_of(sample):
    return (KIT / sample["path"]).read_bytes()


def box_of(sample):
    """Return a box within the items of a sample."""
    shape = sample.get("shape", [])
    return [n // 3 for n in shape], [n - n // 4 for n in shape]


def check(sample, read, errors):
    """Compare what `read` returns with the sample; or what it raises."""
    try:
        found = read()
    except errors as error:
        assert sample["expect"] in ("refuse", "either"), error
        return error
    assert sample["expect"] in ("items", "either")
    expected = np.frombuffer((KIT / sample["items"]).read_bytes(), f"V{sample['itemsize']}")
    for box, items in found:
        whole = expected.reshape(sample["shape"])
        part = whole if box is None else whole[tuple(map(slice, *box))]
        assert np.asarray(items).tobytes() == part.tobytes()
        if "dtype" in sample:
            text = sample["dtype"]
            literal = ast.literal_eval(text) if text[0] in "[{" else text
            assert np.asarray(items).dtype == reader.dtype_of(literal)
    return None


def by_reference(sample, data):
    if sample["kind"] == "numcodecs":
        return [(None, reader.numcodecs_items(data))]
    if sample["kind"] == "zarr":
        array = sample["array"]
        dtype = np.dtype(array["data_type"])
        frame = reader.open_chunk(data, len(data), sample["codec"], array["shape"], dtype)
    else:
        frame = reader.Frame(lambda start, stop: data[start:stop], len(data))
    box = box_of(sample)
    return [(None, frame.read()), (box, frame.read(*box))]


@each(SAMPLES)
def test_reference_reader(sample):
    error = check(sample, lambda: by_reference(sample, data_of(sample)), reader.Refused)
    if sample["expect"] == "refuse":
        assert error.rule in sample["rules"]


ERRORS = (cat.CatervaError, ValueError, TypeError)


def by_memory(sample):
    array = cat.from_cframe(data_of(sample))
    box = box_of(sample)
    return [(None, array[...]), (box, array[tuple(map(slice, *box))])]


def by_ranges(sample):
    array = cat.open(Ranges(data_of(sample)))
    box = box_of(sample)
    return [(None, array[...]), (box, array[tuple(map(slice, *box))])]


@each(FRAMES)
@pytest.mark.parametrize("read", [by_memory, by_ranges])
def test_package(sample, read):
    error = check(sample, lambda: read(sample), ERRORS)
    optional = sample.get("needs") or sample["name"].startswith("big-endian")
    assert error is None or sample["expect"] == "refuse" or not optional


@each([sample for sample in SAMPLES if sample["kind"] == "numcodecs"])
def test_numcodecs(sample):
    check(sample, lambda: [(None, Caterva().decode(data_of(sample)))], ERRORS)


@each([sample for sample in SAMPLES if sample["kind"] == "zarr"])
@pytest.mark.parametrize("opened", [cat.open, zarr.open_array])
def test_zarr(sample, opened, tmp_path):
    grid = {"name": "regular", "configuration": {"chunk_shape": sample["array"]["shape"]}}
    keys = {"name": "default", "configuration": {"separator": "."}}
    metadata = {
        "zarr_format": 3, "node_type": "array", "fill_value": 0, "codecs": [sample["codec"]],
        "chunk_grid": grid, "chunk_key_encoding": keys, "attributes": {}, **sample["array"],
    }  # fmt: skip
    (tmp_path / "zarr.json").write_text(json.dumps(metadata))
    key = ".".join(["c", *("0" for _ in sample["array"]["shape"])])
    (tmp_path / key).write_bytes(data_of(sample))
    box = box_of(sample)

    def read():
        array = opened(str(tmp_path), mode="r")
        return [(None, array[...]), (box, array[tuple(map(slice, *box))])]

    errors = (*ERRORS, KeyError, zarr.errors.BaseZarrError)
    check(sample, read, errors)


def test_every_rule_has_samples():
    page = (SPEC / "caterva.md").read_text("utf-8")
    rules = set(re.findall(r"^(?:- )?\*\*(R-\d+)[.*]", page, re.M))
    assert rules == {rule for sample in SAMPLES for rule in sample["rules"]}
    refused = {
        rule for sample in SAMPLES if sample["expect"] == "refuse" for rule in sample["rules"]
    }
    text = dict(re.findall(r"^\*\*(R-\d+)\.\*\*(.*?)(?=^\*\*R-|^#)", page, re.M | re.S))
    assert {rule for rule, part in text.items() if "MUST refuse" in part} <= refused | {"R-85"}


def test_the_index_is_of_all_files():
    named = {sample[name] for sample in SAMPLES for name in ("path", "items") if name in sample}
    found = {
        path.relative_to(KIT).as_posix()
        for folder in ("frames", "items")
        for path in (KIT / folder).iterdir()
    }
    assert named == found
    assert sum((KIT / name).stat().st_size for name in named) < 1_000_000


def test_the_script_makes_the_same_samples(tmp_path):
    """Compressed bytes differ with the versions of libraries; what samples show does not."""
    command = [sys.executable, KIT / "make.py", tmp_path]
    subprocess.run(command, check=True, cwd=KIT, env=environment())
    assert (tmp_path / "index.json").read_text() == (KIT / "index.json").read_text()
    for sample in SAMPLES:
        if "items" in sample:
            made = (tmp_path / sample["items"]).read_bytes()
            assert hashlib.sha256(made).hexdigest()[:16] == Path(sample["items"]).stem


def environment():
    """Return the environment in which the package that is tested is found."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}  # modules are beside
    return {**inherited, "PYTHONPATH": str(Path(cat.__file__).parents[1])}


@each(WRITTEN)
def test_what_is_written_keeps_to_the_profile(sample):
    """Rules 110 to 116."""
    data = data_of(sample)
    frame = reader.Frame(data)
    header, g = frame.header, frame.geometry
    marks = {0: "9ea8", 10: "d2", 15: "cf", 24: "a41200", 29: "d3", 38: "d3", 47: "d2", 52: "d2"}
    marks |= {57: "d2", 62: "d10001d10001c2d806", 86: "00", 87: "93cd", 91: "de"}
    for at, mark in marks.items():
        assert header[at:].startswith(bytes.fromhex(mark))
    assert set(frame.layers) == {"b2nd"} | ({"crc32"} if frame.seal else set())
    assert frame.layers["b2nd"][1][:2] == b"\x97\0"
    assert frame.dtype.str[0] in "<|"
    at, stored = frame.header_len, []
    for number, offset in enumerate(frame.offsets):
        if offset < 0:
            assert offset == (1 << 56) - (1 << 63)
            continue
        assert offset == at - frame.header_len
        chunk = frame.chunk(number)
        assert (chunk.head[0], chunk.item, chunk.width) == (5, None, g.itemsize)
        at += chunk.cbytes
        stored.append(chunk)
    assert at == frame.header_len + frame.cbytes
    (size,) = struct.unpack_from("<i", data, at + 12)
    assert data[at + size :] == bytes.fromhex("940193cd0006de0000dc0000ce00000023d8") + bytes(17)
    for number, _chunk in enumerate(stored):
        check_padding(frame, number)


def check_padding(frame, number):
    """Assert that what a chunk has outside the array is zeros."""
    g, chunk = frame.geometry, frame.chunk(number)
    if isinstance(chunk, reader.Special):
        return
    at = np.unravel_index(number, g.grid)
    padded = np.empty([n * b for n, b in zip(g.blocks, g.block, strict=True)], f"V{g.itemsize}")
    for i, of in enumerate(np.ndindex(*g.blocks)):
        block = np.frombuffer(chunk.block(i), padded.dtype).reshape(g.block)
        span = (slice(n * b, (n + 1) * b) for n, b in zip(of, g.block, strict=True))
        padded[tuple(span)] = block
    sides = (slice(0, min(c, n - a * c)) for a, c, n in zip(at, g.chunk, frame.shape, strict=True))
    padded[tuple(sides)] = np.zeros((), padded.dtype)
    assert not any(padded.tobytes())
