"""Zarr's metadata: what is understood, and what is refused by name."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.zarr_format.metadata import consolidated_arrays, is_array, parse_array

FORMAT3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [4, 6],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 3]}},
    "chunk_key_encoding": {"name": "default"},
    "fill_value": 0,
    "codecs": [{"name": "caterva", "configuration": {"block_shape": [1, 3], "cname": "zstd"}}],
}
FORMAT2 = {
    "zarr_format": 2,
    "shape": [4, 6],
    "chunks": [2, 3],
    "dtype": "<f4",
    "compressor": {"id": "caterva", "block_shape": None, "checksum": True},
    "fill_value": None,
    "order": "C",
    "filters": None,
}
BASE = {3: ("zarr.json", FORMAT3), 2: (".zarray", FORMAT2)}


def parse(zarr_format, changes, **more):
    name, document = BASE[zarr_format]
    return parse_array({name: json.dumps({**document, **changes}).encode(), **more})


@pytest.mark.parametrize(
    ("changes", "key", "of_none"),
    [
        ({}, "c/1/0", "c"),
        ({"chunk_key_encoding": "default"}, "c/1/0", "c"),
        (
            {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}},
            "c.1.0",
            "c",
        ),
        ({"chunk_key_encoding": {"name": "v2"}}, "1.0", "0"),
        ({"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}}, "1/0", "0"),
    ],
)
def test_keys(changes, key, of_none):
    found = parse(3, changes)
    assert (found.key((1, 0)), found.key(())) == (key, of_none)


def test_format_3():
    found = parse(3, {"dimension_names": ["a", None], "attributes": {"b": 1}})
    assert (found.zarr_format, found.shape, found.chunks, found.dtype) == (3, (4, 6), (2, 3), "f4")
    assert (found.dimension_names, found.attributes) == (("a", None), {"b": 1})
    assert (found.parameters.block_shape, found.parameters.cname) == ((1, 3), "zstd")
    assert parse(3, {"extra": {"must_understand": False}}) == parse(3, {})


def test_format_2():
    found = parse(2, {"dimension_separator": "/"}, **{".zattrs": b'{"b": 1}'})
    assert (found.zarr_format, found.shape, found.chunks, found.dtype) == (2, (4, 6), (2, 3), "f4")
    assert (found.key((1, 0)), found.attributes, found.parameters.checksum) == (
        "1/0",
        {"b": 1},
        True,
    )
    assert parse(2, {"filters": []}).key((1, 0)) == "1.0"


SHARDING = {"name": "sharding_indexed", "configuration": {"codecs": FORMAT3["codecs"]}}


@pytest.mark.parametrize(
    ("zarr_format", "changes", "names"),
    [
        (3, {"codecs": [{"name": "bytes"}, {"name": "zstd"}]}, "'bytes', 'zstd'"),
        (3, {"codecs": [*FORMAT3["codecs"], {"name": "crc32c"}]}, "'caterva', 'crc32c'"),
        (3, {"codecs": [{"name": "transpose"}, "caterva"]}, "'transpose', 'caterva'"),
        (3, {"codecs": [SHARDING]}, "'sharding_indexed'"),
        (3, {"codecs": [{"name": "caterva", "configuration": {"new": 1}}]}, "new"),
        (3, {"chunk_grid": {"name": "rectilinear"}}, "'rectilinear'"),
        (3, {"chunk_key_encoding": {"name": "fanout"}}, "'fanout'"),
        (3, {"storage_transformers": [{"name": "x"}]}, "'x'"),
        (3, {"extra": {"must_understand": True}}, "'extra'"),
        (3, {"extra": 1}, "'extra'"),
        (2, {"compressor": {"id": "blosc"}}, "'blosc'"),
        (2, {"compressor": None}, "None"),
        (2, {"filters": [{"id": "delta"}]}, "'delta'"),
        (2, {"order": "F"}, "'F'"),
    ],
)
def test_what_only_zarr_reads(zarr_format, changes, names):
    with pytest.raises(cat.UnsupportedError, match=rf"{names}.*zarr.open_array"):
        parse(zarr_format, changes)


@pytest.mark.parametrize(
    ("zarr_format", "changes", "message"),
    [
        (3, {"zarr_format": 4}, "zarr.json: zarr_format is 4; expected 3"),
        (3, {"shape": [4]}, "differ in length"),
        (3, {"shape": [4, -1]}, "shape is"),
        (3, {"shape": [4, True]}, "shape is"),
        (3, {"shape": None}, "shape is"),
        (3, {"chunk_grid": None}, "chunk_grid is None"),
        (
            3,
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}},
            "of zero",
        ),
        (3, {"chunk_grid": {"name": "regular", "configuration": 5}}, "chunk_grid is"),
        (3, {"codecs": None}, "codecs are None"),
        (3, {"codecs": [5]}, "codecs are"),
        (3, {"codecs": [{"name": "caterva", "configuration": {"clevel": 99}}]}, "clevel is 99"),
        (3, {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "-"}}}, "'-'"),
        (3, {"attributes": []}, "attributes are"),
        (3, {"dimension_names": ["a"]}, "dimension_names are"),
        (3, {"fill_value": "a"}, "fill value 'a'"),
        (2, {"zarr_format": 3}, ".zarray: zarr_format is 3; expected 2"),
        (2, {"chunks": "a"}, "chunks is 'a'"),
        (2, {"compressor": 5}, "compressor is 5"),
        (2, {"dimension_separator": ""}, "separator"),
        (2, {"shape": [1] * 20, "chunks": [1] * 20}, "20 dimensions"),
    ],
)
def test_what_makes_no_sense(zarr_format, changes, message):
    with pytest.raises(cat.FormatError) as error:
        parse(zarr_format, changes)
    assert message in str(error.value)


def test_no_fill_value():
    document = {name: value for name, value in FORMAT3.items() if name != "fill_value"}
    with pytest.raises(cat.FormatError, match="no fill_value"):
        parse_array({"zarr.json": json.dumps(document).encode()})


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[]", b"", b"[" * 100_000])
def test_what_is_no_json(text):
    for use in (parse_array, is_array):
        with pytest.raises(cat.FormatError, match=r"zarr\.json"):
            use({"zarr.json": text})
    with pytest.raises(cat.FormatError, match=r"\.zattrs"):
        parse(2, {}, **{".zattrs": text})


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "id", "configuration"]), inner, max_size=3),
    ),
)


@given(st.sampled_from([2, 3]), st.data())
def test_any_change_is_understood_or_refused(zarr_format, data):
    name = data.draw(st.sampled_from(sorted(BASE[zarr_format][1])))
    with contextlib.suppress(cat.FormatError, cat.UnsupportedError):
        parse(zarr_format, {name: data.draw(_values)})


def test_nodes():
    assert is_array({}) is None and is_array({".zattrs": b"{}"}) is None
    assert is_array({".zarray": b"{}"}) and is_array({".zgroup": b"{}"}) is False
    assert is_array({"zarr.json": b'{"node_type": "group"}'}) is False
    with pytest.raises(cat.FormatError, match="node_type is None"):
        is_array({"zarr.json": b"{}"})


def test_arrays_that_a_group_names():
    members = {
        "a": {"node_type": "array"},
        "b": {"node_type": "group"},
        "b/c": {"node_type": "array"},
    }
    document = {"node_type": "group", "consolidated_metadata": {"metadata": members}}
    assert list(consolidated_arrays({"zarr.json": json.dumps(document).encode()})) == ["a", "b/c"]
    members = {"a/.zarray": {}, "a/.zattrs": {}, "b/c/.zarray": {}}
    document = json.dumps({"metadata": members}).encode()
    assert list(consolidated_arrays({".zmetadata": document})) == ["a", "b/c"]
    assert list(consolidated_arrays({"zarr.json": b'{"consolidated_metadata": null}'})) == []
