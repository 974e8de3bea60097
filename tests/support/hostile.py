"""Frames that were cut off, changed or forged, through everything that opens frames.

Run by test_hostile.py in a process of its own, whose memory is limited and whose system calls are
watched: `hostile.py PART`.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

import caterva_cffi as cat
from caterva_cffi.format.frame_header import FrameHeader
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

EXTRA_MEMORY = 1 << 30
RESIDENT = 96 << 20
ITEMS = np.arange(48, dtype="<i4").reshape(6, 8)
READS = {"whole": np.s_[...], "item": np.s_[5, 7]}


def frames() -> Iterator[bytes]:
    """Yield small frames: compressed in several ways, stored, of one value, with metalayers."""
    partition = {"chunks": (4, 8), "blocks": (2, 4), "contiguous": True}
    for codec in (cat.Codec.LZ4, cat.Codec.ZSTD):
        yield bytes(cat.asarray(ITEMS, codec=codec, **partition).to_cframe())
    yield bytes(cat.asarray(ITEMS, clevel=0, **partition).to_cframe())
    yield bytes(cat.full((6, 8), 7, dtype="<i4", **partition).to_cframe())
    array = cat.asarray(ITEMS, meta={"mine": b"abc"}, **partition)
    array.vlmeta["title"] = b"hello " * 9
    yield bytes(array.to_cframe())


# --- what opens frames: each returns items by the names of READS ----------------------------------


def from_cframe(frame: bytes) -> dict[str, Any]:
    array = cat.from_cframe(frame)
    assert repr(array)
    dict(array.meta), dict(array.vlmeta)
    copied = cat.from_cframe(frame, copy=True)
    return {name: (array, copied)[i][key] for i, (name, key) in enumerate(READS.items())}


def from_file(frame: bytes) -> dict[str, Any]:
    path = Path("frame.b2frame")
    path.write_bytes(frame)
    array = cat.open(path, mode="r")
    dict(array.meta), dict(array.vlmeta)
    return {name: array[key] for name, key in READS.items()}


def numcodecs(frame: bytes) -> dict[str, Any]:
    codec = Caterva()
    run = codec.decode(frame)
    with contextlib.suppress(cat.ArgumentError):  # where the frame is of another size
        codec.decode_partial(frame, 40, 8)
    found = run.reshape(ITEMS.shape) if run.nbytes == ITEMS.nbytes else run
    with contextlib.suppress(IndexError):
        return {"whole": found, "item": codec.decode_selection(frame, READS["item"])}
    return {"whole": found}


class ZarrChunk:
    """An array of one chunk, whose bytes are given."""

    def __init__(self) -> None:
        store = MemoryStore()
        self.array = zarr.create_array(
            store, shape=ITEMS.shape, chunks=ITEMS.shape, dtype="<i4", compressors=None,
            serializer=CatervaCodec(),
        )  # fmt: skip
        self.store: dict[str, Any] = store._store_dict
        self.make = default_buffer_prototype().buffer.from_bytes

    def __call__(self, frame: bytes) -> dict[str, Any]:
        self.store["c/0/0"] = self.make(frame)
        return {name: self.array[key] for name, key in READS.items()}


def doors() -> dict[str, Callable[[bytes], dict[str, Any]]]:
    return {
        "from_cframe": from_cframe, "open": from_file, "numcodecs": numcodecs, "Zarr": ZarrChunk(),
    }  # fmt: skip


# --- parts ----------------------------------------------------------------------------------------


def limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + EXTRA_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def truncations() -> None:
    """Cut frames off behind every byte: right items or an error."""
    tried = 0
    for frame, (name, door) in itertools.product(frames(), doors().items()):
        assert all((items == ITEMS[READS[key]]).all() for key, items in door(frame).items()) or (
            all((items == 7).all() for items in door(frame).values())
        )
        for size in range(len(frame)):
            tried += 1
            try:
                found = door(frame[:size])
            except cat.CatervaError:
                continue
            raise AssertionError(f"{name}: {size} of {len(frame)} bytes were enough: {found}")
    print(tried)


def changes() -> None:
    """Change every byte: items or an error, and not much memory."""
    before, tried, refused = peak_memory(), 0, 0
    for frame, (_, door) in itertools.product(frames(), doors().items()):
        for at in range(len(frame)):
            for value in {0, 0xFF, frame[at] ^ 1, frame[at] ^ 0x80} - {frame[at]}:
                tried += 1
                try:
                    found = door(frame[:at] + bytes([value]) + frame[at + 1 :])
                except cat.CatervaError:
                    refused += 1
                else:
                    assert all(np.asarray(items).nbytes <= 1 << 20 for items in found.values())
    assert 0 < refused < tried
    assert peak_memory() - before < RESIDENT, (before, peak_memory())
    print(tried)


def promises() -> None:
    """Frames of a few hundred bytes that describe terabytes: memory for what is asked, no more."""
    before = peak_memory()
    huge = bytes(cat.zeros((1 << 20, 1 << 18), dtype="<i4", contiguous=True,
                           chunks=(1 << 14, 1 << 14), blocks=(128, 128)).to_cframe())  # fmt: skip
    assert len(huge) < 400
    opened = cat.from_cframe(huge)
    assert opened.nbytes == 1 << 40
    assert opened[-1, -1] == 0
    for read in (lambda: opened[...], lambda: Caterva().decode(huge)):
        try:
            read()
        except MemoryError:
            continue
        raise AssertionError("a terabyte was read")
    try:
        ZarrChunk()(huge)
    except cat.FormatError:
        pass
    else:
        raise AssertionError("a frame of another shape was taken")
    plain = bytearray(cat.asarray(np.arange(64, dtype="u1"), blocks=(8,), clevel=0,
                                  contiguous=True).to_cframe())  # fmt: skip
    at = FrameHeader.length_of(plain[:16])
    plain[at + 4 : at + 12] = struct.pack("<ii", 200_000_000, 1)  # of blocks of a byte
    try:
        from_file(bytes(plain))
    except cat.FormatError:
        pass
    else:
        raise AssertionError("a chunk was taken that is not there")
    array = cat.asarray(ITEMS, contiguous=True)
    array.vlmeta["title"] = b"hello " * 60
    many, layer = bytearray(huge), bytearray(array.to_cframe())
    header = FrameHeader.parse(huge)
    many[30:38] = struct.pack(">q", header.chunksize * 200_000_000)
    of_zeros(many, header.offsets_at)
    of_zeros(layer, layer.index(b"\xc6", FrameHeader.parse(bytes(layer)).offsets_at + 20) + 5)
    for forged, door in itertools.product((bytes(many), bytes(layer)), doors().values()):
        with contextlib.suppress(cat.CatervaError):
            door(forged)
    assert peak_memory() - before < RESIDENT, (before, peak_memory())
    print(len(huge))


def of_zeros(frame: bytearray, at: int) -> None:
    """Let a chunk say that it is 1.6 GB of zeros."""
    frame[at + 2], frame[at + 31] = 0x15, 1 << 4
    frame[at + 4 : at + 16] = struct.pack("<iii", 1_600_000_000, 1 << 20, 32)


def forgeries() -> None:
    """Every number of a codec and of a filter, in every chunk of a frame: nothing is loaded."""
    *_, frame = frames()
    header = FrameHeader.parse(frame)
    offsets = header.offsets_at
    layer = frame.index(b"\xc6", offsets + 20) + 5  # the content of the variable-length metalayer
    chunks = {"header of the frame": None, "items": header.header_len, "offsets": offsets,
              "metalayer": layer}  # fmt: skip
    tried = 0
    for (where, at), (_, door), number in itertools.product(
        chunks.items(), doors().items(), [*range(48), *range(150, 160)]
    ):
        for forge in (forge_codec, forge_filter):
            forged = bytearray(frame)
            if at is None:
                forge_frame(forged, number)
            else:
                forge(forged, at, number)
            tried += 1
            error = None
            try:
                door(bytes(forged))
            except cat.CatervaError as refused:
                error = str(refused)
            if where == "offsets" and (number > 4 or forge == forge_codec):
                assert "codec, filter or flag" in str(error), (number, error)
    print(tried)


def forge_codec(frame: bytearray, at: int, number: int) -> None:
    frame[at + 2] = frame[at + 2] & 0x1D | 6 << 5  # a number of its own, and not stored plain
    frame[at + 22] = number
    frame[at + 31] &= 0x8F  # no chunk of one value


def forge_filter(frame: bytearray, at: int, number: int) -> None:
    frame[at + 2] &= 0xFD
    frame[at + 16 : at + 22] = bytes([number] * 6)
    frame[at + 31] &= 0x8F


def forge_frame(frame: bytearray, number: int) -> None:
    frame[27] = frame[27] & 0xF0 | 6
    frame[77] = number
    frame[71:77] = bytes([number] * 6)


if __name__ == "__main__":
    part = sys.argv[1]
    for door in doors().values():  # what is imported and started once
        door(next(frames()))
    limit_memory()
    globals()[part]()
