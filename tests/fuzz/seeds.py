"""Write what fuzzing starts from: `seeds.py DIRECTORY` makes four in it.

`frame`s are the golden ones and some made here; `chunk`s are theirs, behind their geometry as
`fuzz_chunk.c` takes it; `sparse` ones are directories, packed; `configuration`s are JSON.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import caterva_cffi as cat
from caterva_cffi import ffi, lib
from caterva_cffi.binding.compression import Compression
from caterva_cffi.planning.layout import whole_layout

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
MOST = 4096
"""Bytes of a seed; longer ones are slow, and hold nothing else."""


def frames() -> Iterator[bytes]:
    """Yield small frames of many kinds."""
    for path in sorted(GOLDEN.rglob("*.b2frame")):
        if path.is_file() and path.name != "chunks.b2frame" and path.stat().st_size <= MOST:
            yield path.read_bytes()
    rng = np.random.default_rng(1)
    kinds = {
        "smooth": np.arange(60).reshape(6, 10),
        "noise": rng.integers(0, 1 << 16, (6, 10)),
        "few": rng.integers(0, 2, (6, 10)),
    }
    for items in kinds.values():
        for codec in (cat.Codec.BLOSCLZ, cat.Codec.LZ4, cat.Codec.ZLIB, cat.Codec.ZSTD):
            for filters in ([], [cat.Filter.SHUFFLE], [cat.Filter.BITSHUFFLE], [cat.Filter.DELTA]):
                array = cat.asarray(
                    items.astype("<u2"), chunks=(4, 7), blocks=(2, 3), codec=codec,
                    filters=filters, contiguous=True, meta={"mine": b"abc"},
                )  # fmt: skip
                array.vlmeta["title"] = b"hello " * 9
                yield bytes(array.to_cframe())
        checked = {"chunks": (4, 7), "blocks": (2, 3), "contiguous": True, "checksum": True}
        yield bytes(cat.asarray(items.astype("<u2"), **checked).to_cframe())
    yield bytes(cat.zeros((40, 40), dtype="<f8", contiguous=True).to_cframe())
    yield bytes(cat.asarray(np.array(3.5), contiguous=True).to_cframe())


def chunks(frame: bytes) -> Iterator[bytes]:
    """Yield the first two chunks of a frame behind their geometry."""
    layout = whole_layout(frame)
    grid = layout.grid
    if max((grid.itemsize, *grid.chunks)) < 1 << 16:
        sides = [side for pair in zip(grid.chunks, grid.blocks, strict=True) for side in pair]
        for number in range(min(grid.nchunks, 2)):
            ((_, chunk),) = layout.whole_chunk(number, frame)
            kind = grid.ndim | grid.checksums << 7
            yield struct.pack(f"<BH{2 * grid.ndim}H", kind, grid.itemsize, *sides) + chunk


def cut_chunks() -> Iterator[bytes]:
    """Yield chunks of one dimension whose last block is shorter, behind their geometry."""
    length, block = 1000, 300
    items = np.arange(length, dtype="<u2") // 3
    source, chunk = ffi.from_buffer(items), ffi.new("uint8_t[]", items.nbytes + 32)
    for codec in (cat.Codec.BLOSCLZ, cat.Codec.LZ4, cat.Codec.ZLIB, cat.Codec.ZSTD):
        for filters in ([], [cat.Filter.SHUFFLE], [cat.Filter.DELTA]):
            for clevel in (0, 5):
                given = Compression(codec=codec, filters=filters, clevel=clevel)
                cparams = given.to_cparams(2, 2 * block)[0]
                context = ffi.gc(lib.blosc2_create_cctx(cparams), lib.blosc2_free_ctx)
                size = lib.blosc2_compress_ctx(context, source, len(source), chunk, len(chunk))
                yield struct.pack("<BHHH", 1 | 1 << 6, 2, length, block) + bytes(chunk[0:size])


def pack(directory: Path) -> bytes:
    """Return the files of a sparse array in one run of bytes, each behind its size."""
    index = directory / "chunks.b2frame"
    files = [index, *sorted(path for path in directory.iterdir() if path != index)]
    parts = [path.read_bytes() for path in files]
    return b"".join([b"sparse", *(struct.pack("<H", len(part)) + part for part in parts)])


def sparse() -> Iterator[bytes]:
    """Yield sparse arrays."""
    items = np.arange(60, dtype="<u2").reshape(6, 10)
    with tempfile.TemporaryDirectory() as name:
        for number, given in enumerate(
            ({}, {"clevel": 0}, {"codec": cat.Codec.ZSTD}, {"checksum": True})
        ):
            path = Path(name, str(number))
            array = cat.asarray(items, chunks=(4, 7), blocks=(2, 3), urlpath=path, **given)
            array.vlmeta["title"] = b"hello " * 9
            array[4:] = number
            yield pack(path)
    for path in sorted(GOLDEN.rglob("chunks.b2frame")):
        packed = pack(path.parent)
        if len(packed) <= MOST:
            yield packed


CONFIGURATIONS = (
    {"configuration": {"cname": "zstd", "clevel": 5, "shuffle": "shuffle"}},
    {"configuration": {"block_shape": [4, 4], "chunk_shape": [8, 8], "cname": "lz4"}},
    {"cname": "blosclz", "clevel": 9, "shuffle": "bitshuffle", "block_shape": [2, 3]},
    {"block_shape": None, "chunk_shape": None, "cname": "zlib", "clevel": 0},
    {"cname": "zfp_accuracy", "tolerance": 0.001, "block_shape": [8, 8]},
    {"configuration": {"cname": "zfp_rate", "rate": 8}},
    {"cname": "ndlz", "cell_shape": 4, "use_dict": False},
    {"configuration": {"filters": [{"name": "trunc_prec", "bits": -9}, "shuffle"]}},
    {"filters": ["delta", {"name": "ndcell", "cell_shape": 4}], "use_dict": True},
)


def write(directory: Path) -> None:
    """Write all seeds."""
    for name in ("frame", "chunk", "sparse", "configuration"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for number, configuration in enumerate(CONFIGURATIONS):
        (directory / "configuration" / str(number)).write_text(json.dumps(configuration))
    for number, packed in enumerate(sparse()):
        (directory / "sparse" / str(number)).write_bytes(packed)
    for number, frame in enumerate(frames()):
        (directory / "frame" / f"{number:03}").write_bytes(frame)
        for place, chunk in enumerate(chunks(frame)):
            (directory / "chunk" / f"{number:03}-{place}").write_bytes(chunk)
    for number, chunk in enumerate(cut_chunks()):
        (directory / "chunk" / f"cut-{number}").write_bytes(chunk)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
