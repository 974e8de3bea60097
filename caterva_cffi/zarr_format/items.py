"""Data types and fill values in Zarr's metadata, formats 2 and 3."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.dtypes import allocate, as_items, check_items
from caterva_cffi.errors import FormatError, UnsupportedError

__all__ = ["dtype_of", "dtype_of_format2", "fill_value_of", "fill_value_of_format2"]

_NUMBERS = {
    name: np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128",
    )
}  # fmt: skip

_DATES = {"numpy.datetime64": "M8", "numpy.timedelta64": "m8"}
_SIZED = {
    "null_terminated_bytes": ("S", 1),
    "raw_bytes": ("V", 1),
    "fixed_length_utf32": ("U", 4),
}


# --- data types -----------------------------------------------------------------------------------


def dtype_of(data_type: Any) -> np.dtype[Any]:
    """Return the dtype of a `data_type` of format 3.

    Raises
    ------
    UnsupportedError
        For another type, or one whose items have no fixed size.
    """
    name: Any = data_type
    configuration: Any = {}
    if isinstance(data_type, Mapping):
        name, configuration = data_type.get("name"), data_type.get("configuration") or {}
    if isinstance(name, str) and isinstance(configuration, Mapping):
        try:
            found = _named(name, configuration)
            if found is not None:
                return check_items(found)
        except (KeyError, TypeError, ValueError, AttributeError):
            pass
    raise UnsupportedError(
        f"data type {data_type!r}; expected numbers, booleans, or dates, bytes, strings or "
        "structures of a fixed size"
    )


def _named(name: str, configuration: Mapping[str, Any]) -> np.dtype[Any] | None:
    if name in _NUMBERS:
        return _NUMBERS[name]
    bits = re.fullmatch(r"r([1-9]\d*)", name)
    if bits and int(bits[1]) % 8 == 0:
        return np.dtype(f"V{int(bits[1]) // 8}")
    if name in _SIZED:
        letter, size = _SIZED[name]
        count, rest = divmod(configuration["length_bytes"], size)
        return None if rest else np.dtype(f"{letter}{count}")
    if name in _DATES:
        unit, factor = configuration["unit"], configuration["scale_factor"]
        step = "" if unit == "generic" else f"[{factor}{unit}]"
        return np.dtype(f"{_DATES[name]}{step}")
    if name in ("struct", "structured"):
        fields = [
            (field["name"], field["data_type"]) if isinstance(field, Mapping) else tuple(field)
            for field in configuration["fields"]
        ]
        return np.dtype([(name, dtype_of(data_type)) for name, data_type in fields])
    return None


def dtype_of_format2(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of a `dtype` of format 2.

    Raises
    ------
    UnsupportedError
        For a type whose items have no fixed size, or an unknown one.
    """
    try:
        return check_items(np.dtype(_as_descr(dtype)))
    except (TypeError, ValueError, SyntaxError) as error:
        raise UnsupportedError(f"dtype {dtype!r}: {error}", "wrong-dtype") from None


def _as_descr(dtype: Any) -> Any:
    """Return a dtype as NumPy takes it: JSON has lists where NumPy wants tuples."""
    if not isinstance(dtype, list):
        if not isinstance(dtype, str):
            raise TypeError("neither a text nor a list of fields")
        return dtype
    return [(name, _as_descr(field), *map(tuple, shape)) for name, field, *shape in dtype]


# --- fill values ----------------------------------------------------------------------------------


def fill_value_of(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the item for a `fill_value` of format 3, as an array without dimensions.

    Raises
    ------
    FormatError
    """
    try:
        return _item(value, dtype)
    except (TypeError, ValueError, KeyError, OverflowError, binascii.Error):
        raise _wrong(value, dtype) from None


def fill_value_of_format2(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the same for format 2; None is zeros.

    Raises
    ------
    FormatError
    """
    if value is None:
        return np.zeros((), dtype)
    try:
        if dtype.names is not None:
            return _from_bytes(b64decode(value, validate=True), dtype)
        return _item(value, dtype)
    except (TypeError, ValueError, KeyError, OverflowError, binascii.Error):
        if value in ("", 0) and dtype.kind in "SUV":  # older versions of Zarr wrote these
            return np.zeros((), dtype)
        raise _wrong(value, dtype) from None


def _wrong(value: Any, dtype: np.dtype[Any]) -> FormatError:
    return FormatError(f"fill value {value!r} is none of dtype {dtype}")


def _item(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if dtype.names is not None:
        return _structure(value, dtype)
    if dtype.kind == "V" and isinstance(value, list):
        return _from_bytes(bytes(value), dtype)
    if dtype.kind in "SV":
        data = b64decode(value, validate=True)
        return _from_bytes(data.ljust(dtype.itemsize, b"\0") if dtype.kind == "S" else data, dtype)
    if dtype.kind == "c":
        real, imaginary = value
        part = np.dtype(f"{dtype.byteorder}f{dtype.itemsize // 2}")
        parts = np.empty(2, part)
        parts[0], parts[1] = _real(real, part), _real(imaginary, part)
        return parts.view(dtype).reshape(())
    if dtype.kind == "f":
        return _real(value, dtype)
    if dtype.kind in "mM":
        count = np.iinfo(np.int64).min if value == "NaT" else _integer(value)
        return np.array(count, dtype.str[0] + "i8").view(dtype)
    if dtype.kind == "b":
        if not isinstance(value, bool):
            raise TypeError
        return np.array(value, dtype)
    if dtype.kind == "U":
        if not isinstance(value, str):
            raise TypeError
        return as_items(value, dtype)
    return np.array(_integer(value), dtype)


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    ):
        raise TypeError
    return int(value)


def _real(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a real number: as such, by a name, or by its bits."""
    if isinstance(value, str) and value.startswith("0x"):
        bits = bytes.fromhex(value[2:])
        if len(bits) != dtype.itemsize:
            raise ValueError
        return np.frombuffer(bits, dtype.newbyteorder(">")).astype(dtype).reshape(())
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        raise ValueError
    if isinstance(value, bool):
        raise TypeError
    with np.errstate(over="ignore"):
        return np.array(float(value), dtype)


def _structure(value: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if isinstance(value, str):
        return _from_bytes(b64decode(value, validate=True), dtype)
    item = np.zeros((), dtype)
    for name in dtype.names or ():
        item[name] = _item(value[name], dtype[name])
    return item


def _from_bytes(data: bytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if len(data) != dtype.itemsize:
        raise ValueError
    item = allocate((), dtype)
    item.reshape(1).view(f"V{dtype.itemsize}")[0] = data
    return item
