"""The most memory that reading all of an array takes, the items included.

Usage: python peak_everything.py write FOLDER, then file|directory|zarr|open FOLDER. `zarr` reads
through Zarr and our pipeline, `open` what Zarr wrote by `caterva_cffi.open`. Prints bytes.
"""

import re
import sys
from pathlib import Path

import numpy as np
import zarr

import caterva_cffi as cat
from caterva_cffi.zarr import CatervaCodec

SHAPES = {"small": (16, 128, 256), "large": (256, 256, 256)}
CHUNKS, BLOCKS = (128, 256, 256), (16, 32, 32)
PIPELINE = "caterva_cffi.zarr.CatervaPipeline"


def write(folder):
    """Write arrays of every kind: one to warm up with, and one whose chunks have 32 MiB."""
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        data = random.standard_normal(shape, "f4")
        for kind in ("file", "directory"):
            path = str(folder / f"{name}.{kind}")
            options = {"contiguous": kind == "file", "chunks": CHUNKS, "blocks": BLOCKS}
            cat.asarray(data, urlpath=path, **options).close()
        codec = CatervaCodec(block_shape=BLOCKS)
        path = folder / f"{name}.zarr"
        z = zarr.create_array(
            path, shape=shape, dtype="f4", chunks=CHUNKS, serializer=codec, compressors=None
        )
        z[...] = data


def opened(folder, name, way):
    """Open an array."""
    if way in ("file", "directory"):
        return cat.open(folder / f"{name}.{way}", mode="r")
    path = folder / f"{name}.zarr"
    if way == "open":
        return cat.open(path)
    with zarr.config.set({"codec_pipeline.path": PIPELINE}):
        return zarr.open_array(path, mode="r")


def status(name):
    """Return a line of what the system says of this process, in bytes."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s*(\d+) kB", text)[1]) << 10


def main(way, folder):
    if way == "write":
        write(Path(folder))
        return
    assert np.isfinite(
        opened(Path(folder), "small", way)[...]
    ).all()  # what is loaded once is loaded
    array = opened(Path(folder), "large", way)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status("VmRSS")
    items = array[...]
    print(status("VmHWM") - before)
    assert items.shape == SHAPES["large"]


if __name__ == "__main__":
    main(*sys.argv[1:])
