"""The most memory that a conversion takes, beside what it takes to convert a small array.

Usage: python peak_conversion.py write|convert DIRECTORY KIND MEMORY. Prints bytes.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import zarr

import caterva_cffi as cat
from caterva_cffi.zarr import CatervaCodec

warnings.simplefilter("ignore")
SIDE, CHUNKS, OTHER = 256, (16, 64, 256), (24, 128, 64)
OPTIONS = {
    "caterva": {},
    "shards": {"format": "plain-zarr", "chunks": OTHER, "shards": (24, 256, 128)},
    "zarr2": {"zarr_format": 2, "chunks": OTHER},
}


def peak():
    """Return the most resident memory so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def write(path, kind, planes):
    shape = (planes, SIDE, SIDE)
    if kind == "npy":
        array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    elif kind == "h5":
        import h5py

        file = h5py.File(path, "w")
        array = file.create_dataset("a", shape, "f4", chunks=CHUNKS, compression="gzip")
    else:
        codecs = {"serializer": CatervaCodec(), "compressors": None} if kind == "caterva" else {}
        codecs |= {"shards": (32, 128, 256)} if kind == "shards" else {}
        array = zarr.create_array(path, shape=shape, chunks=CHUNKS, dtype="f4", **codecs)
    for start in range(0, planes, CHUNKS[0]):
        n = min(CHUNKS[0], planes - start)
        noise = np.random.default_rng(start).integers(0, 1 << 12, (n, SIDE, SIDE), "u2")
        array[start : start + n] = noise
    if kind == "npy":
        array.flush()
    elif kind == "h5":
        file.close()


def main(action, directory, kind, memory):
    suffix = kind if kind in ("npy", "h5") else "zarr"
    sources = {name: Path(directory) / f"{name}.{suffix}" for name in ("small", "large")}
    if action == "write":
        write(sources["small"], kind, 20)
        write(sources["large"], kind, 512)
        return
    before = 0
    for name, source in sources.items():
        before = peak()  # after the small one, what is loaded once is loaded
        inside = f"{source}:a" if kind == "h5" else source
        options = OPTIONS.get(kind, {"chunks": OTHER})
        out = Path(directory) / (f"{name}.b2nd" if kind == "caterva" else f"{name}-out.zarr")
        cat.convert(inside, out, memory=int(memory), **options)
    print(peak() - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
