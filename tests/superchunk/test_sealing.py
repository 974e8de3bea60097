"""Checksums of arrays that change: sealed after each change, and damage stays."""

from __future__ import annotations

import numpy as np
import pytest
from checksums import ITEMS, PARTITION, WAYS, flipped, frame_of

import caterva_cffi as cat


def test_damage_stays_when_other_blocks_change():
    frame = frame_of(ITEMS, chunks=(60, 8), blocks=(4, 8))
    at = frame.index(b"\0CRC") + 4 * 17 - 1  # in the last block's checksum
    damaged = bytearray(flipped(frame, at + 100))
    array = cat.from_cframe(damaged, copy=True)
    [before] = cat.verify(array)
    assert before.chunk == 0 and before.block is not None
    row = 4 * ((before.block + 3) % 15)
    array[row : row + 4] = 0
    assert list(cat.verify(bytes(array.to_cframe()))) == [before]
    array[4 * before.block : 4 * before.block + 4] = 0
    assert cat.verify(bytes(array.to_cframe())).whole


@pytest.mark.parametrize("contiguous", [True, False])
def test_stored_arrays_are_sealed_after_each_change(contiguous, tmp_path):
    path = tmp_path / "array"
    array = cat.asarray(ITEMS, urlpath=path, contiguous=contiguous, **PARTITION)

    def check(expected):
        assert cat.verify(path).whole
        np.testing.assert_array_equal(cat.open(path, mode="r")[...], expected)
        np.testing.assert_array_equal(array[...], expected)

    expected = ITEMS.copy()
    check(expected)
    for number in range(2):  # once with the handle that made it, once with another one
        expected[3:40, ::3] = number
        array[3:40, ::3] = number
        check(expected)
        expected = np.vstack([expected, ITEMS[:5]])
        array.append(ITEMS[:5])
        check(expected)
        array.vlmeta[f"name {number}"] = b"value" * 20
        check(expected)
        expected = np.delete(expected, np.s_[2:20], 0)
        array.delete(2, 18)
        check(expected)
        with pytest.raises(ValueError, match="broadcast"):
            array[0] = np.zeros(3)
        check(expected)
        array = cat.open(path)
    assert array.copy().checksum and not array.copy(checksum=False).checksum
    index = path if contiguous else path / "chunks.b2frame"
    frame = index.read_bytes()
    for at in (30, len(frame) - 40, frame.index(b"crc32") - 40):
        index.write_bytes(flipped(frame, at))
        with pytest.raises(cat.FormatError, match=r"checksum|frame|metalayer|trailer"):
            cat.open(path)
        [damage] = cat.verify(path)
        assert damage.where == str(path) and damage.chunk is None


def masked(a):
    a[np.arange(200) % 50 == 3] = -1


def orthogonal(a):
    a.oindex[[1, 110]] = -1


CHANGES = {
    "index array": lambda a: a.__setitem__([1, 110], -1),
    "mask": masked,
    "oindex": orthogonal,
    "slice": lambda a: a.__setitem__(slice(10, 190), -1),
    "insert": lambda a: a.insert(5, [7, 8, 9]),
    "append": lambda a: a.append(np.zeros(30, int)),
    "delete": lambda a: a.delete(0),
    "shrink": lambda a: a.resize((30,)),
    "empty": lambda a: a.resize((0,)),
    "empty and fill": lambda a: a.resize((0,)).append([7, 8]),
}


@pytest.mark.parametrize("contiguous", [True, False])
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_that_read_what_they_wrote(change, way, contiguous, tmp_path):
    kwargs = {**way, "chunks": (50,), "blocks": (20,), "contiguous": contiguous}
    expected = cat.asarray(np.arange(200), **kwargs)
    array = cat.asarray(np.arange(200), checksum=True, urlpath=tmp_path / "a", **kwargs)
    for each in (expected, array):
        each.vlmeta["title"] = b"kept"
        change(each)
    for found in (array, cat.open(tmp_path / "a"), cat.from_cframe(array.to_cframe())):
        np.testing.assert_array_equal(found[...], expected[...])
        assert dict(found.vlmeta) == {"title": b"kept"}
    assert cat.verify(tmp_path / "a").whole


def test_damage_in_a_sparse_directory(tmp_path):
    path = tmp_path / "array"
    cat.asarray(ITEMS, urlpath=path, **PARTITION)
    for number, chunk in enumerate(sorted(path.glob("*.chunk"))):
        whole = chunk.read_bytes()
        for at in (0, 40, len(whole) - 1):
            chunk.write_bytes(flipped(whole, at))
            assert {damage.chunk for damage in cat.verify(path)} == {number}
        chunk.unlink()
        [damage] = cat.verify(path)
        assert damage.chunk == number and ".chunk" in damage.message
        chunk.write_bytes(whole)


def test_a_chunk_without_checksums_is_refused():
    array = cat.asarray(ITEMS, **PARTITION)
    other = cat.asarray(ITEMS, **{**PARTITION, "checksum": False})
    repeated = cat.full(ITEMS.shape, 7, dtype="<i4", **{**PARTITION, "checksum": False})
    stored = cat.asarray(ITEMS, **{**PARTITION, "checksum": False, "clevel": 0})
    for source in (other, repeated, stored):
        array.schunk.update_chunk(1, source._items.chunk_bytes(1))
        with pytest.raises(cat.FormatError, match="chunk 1: a chunk without the checksums"):
            array[20]
    with pytest.raises(cat.FormatError, match="without the checksums"):
        array[20] = 1
    assert array[0, 1] == 1
