"""What the header of a frame and its offsets say, against C-Blosc2."""

from __future__ import annotations

import json

import pytest
from golden_frames import GOLDEN

import caterva_cffi as cat
from caterva_cffi.format.frame import FrameHeader, special_of_offset

FRAMES = [
    GOLDEN / writer / entry["path"]
    for writer in ("python_caterva", "python_blosc2", "c_blosc2")
    for entry in json.loads((GOLDEN / writer / "index.json").read_text())["frames"]
    if entry["kind"] == "file"
]


@pytest.mark.parametrize("path", FRAMES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_headers_say_what_c_blosc2_reads(path):
    data = path.read_bytes()
    header = FrameHeader.parse(data)
    with cat.open(path, mode="r") as array:
        schunk = array.schunk.ptr
        assert (header.frame_len, header.sparse) == (len(data), False)
        assert (header.nbytes, header.cbytes) == (schunk.nbytes, schunk.cbytes)
        assert (header.itemsize, header.chunksize) == (schunk.typesize, schunk.chunksize)
        assert header.nchunks == schunk.nchunks
        assert header.metalayers == dict(array.meta)
    for size in {*range(0, min(len(data), header.header_len), 7), header.header_len - 1}:
        with pytest.raises(cat.FormatError):
            FrameHeader.parse(data[:size])


@pytest.mark.parametrize("special", range(128))
def test_offsets_of_special_chunks(special):
    offset = (special << 56) - (1 << 63)
    if special in (1, 2, 4):
        assert special_of_offset(offset) == special
    else:
        with pytest.raises(cat.FormatError, match="stands for no chunk"):
            special_of_offset(offset)
