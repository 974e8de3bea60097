"""Metalayers as mappings."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi import lib

pytestmark = pytest.mark.usefixtures("in_empty_folder")


STORED = {
    "memory": {},
    "frame in memory": {"contiguous": True},
    "file": {"contiguous": True, "urlpath": "a.b2frame"},
    "directory": {"urlpath": "a"},
}
each_storage = pytest.mark.parametrize("storage", STORED.values(), ids=STORED)


def make(**kwargs):
    return cat.zeros((4, 6), 2, **{"chunks": (3, 3), "blocks": (2, 2), **kwargs})


def reopened(array):
    """Return the array as the next who opens it finds it."""
    if array.urlpath is not None:
        return cat.open(array.urlpath, mode="r")
    return cat.from_cframe(bytes(array.to_cframe()))


# --- metalayers of fixed length ---------------------------------------------------------------


@each_storage
def test_meta_is_a_mapping(storage):
    array = make(meta={"first": b"12345", "second": b"", "ñandú": bytes(range(256))}, **storage)
    for found in (array.meta, reopened(array).meta):
        assert isinstance(found, Mapping)
        assert not isinstance(found, MutableMapping)
        assert list(found) == ["caterva", "b2nd", "first", "second", "ñandú"]
        assert len(found) == 5
        assert found["first"] == found[b"first"] == b"12345"
        assert found["second"] == b""
        assert found["ñandú"] == bytes(range(256))
        assert "first" in found
        assert b"first" in found
        assert found.get("third", b"none") == b"none"
        assert dict(found.items())["first"] == b"12345"
        assert "'first': b'12345'" in repr(found)
        for missing in ("third", "", "firs", "first\0", "first\0x", b"\xff", "x" * 1000, 5, None):
            assert missing not in found
            with pytest.raises(KeyError):
                found[missing]


@each_storage
def test_meta_keeps_its_length(storage):
    array = make(meta={"note": b"12345", "none": b""}, **storage)
    array.meta["note"] = b"abcde"
    array.meta[b"note"] = np.frombuffer(b"ABCDE", "u1")
    array.meta["none"] = b""
    for wrong in (b"", b"1234", b"123456"):
        with pytest.raises(ValueError, match=f"'note': {len(wrong)} bytes instead of 5"):
            array.meta["note"] = wrong
    for missing in ("other", "note\0", 5):
        with pytest.raises(KeyError):
            array.meta[missing] = b"12345"
    for no_bytes in ("12345", 5, None):
        with pytest.raises(TypeError, match="expected an object with the buffer protocol"):
            array.meta["note"] = no_bytes
    with pytest.raises((TypeError, AttributeError)):
        del array.meta["note"]
    assert array.meta["note"] == reopened(array).meta["note"] == b"ABCDE"


def test_large_metalayers():
    content = np.random.default_rng(0).bytes(1_000_000)
    array = make(contiguous=True, meta={"large": content, "after": b"x"})
    array[...] = b"ab"
    found = reopened(array)
    assert found.meta["large"] == content
    assert found.meta["after"] == b"x"
    assert (found[...] == b"ab").all()


NAMES = {
    "longest": ("n" * 31, None),
    "longest in UTF-8": ("ñ" * 15, None),
    "bytes": (b"n", None),
    "bytes that are no text": (b"\xff\xfe", None),
    "spaces": (" ", None),
    "empty": ("", cat.ArgumentError),
    "too long": ("n" * 32, cat.ArgumentError),
    "too long in UTF-8": ("ñ" * 16, cat.ArgumentError),
    "NUL": ("a\0b", cat.ArgumentError),
    "number": (5, TypeError),
    "None": (None, TypeError),
}
each_name = pytest.mark.parametrize(("name", "error"), NAMES.values(), ids=list(NAMES))


@each_name
def test_names_of_metalayers(name, error):
    if error is None:
        array = make(meta={name: b"value"})
        assert array.meta[name] == reopened(array).meta[name] == b"value"
        text = name if isinstance(name, str) else name.decode(errors="surrogateescape")
        assert list(array.meta)[2] == text
        assert dict(array.copy().meta) == dict(array.meta)
    else:
        with pytest.raises(error, match="metalayer name"):
            make(meta={name: b"value"})


@each_name
def test_names_of_variable_length_metalayers(name, error):
    array = make()
    if error is None:
        array.vlmeta[name] = b"value"
        assert array.vlmeta[name] == reopened(array).vlmeta[name] == b"value"
        assert dict(array.copy().vlmeta) == dict(array.vlmeta)
        del array.vlmeta[name]
    else:
        with pytest.raises(error, match="metalayer name"):
            array.vlmeta[name] = b"value"
    assert len(array.vlmeta) == 0


def test_number_of_metalayers():
    most = lib.BLOSC2_MAX_METALAYERS - 2
    array = make(meta={f"n{k}": b"%d" % k for k in range(most)})
    assert len(reopened(array).meta) == most + 2
    assert array.meta["n13"] == b"13"
    with pytest.raises(cat.ArgumentError, match="17 metalayers; at most 16"):
        make(meta={f"n{k}": b"" for k in range(most + 1)})


@pytest.mark.parametrize("name", ["caterva", "b2nd", b"b2nd"])
def test_the_arrays_own_metalayers_are_not_the_users(name):
    with pytest.raises(cat.ArgumentError, match="belong to the array itself"):
        make(meta={name: b""})


@pytest.mark.parametrize("meta", [5, "text", [("a", b"b")]], ids=str)
def test_meta_is_made_of_a_mapping(meta):
    with pytest.raises(TypeError, match="expected a mapping"):
        make(meta=meta)


# --- metalayers of variable length ------------------------------------------------------------


@each_storage
def test_vlmeta_is_a_mutable_mapping(storage):
    array = make(**storage)
    found = array.vlmeta
    assert isinstance(found, MutableMapping)
    assert len(found) == 0
    found["first"] = b"1"
    found[b"second"] = bytearray(b"22")
    found["third"] = np.arange(3)
    found["empty"] = b""
    assert list(found) == ["first", "second", "third", "empty"]
    found["first"] = b"longer than before"
    found["second"] = b""
    assert found.pop("empty") == b""
    assert found.setdefault("second", b"other") == b""
    assert found.setdefault("fourth", b"4") == b"4"
    found.update({"fifth": b"5"})
    expected = {
        "first": b"longer than before",
        "second": b"",
        "third": np.arange(3).tobytes(),
        "fourth": b"4",
        "fifth": b"5",
    }
    assert dict(found) == expected
    assert dict(reopened(array).vlmeta) == expected
    del found["third"]
    del found[b"fifth"]
    for missing in ("third", "firs", "first\0", b"\xff", "x" * 1000, 5, None):
        assert missing not in found
        with pytest.raises(KeyError):
            found[missing]
        with pytest.raises(KeyError):
            del found[missing]
    assert list(reopened(array).vlmeta) == ["first", "second", "fourth"]
    found.clear()
    assert dict(reopened(array).vlmeta) == {}
    assert not array[...].any()


@each_storage
def test_large_vlmeta(storage):
    array = make(**storage)
    noise = np.random.default_rng(0).bytes(1_000_000)
    zeros = bytes(1_000_000)
    array.vlmeta["noise"] = noise
    array.vlmeta["zeros"] = zeros
    array[...] = b"ab"
    for found in (array, reopened(array)):
        assert found.vlmeta["noise"] == noise
        assert found.vlmeta["zeros"] == zeros
        assert (found[...] == b"ab").all()
    array.vlmeta["noise"] = b"small"
    del array.vlmeta["zeros"]
    assert dict(reopened(array).vlmeta) == {"noise": b"small"}
    assert len(array.to_cframe()) < 2000


@pytest.mark.parametrize("value", ["text", 5, None, np.zeros((4, 4))[:, ::2]], ids=type)
def test_vlmeta_is_bytes(value):
    array = make()
    with pytest.raises((TypeError, cat.ArgumentError), match="metalayer 'name'"):
        array.vlmeta["name"] = value
    assert "name" not in array.vlmeta


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.binary(max_size=300), max_size=8))
@settings(deadline=None, max_examples=25)
def test_any_vlmeta(content):
    content = {name: value for name, value in content.items() if "\0" not in name}
    content = {name: v for name, v in content.items() if len(name.encode()) <= 31}
    array = make(contiguous=True)
    array.vlmeta.update(content)
    assert dict(array.vlmeta) == dict(reopened(array).vlmeta) == content


@each_storage
def test_metalayers_survive_changes_of_shape(storage):
    array = cat.zeros((1, 6), 2, chunks=(1, 3), blocks=(1, 2), meta={"note": b"fixed"}, **storage)
    array.vlmeta["title"] = b"variable"
    array.resize((1, 9))
    array.append(np.zeros((1, 1), "S2"), axis=1)
    array.squeeze()
    for found in (array, reopened(array), array.copy()):
        assert found.shape == (10,)
        assert found.meta["note"] == b"fixed"
        assert dict(found.vlmeta) == {"title": b"variable"}
