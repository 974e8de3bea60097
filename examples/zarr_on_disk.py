"""A Zarr array whose chunks are Caterva frames: big chunks on disk, cheap slices."""

import tempfile
from pathlib import Path

import numpy as np
import zarr

from caterva_cffi.zarr import CatervaCodec

data = np.arange(128 * 128 * 128, dtype="f4").reshape(128, 128, 128)

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "volume.zarr")
    z = zarr.create_array(
        path,
        shape=data.shape,
        dtype=data.dtype,
        chunks=(128, 128, 64),
        serializer=CatervaCodec(block_shape=(16, 16, 16), cname="zstd"),
        compressors=None,  # anything else would hide the blocks from partial reads
    )
    z[...] = data

    # To read, nothing has to be imported: zarr finds the codec by its name.
    z = zarr.open_array(path, mode="r")
    assert (z[5, :, 100] == data[5, :, 100]).all()
    assert (z.oindex[[1, 100], :, 7] == data[[1, 100], :, 7]).all()
    files = [p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json"]
    stored = sum(p.stat().st_size for p in files)
    print(f"{data.nbytes} bytes in {len(files)} chunks of {stored} bytes together")
