"""The most memory that reading all items of a frame takes, beside the frame and the items.

Usage: python many_chunks.py memory|file|remote|zarr|part PATH. Prints bytes, and seconds. `part` is
a third of a Zarr chunk. Without a PATH a frame of 2,000,000 chunks of zeros is read, and one of
1,000,000 chunks of one byte.
"""

import sys
import time
from pathlib import Path

import numpy as np
import zarr
from zarr.core.buffer.cpu import Buffer
from zarr.storage import MemoryStore

import caterva_cffi as cat
from caterva_cffi.binding.compression import Compression
from caterva_cffi.codecs.encoding import encode_frame
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.zarr import CatervaCodec


class Frame:
    """A reader of ranges."""

    def __init__(self, data):
        self.data = data

    def read_ranges(self, ranges):
        """Return the bytes of ranges."""
        return [self.data[start:stop] for start, stop in ranges]


def peak():
    """Return the most resident memory so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def stored_in(frame, length):
    """Return a Zarr array whose only chunk is the frame."""
    store = MemoryStore()
    array = zarr.create_array(
        store, shape=(length,), chunks=(length,), dtype="u1", serializer=CatervaCodec(),
        compressors=None,
    )  # fmt: skip
    store._store_dict["c/0"] = Buffer.from_bytes(frame)
    return array


def read(door, path, frame, length):
    """Return items of a frame of u1."""
    if door == "memory":
        return cat.from_cframe(frame)[...]
    if door == "file":
        return cat.open(path, mode="r")[...]
    if door == "remote":
        return cat.open(Frame(frame))[...]
    return stored_in(frame, length)[: length // 3 if door == "part" else length]


def measure(door, path):
    """Return the most memory and the time of a read of a frame."""
    small = encode_frame(np.ones(400, "u1"), Grid((400,), (1,), (1,), 1), Compression())
    other = f"{path}.small"
    Path(other).write_bytes(small)
    assert (read(door, other, small, 400) == 1).all()  # what is loaded once is loaded
    frame = Path(path).read_bytes()
    length = int(cat.from_cframe(frame).size)
    before, began = peak(), time.monotonic()
    items = np.asarray(read(door, path, frame, length))
    seconds = time.monotonic() - began
    most = peak() - before - items.nbytes
    assert items[0] == items[-1] == (items[0] and 1)
    return most, seconds


def main(folder="."):
    """Measure in processes of their own, because a process keeps its peak."""
    import subprocess

    ones = encode_frame(np.ones(10**6, "u1"), Grid((10**6,), (1,), (1,), 1), Compression())
    zeros = cat.zeros((2 * 10**6,), dtype="u1", chunks=(1,), contiguous=True).to_cframe()
    for name, frame in (("zeros", zeros), ("ones", ones)):
        path = Path(folder) / name
        path.write_bytes(frame)
        for door in ("memory", "file", "remote", "zarr", "part"):
            done = subprocess.run(
                [sys.executable, __file__, door, path], capture_output=True, text=True, check=True
            )
            print(name, len(frame), door, done.stdout.strip())


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(*measure(*sys.argv[1:]))
    else:
        main(*sys.argv[1:])
