"""Data types and fill values, as Zarr's metadata have them."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.zarr_format.items import (
    dtype_of,
    dtype_of_format2,
    fill_value_of,
    fill_value_of_format2,
)

DATES = {"name": "numpy.datetime64", "configuration": {"unit": "us", "scale_factor": 10}}
GENERIC = {"name": "numpy.timedelta64", "configuration": {"unit": "generic", "scale_factor": 1}}
TEXT = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 8}}
BYTES = {"name": "null_terminated_bytes", "configuration": {"length_bytes": 3}}
STRUCTURE = {
    "name": "struct",
    "configuration": {
        "fields": [{"name": "a", "data_type": "int16"}, {"name": "b", "data_type": DATES}]
    },
}


@pytest.mark.parametrize(
    ("data_type", "dtype"),
    [
        ("bool", "?"),
        ("uint16", "u2"),
        ("complex64", "c8"),
        ({"name": "float16"}, "f2"),
        ("r24", "V3"),
        (DATES, "M8[10us]"),
        (GENERIC, "m8"),
        (TEXT, "U2"),
        (BYTES, "S3"),
        (STRUCTURE, [("a", "i2"), ("b", "M8[10us]")]),
        ({"name": "structured", "configuration": {"fields": [["a", "int8"]]}}, [("a", "i1")]),
    ],
)
def test_data_types(data_type, dtype):
    assert dtype_of(data_type) == np.dtype(dtype)


@pytest.mark.parametrize(
    "data_type",
    [
        *("string", "bfloat16", "r7", "r0", "variable_length_bytes", "complex256", None, 5, []),
        {"name": "fixed_length_utf32", "configuration": {"length_bytes": 7}},
        {"name": "fixed_length_utf32"},
        {"name": "numpy.datetime64", "configuration": {"unit": "years", "scale_factor": 1}},
        {"name": "struct", "configuration": {"fields": [["a", "string"]]}},
        {"name": "struct", "configuration": {"fields": 5}},
        {"name": "null_terminated_bytes", "configuration": {"length_bytes": 0}},
    ],
)
def test_other_data_types(data_type):
    with pytest.raises(cat.UnsupportedError, match="data type"):
        dtype_of(data_type)


@pytest.mark.parametrize(
    ("found", "dtype"),
    [
        (">i4", ">i4"),
        ("|S3", "S3"),
        ("<M8[ns]", "<M8[ns]"),
        (
            [["a", "<i2"], ["b", [["c", "|u1"]], [2, 3]]],
            [("a", "<i2"), ("b", [("c", "u1")], (2, 3))],
        ),
    ],
)
def test_dtypes_of_format_2(found, dtype):
    assert dtype_of_format2(found) == np.dtype(dtype)


@pytest.mark.parametrize("found", ["|O", "nonsense", 5, None, {}, [["a"]], [["a", "|O"]], "|S0"])
def test_other_dtypes_of_format_2(found):
    with pytest.raises(cat.UnsupportedError):
        dtype_of_format2(found)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (5, "i4", 5),
        (5.0, ">i4", 5),
        (2**64 - 1, "u8", 2**64 - 1),
        (True, "?", True),
        (1.5, "f4", 1.5),
        (7, "f2", 7),
        ("NaN", "f8", np.nan),
        ("-Infinity", ">f4", -np.inf),
        (["NaN", 2], "c16", complex(np.nan, 2)),
        ([1, "0x40000000"], ">c8", 1 + 2j),
        (1, "M8[s]", np.datetime64(1, "s")),
        ("NaT", "m8[s]", np.timedelta64("NaT", "s")),
        ("YQ==", "S3", b"a"),
        ("ab", "U3", "ab"),
        ([1, 255], "V2", np.void(b"\1\xff")),
        ("Af8=", "V2", np.void(b"\1\xff")),
        ({"a": 1, "b": "NaN"}, [("a", "i2"), ("b", "f4")], (1, np.nan)),
        ("AQAAAMB/", [("a", "<i2"), ("b", "<f4")], (1, np.nan)),
    ],
)
def test_fill_values(value, dtype, expected):
    found = fill_value_of(value, np.dtype(dtype))
    assert (found.shape, found.dtype) == ((), np.dtype(dtype))
    assert found.tobytes() == np.array(expected, dtype).tobytes()


def test_the_bits_of_a_number_are_kept():
    assert fill_value_of("0x7fc00001", np.dtype("<f4")).tobytes() == b"\x01\x00\xc0\x7f"
    assert fill_value_of("0x7fc00001", np.dtype(">f4")).tobytes() == b"\x7f\xc0\x00\x01"


@pytest.mark.parametrize("read", [fill_value_of, fill_value_of_format2])
@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        *(("a", "i4"), (1.5, "i4"), (300, "u1"), (True, "i4"), (1, "?"), ("nan", "f4")),
        *(("0x00", "f4"), ([1], "c8"), (1, "c8"), ("=", "S3"), ("AQ==", "V2"), (["a"], "V1")),
        *((7, "U3"), ("x", "M8[s]"), ([], "f4"), ({}, "i4"), (True, "f4")),
    ],
)
def test_wrong_fill_values(read, value, dtype):
    with pytest.raises(cat.FormatError, match="fill value"):
        read(value, np.dtype(dtype))


def test_no_fill_value_in_format_3():
    with pytest.raises(cat.FormatError):
        fill_value_of(None, np.dtype("i4"))


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (None, ">i4", 0),
        (None, "S3", b""),
        ("", "S3", b""),
        (0, "U2", ""),
        ("AQAAAMB/", [("a", "<i2"), ("b", "<f4")], (1, np.nan)),
    ],
)
def test_fill_values_of_format_2(value, dtype, expected):
    found = fill_value_of_format2(value, np.dtype(dtype))
    assert found.tobytes() == np.array(expected, dtype).tobytes()
