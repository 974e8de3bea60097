"""Where the chunks of a frame begin."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.format.byte_chunks import decode_byte_chunk
from caterva_cffi.format.offsets import (
    encode_offsets,
    offset_of_special,
    special_of_offset,
    specials_of_offsets,
)


@pytest.mark.parametrize("special", range(128))
def test_offsets_of_special_chunks(special):
    offset = offset_of_special(special)
    if special in (1, 2, 4):
        assert special_of_offset(offset) == special
        assert specials_of_offsets(np.array([7, offset, 0])).tolist() == [0, special, 0]
    else:
        for check in (special_of_offset, lambda each: specials_of_offsets(np.array([each]))):
            with pytest.raises(cat.FormatError, match="stands for no chunk"):
                check(offset)


def test_offsets_of_many_chunks_of_zeros_are_believed():
    offsets = np.full(3_000_000, (1 << 56) - (1 << 63))
    chunk = encode_offsets(offsets).tobytes()
    np.testing.assert_array_equal(decode_byte_chunk(chunk, offsets.nbytes, "").view("i8"), offsets)
