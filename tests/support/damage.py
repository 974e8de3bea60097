"""Frames to be damaged, and damage."""

from __future__ import annotations

import numpy as np

import caterva_cffi as cat

ITEMS = np.arange(1, 1001, dtype="<i4")
PARTITION = {"chunks": (100,), "blocks": (20,)}


def frame_of(items=ITEMS, **kwargs):
    return bytes(cat.asarray(items, contiguous=True, **{**PARTITION, **kwargs}).to_cframe())


FRAME, CHECKED = frame_of(), frame_of(checksum=True)


def flipped(data, at):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


class Ranges:
    def __init__(self, frame):
        self.frame = frame

    def read_ranges(self, ranges):
        return [self.frame[start:stop] for start, stop in ranges]
