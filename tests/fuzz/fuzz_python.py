"""What Python does with bytes from strangers: `fuzz_python.py [libFuzzer's options] CORPUS...`.

An input is a frame, a sparse array as `seeds.pack` writes it, or a codec's configuration in JSON.
Needs atheris, which knows which lines of caterva_cffi an input runs; tests call `one_input` without
it.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import struct
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
from zarr.codecs import BytesCodec, ShardingCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

with instrumented:
    import caterva_cffi as cat
    from caterva_cffi.binding.kernel import kernel_of
    from caterva_cffi.engine.batches import groups
    from caterva_cffi.engine.reading import read as read_groups
    from caterva_cffi.geometry.selection import Batch
    from caterva_cffi.numcodecs import Caterva
    from caterva_cffi.planning import layout as layouts
    from caterva_cffi.planning.frame import Frame
    from caterva_cffi.planning.layout import whole_layout
    from caterva_cffi.planning.policy import ReadPolicy
    from caterva_cffi.steps import Range, run
    from caterva_cffi.zarr import CatervaCodec

numcodecs.register_codec(Caterva)
MOST = 1 << 20
"""Bytes of an array that is read whole."""
SPARSE_MARK = b"sparse"
"""What a sparse array's input begins with."""

DIRECTORY = Path(tempfile.mkdtemp(prefix="fuzz_python."))
FILE, SPARSE = DIRECTORY / "frame.b2frame", DIRECTORY / "sparse"
SHAPE = (15, 11)  # of most golden frames
STORE = MemoryStore()
ARRAY = zarr.create_array(
    STORE, shape=SHAPE, chunks=SHAPE, dtype="<i4", serializer=CatervaCodec(), compressors=None
)
SHARD_STORE = MemoryStore()
SHARDED = zarr.create_array(  # two chunks in a shard, behind an index without a checksum
    SHARD_STORE, shape=(2 * SHAPE[0], SHAPE[1]), chunks=(2 * SHAPE[0], SHAPE[1]), dtype="<i4",
    serializer=ShardingCodec(
        chunk_shape=SHAPE, codecs=[CatervaCodec()], index_codecs=[BytesCodec()],
        index_location="start",
    ),
    compressors=None,
)  # fmt: skip


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
    change(cat.from_cframe(frame, copy=True), zlib.adler32(frame))


def change(array: cat.NDArray, choice: int) -> None:
    """Change an array in one way."""
    if array.nbytes > MOST or not array.ndim or max(array.chunks) > 99 or max(array.shape) > 9999:
        return
    number = choice % 5
    if number == 0 and array.size:
        array[(0,) * array.ndim] = array[(-1,) * array.ndim]
    elif number == 4:
        array[...] = np.zeros((), array.dtype)
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


def in_changed_file(frame: bytes) -> None:
    FILE.write_bytes(frame)
    FILE.with_name(f"{FILE.name}.changing").unlink(missing_ok=True)
    with cat.open(FILE, mode="a") as array:
        change(array, zlib.adler32(frame))


def in_directory(packed: bytes) -> None:
    """Read a sparse array, or change it as well."""
    shutil.rmtree(SPARSE, ignore_errors=True)
    SPARSE.mkdir()
    at, number = len(SPARSE_MARK), -1
    if len(packed) < at + 2:  # a directory without a frame is said to be one
        return
    while at + 2 <= len(packed) and number < 64:
        (size,) = struct.unpack_from("<H", packed, at)
        name = "chunks.b2frame" if number < 0 else f"{number:08X}.chunk"
        (SPARSE / name).write_bytes(packed[at + 2 : at + 2 + size])
        at, number = at + 2 + size, number + 1
    choice = zlib.adler32(packed)
    with cat.open(SPARSE, mode="ra"[choice % 2]) as array:
        read(array)
        if choice % 2:
            change(array, choice // 2)


class Liar:
    """A reader that gives other bytes than those that it is asked for, from some request on."""

    def __init__(self, frame: bytes) -> None:
        self.random = random.Random(zlib.crc32(frame))
        self.frame = frame
        self.honest = self.random.randrange(6)
        self.lie = self.random.choice(
            [self.cut, self.longer, self.elsewhere, self.altered, self.fewer, self.nothing]
        )
        sizes = [None, len(frame), len(frame), len(frame) + 9, len(frame) // 2]
        self.size = self.random.choice(sizes)

    def read_ranges(self, ranges: list[Range]) -> list[bytes]:
        answers = [self.frame[start:stop] for start, stop in ranges]
        self.honest -= 1
        return answers if self.honest >= 0 else self.lie(answers)

    def cut(self, answers: list[bytes]) -> list[bytes]:
        return [answer[: self.random.randint(0, len(answer))] for answer in answers]

    def longer(self, answers: list[bytes]) -> list[bytes]:
        return [answer + b"0" * self.random.randrange(2) for answer in answers]

    def elsewhere(self, answers: list[bytes]) -> list[bytes]:
        starts = [self.random.randint(0, len(self.frame)) for _ in answers]
        return [
            self.frame[start : start + len(answer)]
            for start, answer in zip(starts, answers, strict=True)
        ]

    def altered(self, answers: list[bytes]) -> list[bytes]:
        data = bytearray(answers[-1])
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        return [*answers[:-1], bytes(data)]

    def fewer(self, answers: list[bytes]) -> list[bytes]:
        return answers[1:]

    def nothing(self, answers: list[bytes]) -> list[bytes]:
        return [b""] * len(answers)


def by_reader(frame: bytes) -> None:
    read(cat.open(Liar(frame)))


def by_ranges(frame: bytes) -> None:
    """Read a frame as a store gives it."""

    def answer(ranges: list[Range]) -> list[bytes]:
        return [frame[start:stop] for start, stop in ranges]

    policy = ReadPolicy(first=256, gap=16, whole=0.5)
    layout = run(layouts.layout_steps(policy.first, None), answer)
    grid = layout.grid
    if grid.nbytes > MOST or not grid.nbytes:
        return
    box = ((0,) * grid.ndim, tuple(-(-n // 2) for n in grid.shape), (1,) * grid.ndim)
    items = np.empty(box[1], layout.dtype)
    read_groups(groups(Frame(layout, kernel_of(grid), policy), [Batch([(box, items)])]), answer)
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


def verified(frame: bytes) -> None:
    if cat.from_cframe(frame).nbytes <= MOST:
        cat.verify(frame)


def by_shard(frame: bytes) -> None:
    """Read two chunks of a shard, of which the first is cut off or goes on into the second."""
    choice, index = zlib.adler32(frame), 4 * 8
    wrong = (0, 0, -1, 1, -40, 40)[choice % 6]
    entries = struct.pack("<4Q", index, max(len(frame) + wrong, 0), index + len(frame), len(frame))
    SHARD_STORE._store_dict["c/0/0"] = default_buffer_prototype().buffer.from_bytes(
        entries + frame + frame
    )
    assert SHARDED[SHAPE[0] - 1 : SHAPE[0] + 1].shape == (2, SHAPE[1])
    assert SHARDED[: SHAPE[0]].shape == SHAPE
    if choice % 7 == 0:
        SHARDED[SHAPE[0] - 1 : SHAPE[0] + 1] = 1


DOORS = (
    in_memory, changed, in_file, in_changed_file, by_reader, by_ranges, by_numcodecs, by_zarr,
    by_shard, verified,
)  # fmt: skip


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
    if data.startswith(SPARSE_MARK):
        with contextlib.suppress(cat.CatervaError, MemoryError):
            in_directory(data)
        return
    door = DOORS[zlib.crc32(data) % len(DOORS)]
    with contextlib.suppress(cat.CatervaError, MemoryError):
        door(data)


def every_door(data: bytes) -> None:
    """As `one_input`, by all ways."""
    for door in () if data.startswith((b"{", SPARSE_MARK)) else DOORS:
        with contextlib.suppress(cat.CatervaError, MemoryError):
            door(data)
    one_input(data)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
