"""The attribute `_FillValue`, as xarray writes it into Zarr metadata, which are JSON."""

from __future__ import annotations

import base64
import struct
from typing import Any

import numpy as np

__all__ = ["encoded"]


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
