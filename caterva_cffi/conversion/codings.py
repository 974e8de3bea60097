"""The codec's parameters for chunks that were compressed by others, and are copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.coding import Coding
from caterva_cffi.codecs.compressors import CNAMES
from caterva_cffi.codecs.filters import FILTERS
from caterva_cffi.errors import ArgumentError

__all__ = ["coding_of"]


def coding_of(compression: Compression, dtype: np.dtype[Any], ndim: int) -> Coding:
    """Return parameters by which new chunks are compressed like those that are there.

    Chunks say themselves how they are compressed. So where this package's codecs have no such
    parameters, or refuse them for such items, the defaults are as good as any.

    Parameters
    ----------
    compression : Compression
        Of the chunks.
    dtype : dtype
    ndim : int
        Of the array.
    """
    try:
        coding = _coding(compression, dtype.itemsize)
        coding.check_array(dtype.newbyteorder("="), ndim)
        return coding
    except (ArgumentError, StopIteration):
        return Coding()


def _coding(compression: Compression, itemsize: int) -> Coding:
    cname = next(name for name, each in CNAMES.items() if each.codec.value == compression.codec_id)
    kind, meta = CNAMES[cname], compression.codec_meta & 0xFF
    given: dict[str, Any] = {"cname": cname, "use_dict": compression.usedict}
    if kind.has_levels:
        given["clevel"] = compression.clevel
    if kind.has_filters:
        pairs = zip(compression.filter_ids, compression.filter_metas, strict=True)
        given["filters"] = [_filter(number, byte) for number, byte in pairs if number]
    if kind.member is not None:
        values = {
            "tolerance": float(f"1e{_signed(meta)}"),
            "precision": meta,
            "rate": meta * 8 * itemsize / 100,
            "cell_shape": meta,
        }
        given[kind.member] = values[kind.member]
    return Coding(**given)


def _filter(number: int, byte: int) -> dict[str, Any] | str:
    name, kind = next((n, each) for n, each in FILTERS.items() if each.filter.value == number)
    if kind.member is None:
        return name
    return {"name": name, kind.member: _signed(byte) if kind.member == "bits" else byte}


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte
