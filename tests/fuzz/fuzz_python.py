"""What Python does with bytes from strangers: `fuzz_python.py [libFuzzer's options] CORPUS...`.

An input is a frame, or a codec's configuration in JSON. Needs atheris, which knows which lines of
caterva_cffi an input runs; tests call `one_input` without it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    import atheris

    instrumented = atheris.instrument_imports(include=["caterva_cffi"])
else:
    instrumented = contextlib.nullcontext()

import numcodecs
import numpy as np

# What is not of this package is not instrumented.
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

with instrumented:
    import caterva_cffi as cat
    from caterva_cffi import layout as layouts
    from caterva_cffi import plan
    from caterva_cffi.fetching import kernel_of, whole_layout
    from caterva_cffi.numcodecs import Caterva
    from caterva_cffi.policy import ReadPolicy
    from caterva_cffi.reading import PartsReader
    from caterva_cffi.zarr import CatervaCodec

numcodecs.register_codec(Caterva)
MOST = 1 << 20
"""Bytes of an array that is read whole."""

FILE = Path(tempfile.mkdtemp(prefix="fuzz_python.")) / "frame.b2frame"
SHAPE = (15, 11)  # of most golden frames
STORE = MemoryStore()
ARRAY = zarr.create_array(
    STORE, shape=SHAPE, chunks=SHAPE, dtype="<i4", serializer=CatervaCodec(), compressors=None
)


def read(array: cat.NDArray) -> None:
    """Read all that an array has."""
    dict(array.meta), dict(array.vlmeta), repr(array)
    if array.nbytes <= MOST:
        assert array[...].shape == array.shape
        if array.size:
            array[(-1,) * array.ndim]
            array[(slice(None, None, 3),) * array.ndim]


def in_memory(frame: bytes) -> None:
    read(cat.from_cframe(frame))
    read(cat.from_cframe(frame, copy=True))


def changed(frame: bytes) -> None:
    """Change an array in the ways that an array has."""
    array = cat.from_cframe(frame, copy=True)
    if array.nbytes > MOST or not array.ndim or max(array.chunks) > 99 or max(array.shape) > 9999:
        return
    number = zlib.adler32(frame) % 4
    if number == 0 and array.size:
        array[(0,) * array.ndim] = array[(-1,) * array.ndim]
    elif number == 1:
        array.resize((array.shape[0] + array.chunks[0], *array.shape[1:]))
    elif number == 2:
        array.resize((array.shape[0] // 2, *array.shape[1:]))
    else:
        array.vlmeta["new"] = b"abc" * 9
    read(array)


def in_file(frame: bytes) -> None:
    FILE.write_bytes(frame)
    with cat.open(FILE, mode="r") as array:
        read(array)


def by_ranges(frame: bytes) -> None:
    """Read a frame as a store gives it."""

    def answer(ranges: list[plan.Range]) -> list[bytes]:
        return [frame[start:stop] for start, stop in ranges]

    policy = ReadPolicy(first=256, gap=16, whole=0.5)
    layout = plan.run(layouts.layout_steps(policy.first, None), answer)
    grid = layout.grid
    if grid.nbytes > MOST or not grid.nbytes:
        return
    box = ((0,) * grid.ndim, tuple(-(-n // 2) for n in grid.shape), (1,) * grid.ndim)
    kernel, boxes = kernel_of(grid), plan.by_chunk(grid, [box])
    parts = plan.run(layouts.part_steps(layout, kernel, boxes, policy), answer)
    items = np.empty(box[1], layout.dtype)
    PartsReader(parts).read(kernel, grid, box, items.ctypes.data, items.strides)
    whole = whole_layout(frame)
    for number in range(min(grid.nchunks, 64)):
        whole.whole_chunk(number, frame)


def by_numcodecs(frame: bytes) -> None:
    array = cat.from_cframe(frame)
    if array.nbytes <= MOST:
        run = Caterva().decode(frame)
        assert run.nbytes == array.nbytes
        if array.size:
            part = Caterva().decode_partial(frame, array.size // 2, 1)
            assert part.shape == (1,)
            Caterva().decode_selection(frame, (0,) * array.ndim)


def by_zarr(frame: bytes) -> None:
    STORE._store_dict["c/0/0"] = default_buffer_prototype().buffer.from_bytes(frame)
    assert ARRAY[...].shape == SHAPE
    ARRAY[-1, 2:]


DOORS = (in_memory, changed, in_file, by_ranges, by_numcodecs, by_zarr)


def configuration(text: bytes) -> None:
    """Configure both codecs with what some metadata says."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return
    for make in (CatervaCodec.from_dict, numcodecs.get_codec):
        if isinstance(found, dict):
            with contextlib.suppress(ValueError, TypeError):
                codec = make({**found, "name": "caterva", "id": "caterva"})
                assert make(codec.to_dict() if make != numcodecs.get_codec else codec.get_config())


def one_input(data: bytes) -> None:
    """Raise for anything but items or an error of ours."""
    if data.startswith(b"{"):
        configuration(data)
        return
    door = DOORS[zlib.crc32(data) % len(DOORS)]
    with contextlib.suppress(cat.CatervaError, MemoryError):
        door(data)


def every_door(data: bytes) -> None:
    """As `one_input`, by all ways."""
    for door in () if data.startswith(b"{") else DOORS:
        with contextlib.suppress(cat.CatervaError, MemoryError):
            door(data)
    one_input(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
