"""What the header of a frame and its offsets say, against C-Blosc2."""

from __future__ import annotations

import json

import pytest
from golden_frames import GOLDEN
from hypothesis import assume, given
from hypothesis import strategies as st

import caterva_cffi as cat
from caterva_cffi.format.frame_header import FrameHeader, compression_in, pack_header, set_sizes
from caterva_cffi.format.trailer import empty_trailer
from caterva_cffi.superchunk.schunk import SChunk

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
        found = compression_in(data[: header.header_len])
        known = cat.Compression.of(schunk)
        for name in ("codec_id", "clevel", "filter_ids", "filter_metas"):
            assert getattr(found, name) == getattr(known, name)
    for size in {*range(0, min(len(data), header.header_len), 7), header.header_len - 1}:
        with pytest.raises(cat.FormatError):
            FrameHeader.parse(data[:size])


layers = st.dictionaries(
    st.text("abc\udc80", min_size=1, max_size=20), st.binary(max_size=40), max_size=16
)
compressions = st.builds(
    cat.Compression,
    codec=st.sampled_from(cat.Codec),
    clevel=st.integers(0, 9),
    filters=st.lists(st.sampled_from(cat.Filter), max_size=6),
    filtersmeta=st.lists(st.integers(-128, 255), max_size=6),
    usedict=st.booleans(),
    splitmode=st.sampled_from(cat.SplitMode),
    codec_meta=st.integers(-128, 255),
)


@given(compressions)
def test_a_header_says_how_chunks_are_compressed(compression):
    found = compression_in(bytes(pack_header(compression, 8, 64, {})))
    for name in ("codec_id", "clevel", "filter_ids", "filter_metas", "usedict", "splitmode"):
        assert getattr(found, name) == getattr(compression, name)
    assert found.codec_meta == compression.codec_meta & 0xFF


@given(compressions, st.integers(1, 300), st.integers(0, 1 << 20), layers)
def test_a_new_header_and_trailer_are_those_of_c_blosc2(compression, itemsize, blocks, layers):
    blocksize = blocks * itemsize
    try:
        schunk = SChunk.create(compression, itemsize, blocksize, layers, contiguous=True)
    except cat.ArgumentError:
        assume(False)
    expected = bytes(schunk.to_buffer())
    header, trailer = pack_header(compression, itemsize, blocksize, layers), empty_trailer()
    set_sizes(header, frame_len=len(header) + len(trailer), cbytes=0)
    assert bytes(header) + trailer == expected
    assert FrameHeader.parse(bytes(header)).metalayers == layers


def test_sizes_of_a_header():
    header = pack_header(cat.Compression(), 4, 64, {})
    set_sizes(header, frame_len=1000, cbytes=300, chunksize=256, nchunks=3)
    parsed = FrameHeader.parse(bytes(header))
    assert (parsed.frame_len, parsed.cbytes, parsed.nbytes) == (1000, 300, 768)
    assert (parsed.nchunks, parsed.chunksize, parsed.blocksize) == (3, 256, 64)
    set_sizes(header, frame_len=2000, cbytes=400)
    changed = FrameHeader.parse(bytes(header))
    assert (changed.frame_len, changed.cbytes, changed.nbytes) == (2000, 400, 768)
