"""Checksums: what they find, what they leave as it is, and what else reads them."""

from __future__ import annotations

import blosc2
import numpy as np
import pytest
import zarr
from checksums import ITEMS, PARTITION, WAYS, flipped, frame_of
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec


def header_length(frame):
    return int.from_bytes(frame[11:15], "big")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_changed_byte_is_noticed(way):
    array = cat.asarray(ITEMS, **{**PARTITION, "contiguous": True, **way})
    array.vlmeta["title"] = b"hello " * 9
    frame = bytes(array.to_cframe())
    # The name under which the frame says that it has checksums, and that they are valid.
    name = frame.index(b"crc32")
    seal = frame.index(b"\x01\x01\0\0", name)
    unnoticed = set()
    for at in range(len(frame)):
        for change in (1, 0x80, 0xFF, frame[at] or 2):
            damaged = frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :]
            try:
                read = cat.from_cframe(damaged)
                np.testing.assert_array_equal(read[...], ITEMS)
                assert dict(read.vlmeta) == {"title": b"hello " * 9}
                unnoticed.add(at)
            except cat.CatervaError:
                pass
    assert unnoticed <= {*range(name, name + 5), seal + 1}


@pytest.mark.parametrize("way", ["lz4", "zstd", "stored", "bitshuffle"])
def test_an_error_names_chunk_and_block(way):
    frame = frame_of(**WAYS[way])
    start = 0
    for number in range(4):
        start = frame.index(b"\0CRC", start + 1)
        size = int.from_bytes(frame[start - 16 - 32 + 12 : start - 16 - 32 + 16], "little")
        offsets = np.frombuffer(frame[start - 16 : start], "<i4")
        ends = [min([end for end in offsets if end > first], default=size) for first in offsets]
        for block, (first, end) in enumerate(zip(offsets, ends, strict=True)):
            for at in (first, end - 1):
                damaged = cat.from_cframe(flipped(frame, start - 48 + at))
                place = f"chunk {number}, block {block}: the checksum"
                with pytest.raises(cat.FormatError, match=place):
                    damaged[...]
                assert [(d.chunk, d.block) for d in cat.verify(damaged)] == [(number, block)]
                # What the other blocks hold can be read.
                others = np.s_[(number - 1) % 4 * 16 : (number - 1) % 4 * 16 + 16]
                np.testing.assert_array_equal(damaged[others], ITEMS[others])


SHAPES = st.lists(st.integers(0, 7), max_size=3).map(tuple)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_arrays_with_checksums_are_arrays(data):
    shape = data.draw(SHAPES)
    chunks = tuple(data.draw(st.integers(1, max(n, 1) + 2)) if n else 0 for n in shape)
    blocks = tuple(data.draw(st.integers(1, n)) if n else 0 for n in chunks)
    dtype = data.draw(st.sampled_from(["u1", "<i4", "<f8", "S300", ">c16"]))
    way = data.draw(st.sampled_from(list(WAYS.values())))
    random = data.draw(st.booleans())
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    raw = np.random.default_rng(count).bytes(size) if random else bytes(i % 5 for i in range(size))
    items = np.frombuffer(raw, dtype).reshape(shape)
    kwargs = {**way, "chunks": chunks, "blocks": blocks}
    array = cat.asarray(items, checksum=True, contiguous=data.draw(st.booleans()), **kwargs)
    plain = cat.asarray(items, **kwargs)
    threaded = cat.asarray(items, checksum=True, nthreads=3, **kwargs)
    if items.size:
        corner = tuple(slice(n // 2) for n in shape)
        for a in (array, plain):
            a[corner] = items[(0,) * len(shape)]
    frame = bytes(array.to_cframe())
    again = cat.from_cframe(frame)
    assert array.checksum and again.checksum and not plain.checksum
    assert again[...].tobytes() == array[...].tobytes() == plain[...].tobytes()
    assert threaded[...].tobytes() == items.tobytes()
    again = cat.asarray(items, checksum=True, nthreads=1, **kwargs)
    for number in range(again.nchunks):
        assert threaded._items.chunk_bytes(number) == again._items.chunk_bytes(number)
    assert cat.verify(frame).whole
    if items.ndim and items.size:
        theirs = blosc2.ndarray_from_cframe(frame)[...]
        assert np.ascontiguousarray(theirs).tobytes() == plain[...].tobytes()


class Ranges:
    def __init__(self, frame):
        self.frame = frame

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]


def test_ranges_of_a_frame_are_checked():
    array = cat.asarray(ITEMS, **{**PARTITION, "contiguous": True})
    array.vlmeta["title"] = b"hello"
    frame = bytes(array.to_cframe())
    start = frame.rindex(b"\0CRC")  # of the last chunk
    offsets = np.frombuffer(frame[start - 16 : start], "<i4")
    damaged = flipped(frame, start - 48 + int(offsets[2]))
    remote = cat.open(Ranges(damaged))
    assert remote.checksum
    np.testing.assert_array_equal(remote[:56], ITEMS[:56])
    np.testing.assert_array_equal(remote[57, 4:], ITEMS[57, 4:])
    with pytest.raises(cat.FormatError, match="chunk 3, block 2: the checksum"):
        remote[57, 3]
    assert remote.vlmeta["title"] == b"hello"
    trailer = cat.open(Ranges(flipped(frame, len(frame) - 40)))
    np.testing.assert_array_equal(trailer[...], ITEMS)
    with pytest.raises(cat.FormatError, match="trailer"):
        dict(trailer.vlmeta)
    for at in (35, start - 10, start + 5):
        with pytest.raises(cat.FormatError, match="checksum"):
            cat.open(Ranges(flipped(frame, at)))[57, 3]


def test_changes_by_others_are_refused(tmp_path):
    path = tmp_path / "array.b2nd"
    cat.asarray(ITEMS, urlpath=path, contiguous=True, **PARTITION)
    theirs = blosc2.open(str(path), mode="a")
    np.testing.assert_array_equal(theirs[...], ITEMS)
    theirs[3, 4] = 1
    with pytest.raises(cat.FormatError, match="a program that keeps no checksums"):
        cat.open(path)


def test_one_value_is_checked_too():
    array = cat.full((60, 8), 7, dtype="<i4", contiguous=True, **PARTITION)
    frame = bytes(array.to_cframe())
    assert cat.verify(frame).whole
    for at in range(header_length(frame), len(frame)):
        assert cat.verify(flipped(frame, at))
    zeros = cat.zeros((60, 8), dtype="<i4", contiguous=True, **PARTITION)
    zeros[17:20] = 3
    assert cat.verify(bytes(zeros.to_cframe())).whole


def test_limits():
    kwargs = {"itemsize": 1, "chunks": (2**31 - 100,), "blocks": (2**20,), "dtype": "u1"}
    with pytest.raises(cat.CapacityError, match="at most"):
        cat.empty((2**31 - 100,), checksum=True, **kwargs)
    with pytest.raises(cat.ArgumentError, match=r"'crc32'.* belong to the array"):
        cat.asarray(ITEMS, meta={"crc32": b""})
    with pytest.raises(TypeError, match="checksum is 1"):
        Caterva(checksum=1)


def test_unknown_checksums():
    frame = frame_of()
    at = frame.index(b"\x01\x01\0\0", frame.index(b"crc32"))
    with pytest.raises(cat.UnsupportedError, match="an unknown kind of checksums"):
        cat.from_cframe(frame[:at] + b"\2" + frame[at + 1 :])


def test_numcodecs():
    codec = Caterva(block_shape=(8, 4), checksum=True)
    frame = codec.encode(ITEMS)
    np.testing.assert_array_equal(codec.decode(frame).reshape(ITEMS.shape), ITEMS)
    damaged = flipped(frame, len(frame) - 300)
    [damage] = cat.verify(damaged)
    assert damage.block is not None
    with pytest.raises(cat.FormatError, match=f"block {damage.block}: the checksum"):
        codec.decode(damaged)
    first = codec.decode_partial(damaged, 0, 8)
    np.testing.assert_array_equal(first, ITEMS[0])


def zarr_array(path, **kwargs):
    codec = CatervaCodec(block_shape=(8, 4), checksum=True)
    options = {"chunks": (20, 8), "serializer": codec, "compressors": None, **kwargs}
    array = zarr.create_array(str(path), shape=ITEMS.shape, dtype="<i4", **options)
    array[...] = ITEMS
    assert array.metadata.to_dict()["codecs"]
    return zarr.open_array(str(path), mode="r+")


def test_partial_reads_check_what_they_read(tmp_path):
    path = tmp_path / "a.zarr"
    array = zarr_array(path)
    array[5, 3:6] = 9
    expected = ITEMS.copy()
    expected[5, 3:6] = 9
    np.testing.assert_array_equal(array[...], expected)
    assert cat.verify(path).whole and cat.verify(array).whole
    chunk = path / "c" / "1" / "0"
    frame = chunk.read_bytes()
    chunk.write_bytes(flipped(frame, len(frame) - 200))
    [damage] = cat.verify(path)
    assert damage.where.endswith("c/1/0") and damage.chunk == 0
    rows = range(20 + damage.block // 2 * 8, min(28 + damage.block // 2 * 8, 40))
    columns = np.s_[4:] if damage.block % 2 else np.s_[:4]
    others = np.s_[:4] if damage.block % 2 else np.s_[4:]
    for row in rows:
        np.testing.assert_array_equal(array[row, others], expected[row, others])
        with pytest.raises(cat.FormatError, match=f"c/1/0.*block {damage.block}: the checksum"):
            array[row, columns]
    chunk.write_bytes(frame.replace(b"crc32", b"crc33"))
    with pytest.raises(cat.FormatError, match="has no checksums, which the array's codec writes"):
        array[25, 3]
