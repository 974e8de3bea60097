"""Write HDF5 files with Blosc2 inside, by one of the libraries that do so.

    python tests/golden/make_hdf5.py hdf5plugin|pytables|h5netcdf DIRECTORY

The file's name says the library and its version. `items` says what each dataset must hold.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SHAPE, CHUNKS = (10, 15, 12), (4, 15, 5)
"""Edge chunks are cut by the array's end along two dimensions."""

ROW, ROW_CHUNK, NOISE_CHUNK = 60_001, 50_000, 1000
"""A chunk of a row has several blocks, of which the last one is shorter."""

STRUCTURE = np.dtype([("a", "<i4"), ("b", "<f8"), ("c", "S3")])


def items(name):
    """Return what a dataset holds, by its name in any of the files."""
    shape = SHAPE
    if name.startswith(("row", "table")):
        shape = (1801,) if "noise" in name else (ROW,)
    numbers = np.arange(np.prod(shape)).reshape(shape) // 7 % 100
    if "noise" in name:
        return np.random.default_rng(0).integers(0, 2**31, shape, "i4")
    if "structure" in name or name.startswith("table"):
        found = np.zeros(numbers.shape, STRUCTURE)
        for field in STRUCTURE.names:
            found[field] = numbers
        return found
    if "wide" in name:
        return np.frombuffer(numbers.astype("u1").tobytes() * 320, "V320").reshape(SHAPE)[:2]
    return numbers.astype(">f4" if "big" in name else "<f4")


def hdf5plugin(directory):
    import blosc2
    import h5py
    import hdf5plugin

    def add(name, chunks=CHUNKS, filters=hdf5plugin.Blosc2.SHUFFLE, **more):
        data = items(name)
        blosc = hdf5plugin.Blosc2(cname="lz4", filters=filters)
        if data.ndim == 1:
            chunks = (NOISE_CHUNK if "noise" in name else ROW_CHUNK,)
        file.create_dataset(name, data=data, chunks=chunks, **blosc, **more)

    with h5py.File(directory / f"hdf5plugin-{hdf5plugin.version}.h5", "w") as file:
        for name in (
            "grid",
            "row",
            "grid-big",
            "row-big",
            "grid-structure",
            "grid-noise",
            "row-noise",
        ):
            add(name)
        add("grid-bitshuffle", filters=hdf5plugin.Blosc2.BITSHUFFLE)
        add("grid-delta", filters=hdf5plugin.Blosc2.DELTA)
        add("row-delta", filters=hdf5plugin.Blosc2.DELTA)
        add("grid-fletcher32", fletcher32=True)
        add("row-fletcher32", fletcher32=True)
        add("grid-trunc-prec", filters=hdf5plugin.Blosc2.TRUNC_PREC)
        add("refused-shuffle", shuffle=True)
        if not hdf5plugin.version.startswith("4."):
            add("grid-wide", chunks=(1, 15, 5))
            add_direct(file, h5py, blosc2, hdf5plugin)


def add_direct(file, h5py, blosc2, hdf5plugin):
    """Write chunks that were compressed elsewhere."""
    for name in ("grid-direct", "grid-several", "refused-cut"):
        data = items(name)
        dataset = file.create_dataset(
            name, data.shape, data.dtype, chunks=CHUNKS, **hdf5plugin.Blosc2()
        )
        for at in np.ndindex(3, 1, 3):
            start = [i * n for i, n in zip(at, CHUNKS, strict=True)]
            part = data[tuple(slice(i, i + n) for i, n in zip(start, CHUNKS, strict=True))]
            if name != "refused-cut":
                chunk = np.zeros(CHUNKS, data.dtype)
                chunk[tuple(map(slice, part.shape))] = part
                part = chunk
            inner = (2, 15, 5) if name == "grid-several" else part.shape
            blocks = [min(n, m) for n, m in zip(inner, (2, 8, 5), strict=True)]
            frame = blosc2.asarray(np.ascontiguousarray(part), chunks=inner, blocks=blocks)
            dataset.id.write_direct_chunk(start, bytes(frame.to_cframe()))


def pytables(directory):
    import tables

    version = tables.__version__
    filters = tables.Filters(complevel=5, complib="blosc2:lz4", shuffle=True)
    with tables.open_file(directory / f"pytables-{version}.h5", "w", filters=filters) as file:
        for name in ("grid", "row", "row-noise", "grid-noise"):
            data = items(name)
            row = (NOISE_CHUNK if "noise" in name else ROW_CHUNK,)
            chunks = CHUNKS if data.ndim == 3 else row
            file.create_carray("/", name, obj=data, chunkshape=chunks)
        file.create_table("/", "table", obj=items("table"), chunkshape=(20_000,))
        checked = tables.Filters(
            complevel=5, complib="blosc2:zstd", bitshuffle=True, fletcher32=True
        )
        file.create_carray(
            "/", "grid-fletcher32", obj=items("grid"), chunkshape=CHUNKS, filters=checked
        )


def h5netcdf(directory):
    import h5netcdf
    import hdf5plugin
    import xarray

    coordinates = {name: np.arange(n) * 0.5 for name, n in zip("tyx", SHAPE, strict=True)}
    grid = xarray.DataArray(items("grid"), coordinates, list("tyx"), attrs={"units": "K"})
    encoding = {"grid": {"chunksizes": CHUNKS, "_FillValue": np.float32(-1), **hdf5plugin.Blosc2()}}
    path = directory / f"h5netcdf-{h5netcdf.__version__}.nc"
    grid.to_dataset(name="grid").to_netcdf(path, engine="h5netcdf", encoding=encoding)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
