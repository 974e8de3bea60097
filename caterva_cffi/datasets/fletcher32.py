"""HDF5's checksum `fletcher32`, which stands behind the bytes of a chunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from caterva_cffi.errors import FormatError

__all__ = ["CHECKSUM", "checked"]

CHECKSUM = 4
"""Bytes of the checksum."""

_WORDS = 1 << 16
"""Words that are summed at once: the sums of their products with their positions fit 64 bits."""


def _folded(total: int) -> int:
    """Return a sum modulo 65535, where only a sum of nothing is 0."""
    return (total - 1) % 0xFFFF + 1 if total else 0


def _fletcher32(data: Any) -> int:
    end = len(data) & ~1
    words = np.frombuffer(data, ">u2", end // 2)
    first = second = 0
    for start in range(0, len(words), _WORDS):
        part = words[start : start + _WORDS].astype(np.uint64)
        n = len(part)
        second += n * first + int((part * np.arange(n, 0, -1, dtype=np.uint64)).sum())
        first += int(part.sum())
    if len(data) > end:
        first += data[end] << 8
        second += first
    return _folded(second) << 16 | _folded(first)


def checked(stored: bytes) -> bytes:
    """Return the bytes in front of a checksum.

    Raises
    ------
    FormatError
        If it does not agree with them.
    """
    data, checksum = stored[:-CHECKSUM], int.from_bytes(stored[-CHECKSUM:], "little")
    if len(stored) < CHECKSUM or _fletcher32(data) != checksum:
        raise FormatError(
            "a chunk of HDF5 that is not what its checksum (fletcher32) says", "checksum-differs"
        )
    return data
