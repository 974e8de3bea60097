"""What is damaged, what is no frame, and what nobody can verify."""

from __future__ import annotations

import os
import pickle

import blosc2
import pytest
from damage import CHECKED, FRAME, ITEMS, flipped

import caterva_cffi as cat
from caterva_cffi.__main__ import main


@pytest.mark.parametrize("source", ["path", "buffer"])
@pytest.mark.parametrize("frame", [FRAME, CHECKED], ids=["plain", "checksums"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda frame: frame[:1], "cut off"),
        (lambda frame: frame[:5], "cut off"),
        (lambda frame: frame[:200], "200 bytes of a frame that has"),
        (lambda frame: frame[:-1], "cut off"),
        (lambda frame: frame + b"x", r"and 1 bytes behind it"),
        (lambda frame: frame + frame, r"bytes behind it"),
        (lambda frame: flipped(frame, 5), ""),
        (lambda frame: flipped(frame, 13), ""),
        (lambda frame: frame[:100] + bytes(len(frame) - 100), ""),
    ],
)
def test_what_begins_as_a_frame_is_damaged(damage, message, frame, source, tmp_path):
    damaged = damage(frame)
    (tmp_path / "a").write_bytes(damaged)
    found = cat.verify(tmp_path / "a" if source == "path" else damaged)
    assert message in found[0].message
    assert found.verdict.startswith("damaged in ") and not found.whole and not found.decodes


OTHERS = {
    "empty": b"",
    "csv": b"a,b\n1,2\n" * 40,
    "json": b'{"b2frame": 1}',
    "pickle": pickle.dumps(list(range(100))),
    "npy": b"\x93NUMPY\1\0" + bytes(90),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "zeros": bytes(1000),
    "a frame somewhere else": b"header " + FRAME,
    "a list of chunks": blosc2.SChunk(data=ITEMS, contiguous=True).to_cframe(),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_what_is_no_frame_is_not_damaged(data, tmp_path, capsys):
    path = tmp_path / "a"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(ValueError, match=r"is no Blosc2 frame: it|no N-d array"):
            cat.verify(source)
    assert main(["verify", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and str(path) in err


def test_arguments(tmp_path):
    with pytest.raises(TypeError, match="source is int; expected a path, a buffer"):
        cat.verify(3)
    with pytest.raises(FileNotFoundError):
        cat.verify(tmp_path / "nothing")
    with pytest.raises(cat.ArgumentError, match="is a URL"):
        cat.verify("s3://bucket/a")
    with pytest.raises(cat.ArgumentError, match="without a sparse frame or a Zarr array"):
        cat.verify(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(cat.ArgumentError, match="neither a file nor a directory"):
        cat.verify(tmp_path / "pipe")
