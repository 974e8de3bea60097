"""Arrays with checksums, and damage to them."""

from __future__ import annotations

import numpy as np

import caterva_cffi as cat

ITEMS = (np.arange(60 * 8, dtype="<i4") ** 2).reshape(60, 8)
PARTITION = {"chunks": (16, 8), "blocks": (8, 4), "checksum": True}
WAYS = {
    "lz4": {},
    "zstd": {"codec": cat.Codec.ZSTD},
    "stored": {"clevel": 0},
    "dictionary": {"codec": cat.Codec.ZSTD, "usedict": True},
    "delta": {"filters": [cat.Filter.DELTA, cat.Filter.SHUFFLE]},
    "one chunk": {"chunks": (60, 8)},
    "bitshuffle": {"filters": [cat.Filter.BITSHUFFLE], "codec": cat.Codec.BLOSCLZ},
}


def frame_of(items=ITEMS, **kwargs):
    return bytes(cat.asarray(items, **{**PARTITION, "contiguous": True, **kwargs}).to_cframe())


def flipped(frame, at):
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]
