"""The attribute `_FillValue`, as xarray writes it into Zarr metadata, which are JSON."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np

__all__ = ["decoded", "encoded"]


def _bits(value: float) -> str:
    return base64.standard_b64encode(struct.pack("<d", value)).decode()


def encoded(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a fill value as xarray expects it in the attributes of a Zarr array.

    Parameters
    ----------
    value : scalar
    dtype : dtype
        Of the array.
    """
    if dtype.kind == "f":
        return _bits(float(value))
    if dtype.kind == "c":
        return [_bits(complex(value).real), _bits(complex(value).imag)]
    if dtype.kind == "b":
        return bool(value)
    if dtype.kind in "iu":
        return int(value)
    if dtype.kind == "S":
        return base64.standard_b64encode(bytes(value)).decode()
    return str(value)


def decoded(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the fill value that `encoded` made an attribute; None for what it did not make.

    Parameters
    ----------
    value : object
        The attribute.
    dtype : dtype
        Of the array.
    """
    if value is None:
        return None
    try:
        if dtype.kind == "f":
            return dtype.type(_number(value))
        if dtype.kind == "c":
            real, imaginary = map(_number, value)
            return dtype.type(complex(real, imaginary))
        if dtype.kind == "S":
            return base64.standard_b64decode(value)
        if dtype.kind in "TO":
            return value if isinstance(value, str) else None
        return np.asarray(value).astype(dtype)[()]
    except (TypeError, ValueError, struct.error):
        return None


def _number(bits: Any) -> float:
    found: float = struct.unpack("<d", base64.standard_b64decode(bits))[0]
    return found
