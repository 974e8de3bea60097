"""Maps of metalayers, packed and found."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.format.metalayer_map import MOST_LAYERS, find_metalayers, pack_metalayers

LAYERS = {"one": b"1", "empty": b"", "\udcff" * 31: bytes(1000)}
BEGIN = 5


def packed(layers, in_header=False):
    return bytes(BEGIN) + pack_metalayers(layers, BEGIN, in_header=in_header)


def found(data, most=MOST_LAYERS):
    return {
        name: data[start:stop]
        for name, (start, stop) in find_metalayers(data, BEGIN, len(data), most).items()
    }


@pytest.mark.parametrize("in_header", [True, False])
@pytest.mark.parametrize("layers", [{}, LAYERS], ids=["none", "some"])
def test_packed_ones_are_found(layers, in_header):
    assert found(packed(layers, in_header)) == layers


def test_they_stand_where_c_blosc2_puts_them():
    frame = bytes(cat.zeros((3, 4), 1, contiguous=True, meta={"one": b"1"}).to_cframe())
    at = frame.index(b"\x93\xcd")
    layers = find_metalayers(frame, at, len(frame), MOST_LAYERS)
    contents = {name: frame[start:stop] for name, (start, stop) in layers.items()}
    assert contents["one"] == b"1"
    again = pack_metalayers(contents, at, in_header=True)
    assert frame[at : at + len(again)] == again


def test_every_truncation_is_refused():
    data = packed(LAYERS)
    for size in range(BEGIN, len(data)):
        with pytest.raises(cat.FormatError, match="metalayers reach byte"):
            found(data[:size])


def test_changed_bytes_never_reach_outside():
    data = packed({"one": b"1", "two": b"22"})
    for at, value in np.ndindex(len(data), 256):
        changed = data[:at] + bytes([value]) + data[at + 1 :]
        try:
            ranges = find_metalayers(changed, BEGIN, len(changed), MOST_LAYERS)
        except cat.FormatError:
            continue
        assert all(0 <= start <= stop <= len(data) for start, stop in ranges.values())


def test_too_many():
    data = packed(LAYERS)
    assert found(data, 3) == LAYERS
    with pytest.raises(cat.FormatError, match="3 metalayers; at most 2 are possible"):
        found(data, 2)


def test_long_names():
    with pytest.raises(cat.ArgumentError, match="at most 31 bytes"):
        packed({"n" * 32: b""})
