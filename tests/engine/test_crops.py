"""Many boxes of one shape, read together: the same items as one by one, each block decoded once."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_arrays import FRAME, ITEMS, Counting
from system_reads import counted_by_the_system, system_reads

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine import crops, groups
from caterva_cffi.zarr import CatervaCodec

STARTS = np.random.default_rng(2).integers(0, 64 - 20 + 1, (50, 3))
SHAPE = (20, 20, 20)


def cut(items, starts, shape):
    boxes = [items[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]
             for start in np.asarray(starts).tolist()]  # fmt: skip
    return np.array(boxes, items.dtype).reshape(len(boxes), *shape)


@st.composite
def cases(draw):
    ndim = draw(st.integers(0, 4))
    lengths = [draw(st.lists(st.integers(1, 9), min_size=ndim, max_size=ndim)) for _ in range(3)]
    shape, chunks, blocks = lengths
    chunks = [min(c, n) for c, n in zip(chunks, shape, strict=True)]
    blocks = [min(b, c) for b, c in zip(blocks, chunks, strict=True)]
    box = [draw(st.integers(0, n)) for n in shape]
    start = st.tuples(*(st.integers(0, n - k) for n, k in zip(shape, box, strict=True)))
    starts = draw(st.lists(start, max_size=12))
    return shape, chunks, blocks, box, starts, draw(st.sampled_from(["u1", "<i2", ">f8", "S3"]))


def opened(items, kind, folder, **partition):
    """Return an array of items, stored in one of the ways."""
    if kind.startswith("zarr"):
        return opened_zarr(items, kind, folder, **partition)
    path = None if kind in ("memory", "frame", "reader") else f"{folder}/{os.urandom(8).hex()}"
    contiguous = kind not in ("memory", "directory")
    array = cat.asarray(items, urlpath=path, contiguous=contiguous, **partition)
    return cat.open(Counting(bytes(array.to_cframe()))) if kind == "reader" else array


class Files:
    """A store of the files in a directory."""

    def __init__(self, directory):
        self.directory = directory

    def read_objects(self, requests):
        paths = [self.directory / key for key, _ in requests]
        return [
            path.read_bytes()[slice(*(part or (None,)))] if path.is_file() else None
            for path, (_, part) in zip(paths, requests, strict=True)
        ]


def opened_zarr(items, kind, folder, chunks, blocks, checksum=False):
    """Return an array that Zarr wrote; chunks that hold only zeros are not stored."""
    path = folder / os.urandom(8).hex()
    codec = CatervaCodec(block_shape=blocks, checksum=checksum)
    z = zarr.create_array(
        path, shape=items.shape, dtype=items.dtype, chunks=chunks, serializer=codec,
        compressors=None, fill_value=0 if items.dtype.kind != "S" else b"",
        config={"write_empty_chunks": False},
    )  # fmt: skip
    z[...] = items
    return cat.open(path if kind == "zarr" else Files(path))


KINDS = ["memory", "frame", "file", "directory", "reader", "zarr", "zarr store"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(case=cases(), checksum=st.booleans(), few=st.booleans(), nones=st.integers(0, 3))
def test_same_as_one_by_one(kind, case, checksum, few, nones, tmp_path_factory):
    shape, chunks, blocks, box, starts, dtype = case
    if kind.startswith("zarr"):  # whose arrays have items in native order
        dtype = {">f8": "f8", "S3": "c8"}.get(dtype, dtype)
    items = np.random.default_rng(3).integers(0, 5, shape).astype(dtype)
    if shape:
        items[:nones] = np.zeros((), dtype)  # chunks of one value
    how = {"chunks": chunks, "blocks": blocks, "checksum": checksum}
    array = opened(items, kind, tmp_path_factory.getbasetemp(), **how)
    with pytest.MonkeyPatch.context() as patch:
        if few:
            patch.setattr(crops, "PARTS", 3)
            patch.setattr(groups, "GROUP_BYTES", 300)
        given = np.array(starts, int).reshape(len(starts), len(shape))
        found = array.read_many(given, box)
        memory = np.zeros((len(starts), *(2 * n for n in box)), dtype)
        out = memory[(slice(None, None, -1), *(slice(None, None, 2) for _ in box))]
        assert array.read_many(given, box, out=out) is out
    expected = cut(items, starts, box)
    np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_array_equal(out, expected, strict=True)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_of_very_many_chunks(kind, tmp_path):
    items = np.arange(40 * 40, dtype="i4").reshape(40, 40)
    array = opened(items, kind, tmp_path, chunks=(2, 2), blocks=(2, 2))
    starts = [(0, 0), (1, 3)]
    np.testing.assert_array_equal(array.read_many(starts, (37, 37)), cut(items, starts, (37, 37)))


@counted_by_the_system
def test_each_block_is_read_once(tmp_path):
    """Also if many boxes have items in it, and in whatever order they are given."""
    items = np.random.default_rng(0).integers(0, 99, (256, 256)).astype("u1")
    how = {"chunks": (256, 256), "blocks": (64, 64), "codec": cat.Codec.LZ4}
    array = cat.asarray(items, urlpath=tmp_path / "a.b2nd", contiguous=True, nthreads=1, **how)
    starts = np.random.default_rng(1).integers(0, 256 - 50 + 1, (200, 2))
    array.read_many(starts[:1], (50, 50))
    with system_reads() as counted:
        array.read_many(starts, (50, 50))
    head = 16 << 10
    assert counted[0].nbytes < 1.1 * array.cbytes + head


def test_one_call_of_the_kernel(monkeypatch):
    array = cat.asarray(ITEMS, chunks=(32, 32, 32), blocks=(8, 8, 8))
    calls = []
    real = Kernel.decode_shared
    monkeypatch.setattr(
        Kernel, "decode_shared", lambda self, *args: calls.append(1) or real(self, *args)
    )
    np.testing.assert_array_equal(array.read_many(STARTS, SHAPE), cut(ITEMS, STARTS, SHAPE))
    assert len(calls) == 1


def test_rounds_and_bytes_behind_a_network():
    reader = Counting(FRAME)
    array = cat.open(reader)
    reader.counted()
    array.read_many(STARTS, SHAPE)
    rounds, _, nbytes = reader.counted()
    assert rounds <= 2
    assert nbytes < 1.2 * len(FRAME)


@pytest.mark.parametrize(
    ("starts", "shape", "error", "text"),
    [
        ([(0, 0, 45)], SHAPE, IndexError, r"box 0, from \(0, 0, 45\) on, of shape \(20, 20, 20\)"),
        ([(0, 0, 0), (-1, 0, 0)], SHAPE, IndexError, "box 1"),
        ([(0, 0)], SHAPE, IndexError, "one row of 3 integers"),
        ([0, 0, 0], SHAPE, IndexError, "one row of 3 integers"),
        ([(0, 0, 0)], (20, 20), IndexError, "3 lengths"),
        ([(0, 0, 0)], (20, 20, -1), IndexError, "negative"),
        ([(0, 0, 0)], (20, 20, 65), IndexError, "not lie inside"),
        ([(0, 0, 0)], 20, TypeError, "shape is 20; expected an integer"),
        ([(0, 0, 0)], (20, 20, 2.0), TypeError, "shape is "),
        ([(0.0, 0.0, 0.0)], SHAPE, TypeError, "float64; expected integers"),
        (np.array([(2**63, 0, 0)], "u8"), SHAPE, IndexError, "box 0"),
    ],
)
def test_refused(starts, shape, error, text):
    array = cat.asarray(ITEMS, chunks=(32, 32, 32), blocks=(8, 8, 8))
    with pytest.raises(error, match=text):
        array.read_many(starts, shape)


def test_destination_that_does_not_fit():
    array = cat.asarray(ITEMS)
    with pytest.raises(cat.ArgumentError, match="expected"):
        array.read_many(STARTS, SHAPE, out=np.empty((49, 20, 20, 20), "f4"))


def test_damaged_chunk_is_named(tmp_path):
    path = tmp_path / "a.b2nd"
    array = cat.asarray(ITEMS, chunks=(32, 32, 32), blocks=(8, 8, 8), checksum=True, urlpath=path,
                        contiguous=True)  # fmt: skip
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(cat.FormatError, match=r"chunk \d, block \d+"):
        array.read_many([(0, 0, 0)] * 2, (64, 64, 64))


def test_in_a_forked_and_an_unpickled_copy(tmp_path):
    array = cat.asarray(ITEMS, chunks=(32, 32, 32), blocks=(8, 8, 8), contiguous=True,
                        urlpath=tmp_path / "a.b2nd")  # fmt: skip
    expected = array.read_many(STARTS, SHAPE)
    copied = pickle.loads(pickle.dumps(array))
    np.testing.assert_array_equal(copied.read_many(STARTS, SHAPE), expected)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(array.read_many(STARTS, SHAPE), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
