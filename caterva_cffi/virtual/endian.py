"""The byte order of items."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from caterva_cffi.errors import UnsupportedError

__all__ = ["endian_of"]


def endian_of(dtype: np.dtype[Any]) -> Literal["little", "big"]:
    """Return the byte order that all numbers in an item have.

    Raises
    ------
    UnsupportedError
        For a structure with both.
    """
    little, big = (dtype == dtype.newbyteorder(order) for order in ("<", ">"))
    if not little and not big:
        raise UnsupportedError(f"the structure {dtype} has fields of both byte orders")
    return "little" if little else "big"
