"""What a process reads by calls of the system, also from C. Linux counts it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

COUNTERS = Path("/proc/self/io")
counted_by_the_system = pytest.mark.skipif(not COUNTERS.exists(), reason="needs /proc/self/io")


class Reads(NamedTuple):
    """How many calls there were, and the bytes that came."""

    calls: int
    nbytes: int

    def minus(self, other):
        return Reads(self.calls - other.calls, self.nbytes - other.nbytes)


def _now():
    with open(COUNTERS, "rb", buffering=0) as file:
        fields = dict(line.split(b": ") for line in file.read(4096).splitlines())
    return Reads(int(fields[b"syscr"]), int(fields[b"rchar"]))


@contextmanager
def system_reads():
    """Give a list, to which the reads are added that happen meanwhile."""
    found = []
    first, before = _now(), _now()
    yield found
    found.append(_now().minus(before).minus(before.minus(first)))
