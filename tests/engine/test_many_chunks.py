"""Many chunks, read: memory that does not grow with their number, and few requests."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from checkout import TESTS
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.engine import many_chunks, objects
from caterva_cffi.geometry import cutting
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.geometry.keys import normalize
from caterva_cffi.planning.layout import whole_layout
from caterva_cffi.planning.policy import get_read_policy

MANY = 1000


SCRIPT = TESTS / "scripts" / "many_chunks.py"


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Frames of chunks of one byte, by what they hold."""
    folder, n = tmp_path_factory.mktemp("frames"), 200_000
    zeros = cat.zeros((n,), dtype="u1", chunks=(1,), contiguous=True).to_cframe()
    ones = encode_frame(np.ones(n, "u1"), Grid((n,), (1,), (1,), 1), Compression())
    for name, frame in (("zeros", zeros), ("ones", ones)):
        (folder / name).write_bytes(frame)
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("door", ["memory", "file", "remote", "zarr", "part"])
@pytest.mark.parametrize("name", ["zeros", "ones"])
def test_memory_does_not_grow_with_the_number_of_chunks(frames, door, name):
    pytest.importorskip("zarr")
    done = subprocess.run(
        [sys.executable, SCRIPT, door, frames / name],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(cat.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) < 24 << 20


class Ranges:
    """A frame that is read by ranges, which are counted."""

    def __init__(self, frame):
        self.frame, self.rounds, self.nbytes = frame, 0, 0

    def read_ranges(self, ranges):
        self.rounds += 1
        self.nbytes += sum(stop - start for start, stop in ranges)
        return [self.frame[start:stop] for start, stop in ranges]


def test_many_small_chunks_come_in_few_requests(frames):
    frame = (frames / "ones").read_bytes()
    reader = Ranges(frame)
    assert (cat.open(reader)[...] == 1).all()
    assert reader.rounds < 2 + 200_000 / cutting.AT_ONCE + 1
    assert reader.nbytes < 1.1 * len(frame)


SHAPE, CHUNKS, BLOCKS = (13, 9, 10), (3, 2, 4), (2, 2, 3)


def sides():
    """Slices along each dimension, and at times an index array."""
    return st.tuples(*(
        st.one_of(
            st.builds(slice, st.integers(0, n), st.integers(0, n), st.integers(1, n)),
            st.builds(slice, st.none(), st.none(), st.sampled_from([-2, -1, None])),
            st.lists(st.integers(0, n - 1), min_size=1, max_size=4) if d == 1 else st.just(n - 1),
        )
        for d, n in enumerate(SHAPE)
    ))  # fmt: skip


NUMBERS = np.random.default_rng(0).integers(0, 1 << 30, SHAPE, "<i4") * (np.arange(10) < 4)


@pytest.fixture(scope="module", params=[False, True], ids=["", "checksum"])
def arrays(tmp_path_factory, request):
    """The same items, some chunks of which are zeros, wherever arrays can be."""
    folder = tmp_path_factory.mktemp("arrays")
    options = {"chunks": CHUNKS, "blocks": BLOCKS, "checksum": request.param}
    frame = cat.asarray(NUMBERS, contiguous=True, **options).to_cframe()
    in_files = in_zarr(NUMBERS, request.param, folder / "zarr")
    time.sleep(0.06)  # until a change would show in the file's times
    return [
        cat.from_cframe(frame),
        cat.from_cframe(frame, copy=True),
        cat.asarray(NUMBERS, **options),
        cat.asarray(NUMBERS, urlpath=folder / "file", contiguous=True, **options),
        cat.asarray(NUMBERS, urlpath=folder / "directory", **options),
        cat.open(Ranges(frame)),
        in_zarr(NUMBERS, request.param),
        in_files,
    ]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_many_chunks_are_read_as_a_few_are(arrays, data):
    key = data.draw(sides())
    backwards = any(side.step and side.step < 0 for side in key if isinstance(side, slice))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "MANY", 1)
        at_once = data.draw(st.integers(1, 12))
        patch.setattr(cutting, "AT_ONCE", at_once)
        patch.setattr(many_chunks, "AT_ONCE", at_once)
        patch.setattr(many_chunks, "_SMALL", data.draw(st.sampled_from([0, 1 << 16])))
        patch.setattr(many_chunks, "_BYTES", data.draw(st.sampled_from([1, 2000, 1 << 20])))
        for array in arrays:
            if isinstance(array, cat.NDArray | cat.RemoteArray):
                assert (array[key] == NUMBERS[key]).all()
            elif not backwards:
                assert (array.oindex[key] == NUMBERS[key]).all()


def in_zarr(items, checksum, store=None):
    """Return a Zarr array of one chunk, which is a frame of many."""
    zarr = pytest.importorskip("zarr")
    from caterva_cffi.zarr import CatervaCodec

    codec = CatervaCodec(block_shape=BLOCKS, chunk_shape=CHUNKS, checksum=checksum)
    array = zarr.create_array(
        store or {}, shape=SHAPE, chunks=SHAPE, dtype="<i4", serializer=codec,
        compressors=None,
    )  # fmt: skip
    array[...] = items
    return array


@pytest.mark.parametrize("kind", ["memory", "file", "remote", "codec"])
@pytest.mark.parametrize("cbytes", [-1, 31, 1 << 30])
def test_a_damaged_chunk_among_many_is_named(tmp_path, kind, cbytes):
    n, damaged = 2 * cutting.MANY, cutting.MANY + 3
    frame = encode_frame(np.ones(n, "u1"), Grid((n,), (1,), (1,), 1), Compression())
    frame = bytearray(frame)
    at = int(whole_layout(frame).offsets[damaged])
    struct.pack_into("<i", frame, at + 12, cbytes)
    (tmp_path / "frame").write_bytes(frame)
    doors = {
        "memory": lambda: cat.from_cframe(frame)[1:],
        "file": lambda: cat.open(tmp_path / "frame")[1:],
        "remote": lambda: cat.open(Ranges(frame))[1:],
        "codec": lambda: decode(frame),
    }
    with pytest.raises(cat.FormatError, match=f"chunk {damaged} has {cbytes} bytes"):
        doors[kind]()


def decode(frame):
    """Decode a frame as Zarr's chunks are."""
    everything = normalize((slice(1, None),), whole_layout(frame).grid.shape)
    usual = Grid((2,), (2,), (2,), 1)
    read = objects.ObjectRead(
        objects.Selected(everything), usual, get_read_policy("local"), lambda layout: None
    )
    return read.decode(frame)
