"""The most memory that an array on disk takes, beside the items that are written or read.

Usage: python peak_memory.py write|read PATH GIB file|directory. Prints bytes.
"""

import sys
from pathlib import Path

import numpy as np

import caterva_cffi as cat

CHUNK = 1 << 20  # items of 4 bytes
STEP = 1 << 10
OPTIONS = {"chunks": (1, CHUNK), "blocks": (1, 1 << 15)}
NOISE = np.random.default_rng(0).integers(0, 1 << 30, (1, CHUNK), "i4")


def peak():
    """Return the most resident memory so far, in bytes; unlike getrusage's, of this program."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def main(action, path, gib, kind):
    nchunks = int(float(gib) * (1 << 30)) // (4 * CHUNK)
    written = sorted({*range(0, nchunks, nchunks // 8), nchunks - 1})
    small = cat.asarray(NOISE[:, :4000])
    assert (small[...] == NOISE[:, :4000]).all()  # what is loaded once is loaded
    result = np.full((nchunks, CHUNK // STEP), 1, "i4")
    before = peak()
    if action == "write":
        shape, contiguous = (nchunks, CHUNK), kind == "file"
        array = cat.zeros(shape, dtype="i4", urlpath=path, contiguous=contiguous, **OPTIONS)
        for number in written:
            array[number : number + 1] = NOISE
        if kind == "directory":
            array[written[1], 5:-5:3] = 7
    else:
        array = cat.open(path, mode="r")
        array.read((slice(None), slice(None, None, STEP)), result)
        assert (result[written[0]] == NOISE[0, ::STEP]).all()
        assert not result[written[0] + 1].any()
    print(peak() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
