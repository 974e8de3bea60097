"""Frames and sparse directories, verified chunk by chunk."""

from __future__ import annotations

import zlib

import blosc2
import numpy as np
import pytest
from damage import ITEMS, PARTITION, Ranges, flipped, frame_of

import caterva_cffi as cat
from caterva_cffi.__main__ import main


def test_files_of_a_sparse_directory(tmp_path):
    path = tmp_path / "a"
    cat.asarray(ITEMS, urlpath=path, checksum=True, **PARTITION)
    chunk, index = path / "00000003.chunk", path / "chunks.b2frame"
    kept = {file: file.read_bytes() for file in (chunk, index)}
    (path / "00000055.chunk").write_bytes(kept[chunk])
    found = cat.verify(path)
    assert found.whole and [each.where for each in found.passed_over] == [
        str(path / "00000055.chunk")
    ]
    for data in (kept[chunk] + b"x", kept[chunk][:-1], b"", b"text" * 100, None):
        chunk.unlink() if data is None else chunk.write_bytes(data)
        [damage] = cat.verify(path)
        assert damage.chunk == 3
    chunk.write_bytes(kept[chunk])
    for data in (kept[index] + b"x", kept[index][:-1], b"", b"text" * 100, None):
        index.unlink() if data is None else index.write_bytes(data)
        [damage] = cat.verify(path)
        assert damage.chunk is None and damage.where == str(path)
        assert main(["verify", str(path)]) == 1


def test_codecs_that_are_not_here_are_no_damage():
    def encode(source, dest, *_):
        encoded = zlib.compress(bytes(source))
        dest[: len(encoded)] = np.frombuffer(encoded, np.uint8)
        return len(encoded)

    blosc2.register_codec("of Python", 207, encode, encode)
    cparams = {
        "codec": 207,
        "filters": [],
        "nthreads": 1,
        "splitmode": blosc2.SplitMode.NEVER_SPLIT,
    }
    theirs = blosc2.asarray(ITEMS, cparams=cparams, dparams={"nthreads": 1}, **PARTITION)
    found = cat.verify(theirs.to_cframe())
    assert not found and len(found.unreadable) == 10 and not found.whole
    assert found.verdict == "not all of it can be read"


@pytest.mark.parametrize("checksum", [False, True])
def test_damage_of_an_array_behind_ranges(checksum):
    frame = frame_of(codec="zstd", checksum=checksum)
    start = int.from_bytes(frame[11:15], "big") + 80
    damaged = next(
        each for at in range(start, len(frame)) if cat.verify(each := flipped(frame, at))
    )
    [damage], [same] = cat.verify(cat.open(Ranges(damaged))), cat.verify(damaged)
    assert (damage.chunk, damage.block) == (same.chunk, same.block) == (0, same.block)
