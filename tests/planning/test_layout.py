"""Where chunks are: the offsets say it, whatever else lies in a frame."""

from __future__ import annotations

import blosc2
import numpy as np
import pytest
import zarr

import caterva_cffi as cat
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

pytestmark = pytest.mark.usefixtures("in_empty_folder")


# --- frames without items -------------------------------------------------------------------------


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("storage", [{}, {"contiguous": True}, {"contiguous": True, "urlpath": 1}])
def test_an_emptied_array_is_a_frame(storage, checksum, tmp_path):
    kwargs = {"chunks": (100,), "blocks": (100,), "checksum": checksum, **storage}
    if "urlpath" in kwargs:
        kwargs["urlpath"] = tmp_path / "emptied"
    made = cat.asarray(np.arange(1000), **kwargs)
    made.vlmeta["kept"] = b"1" * 2000
    made.resize((0,))
    made.save(tmp_path / "a")
    for found in (
        cat.open(tmp_path / "a"),
        cat.open((tmp_path / "a").as_uri()),
        cat.from_cframe(made.to_cframe()),
        made,
    ):
        assert found.shape == (0,) and found[...].size == 0
        assert dict(found.vlmeta) == {"kept": b"1" * 2000}
        assert len(bytes(made.to_cframe())) < 500  # and nothing of the chunks that it had
    del found
    made.append(np.arange(3))
    assert cat.from_cframe(bytes(made.to_cframe()))[...].tolist() == [0, 1, 2]
    assert len(bytes(made.to_cframe())) < 600


# --- frames with bytes that are no chunk's --------------------------------------------------------


def left_by_delete(made):
    made.resize((10,))
    made[:] = 0


def left_by_reuse(made):
    made.resize((10,))
    made[:] = 0
    made[:] = np.random.default_rng(1).integers(0, 9, 10)


def left_by_insert(made):
    made.insert(0, np.zeros(10, int))
    made.delete(10, 20)


def left_by_emptying(made):
    made.resize((0,))
    made.append(np.arange(7))


def by_ranges(frame):
    class Ranges:
        def read_ranges(self, ranges):
            return [frame[start:stop] for start, stop in ranges]

    return cat.open(Ranges())


def from_file(frame):
    with open("frame", "wb") as file:
        file.write(frame)
    return cat.open("frame", mode="r")


def as_zarr_chunk(frame):
    like = cat.from_cframe(frame)
    store = zarr.storage.MemoryStore()
    z = zarr.create_array(
        store,
        shape=like.shape,
        chunks=like.shape,
        dtype=like.dtype,
        serializer=CatervaCodec(),
        compressors=None,
    )
    store._store_dict["c/0"] = zarr.core.buffer.cpu.Buffer.from_bytes(frame)
    return z


def edited_as_zarr_chunk(frame):
    z = as_zarr_chunk(frame)
    z[0] = z[0]
    return z


READERS = {
    "from_cframe": cat.from_cframe,
    "by ranges": by_ranges,
    "from a file": from_file,
    "numcodecs": lambda frame: Caterva().decode(frame).view(int),
    "zarr": as_zarr_chunk,
    "edited": edited_as_zarr_chunk,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("storage", [{}, {"urlpath": "a"}], ids=["memory", "file"])
@pytest.mark.parametrize("leave", [left_by_delete, left_by_reuse, left_by_insert, left_by_emptying])
def test_offsets_say_where_chunks_are(leave, storage, checksum, read):
    items = np.random.default_rng(0).integers(1, 1 << 40, 20)
    kwargs = {"chunks": (10,), "blocks": (5,), "checksum": checksum}
    expected = cat.asarray(items, **kwargs)
    made = cat.asarray(items, contiguous=True, **kwargs, **storage)
    for each in (expected, made):
        leave(each)
    found = read(bytes(made.to_cframe()))
    assert found[:].tolist() == expected[:].tolist()
    for k in range(0, expected.shape[0], 3):
        assert found[k] == expected[k]


def test_frames_that_others_left_bytes_in():
    theirs = blosc2.asarray(np.arange(1, 21), chunks=(10,), blocks=(10,), urlpath="theirs")
    theirs.resize((10,))
    theirs[:] = 0
    for read in READERS.values():
        assert not np.any(read(theirs.to_cframe())[:])
    assert not cat.open("theirs")[:].any()
    theirs.resize((0,))
    theirs.schunk.vlmeta["kept"] = 1
    for found in (cat.open("theirs"), by_ranges(theirs.to_cframe())):
        assert found[:].size == 0 and len(found.vlmeta["kept"]) == 1


@pytest.mark.parametrize("checksum", [True, False])
def test_one_request_finds_the_only_chunk_of_a_new_frame(checksum):
    for items in (np.arange(1000), np.zeros(1000, int)):
        frame = bytes(
            encode_frame(items, Grid((1000,), (1000,), (250,), 8, checksum), cat.Compression())
        )
        asked = []

        class Counting:
            def read_ranges(self, ranges, frame=frame, asked=asked):
                asked.append(ranges)
                return [frame[start:stop] for start, stop in ranges]

        with cat.open(Counting()):
            assert len(asked) == 1
