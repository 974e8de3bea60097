"""What Blosc2 compressed is decoded in a row, whoever compressed it; all else is refused."""

from __future__ import annotations

import blosc2
import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.codecs.any_blosc2 import decode_any

ITEMS = np.arange(10000, dtype="f4").reshape(100, 100)
RAW = ITEMS.tobytes()
COMPRESSED = {
    "frame of an array": bytes(blosc2.asarray(ITEMS, blocks=(7, 9)).to_cframe()),
    "frame of ours": bytes(cat.asarray(ITEMS, blocks=(7, 9)).to_cframe()),
    "frame in a row": blosc2.SChunk(chunksize=len(RAW), data=RAW).to_cframe(),
    "chunk": blosc2.compress2(ITEMS),
    "chunk of odd items": blosc2.compress2(RAW, typesize=7),
    "plain chunk": blosc2.compress2(RAW, clevel=0),
}


@pytest.mark.parametrize("behind", [b"", b"1234"], ids=len)
@pytest.mark.parametrize("kind", COMPRESSED)
def test_it_is_found_out_how_bytes_were_compressed(kind, behind):
    assert decode_any(COMPRESSED[kind] + behind).tobytes() == RAW
    assert decode_any(COMPRESSED[kind] + behind, 5).tobytes() == RAW


@pytest.mark.parametrize("behind", [b"", b"1234"], ids=len)
def test_bytes_that_nobody_compressed_must_be_as_many_as_expected(behind):
    assert decode_any(RAW + behind, len(RAW)).tobytes() == RAW
    for nbytes in (None, len(RAW) - 1):
        with pytest.raises(cat.FormatError, match="neither a frame nor a chunk"):
            decode_any(RAW + behind, nbytes)


@pytest.mark.parametrize("data", [b"", b"1234", bytes(40), COMPRESSED["chunk"][:-9]], ids=len)
def test_other_bytes_are_refused(data):
    with pytest.raises(cat.FormatError):
        decode_any(data)


def test_a_damaged_frame_is_not_taken_for_raw_bytes():
    frame = b"\x9e\xa8b2fram\1" + COMPRESSED["frame in a row"][9:]
    with pytest.raises(cat.FormatError):
        decode_any(frame, len(frame))
