"""A frame to be read by ranges, and readers that count."""

from __future__ import annotations

import numpy as np

import caterva_cffi as cat

ITEMS = np.random.default_rng(1).integers(0, 99, (64, 64, 64)).astype("f4")
PARTITION = {"chunks": (32, 32, 32), "blocks": (8, 8, 8)}
FRAME = bytes(cat.asarray(ITEMS, **PARTITION).to_cframe())
OTHER = bytes(cat.asarray(ITEMS[::-1].copy(), **PARTITION).to_cframe())


class Counting:
    """A reader of bytes that keeps what was asked for, call by call."""

    def __init__(self, data, size=None):
        self.data, self.size, self.calls = data, size, []

    def read_ranges(self, ranges):
        self.calls.append(list(ranges))
        return [self.data[start:stop] for start, stop in ranges]

    def counted(self):
        """Return the rounds since the last time, their requests, and the bytes of these."""
        calls, self.calls = self.calls, []
        parts = [part for call in calls for part in call]
        return len(calls), len(parts), sum(stop - start for start, stop in parts)
