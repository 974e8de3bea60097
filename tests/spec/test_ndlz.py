"""The decoder of NDLZ in docs/spec reads what the package writes."""

from __future__ import annotations

import importlib.util

import numpy as np
import numpy.typing as npt
import pytest
from reference_reader import SPEC, reader

from caterva_cffi.numcodecs import Caterva

_spec = importlib.util.spec_from_file_location("reference_ndlz", SPEC / "ndlz.py")
assert _spec is not None
assert _spec.loader is not None
ndlz = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(ndlz)


def words(shape: tuple[int, int], side: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return items whose rows, and pairs of rows, occur again."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, 256, (6 + 40 * (seed % 2), side), "u1")
    cells = [-(-n // side) for n in shape]
    picks = random.integers(0, len(rows), (cells[0], side, cells[1]))
    items = rows[picks].reshape(cells[0] * side, cells[1] * side)
    items[:side, :side] = 7
    return np.ascontiguousarray(items[: shape[0], : shape[1]])


@pytest.fixture
def streams(monkeypatch):
    """The streams that the reader has read, by NDLZ too."""
    seen = []

    def decompress(chunk, stream, length):
        assert (chunk.head[2] >> 5, chunk.head[22]) == (6, 32)
        seen.append((stream, chunk.head[23], length))
        return ndlz.decode(bytes(stream), chunk.head[23], length)

    monkeypatch.setattr(reader.Chunk, "decompress", decompress)
    return seen


@pytest.mark.parametrize("side", [4, 8])
def test_every_token_is_read(streams, side, monkeypatch):
    tokens = set()

    def decode_cell(stream, at, *shape):
        tokens.add(stream[at])
        return plain(stream, at, *shape)

    plain = ndlz.decode_cell
    monkeypatch.setattr(ndlz, "decode_cell", decode_cell)
    for seed in range(8):
        items = words((251, 190), side, seed)
        codec = Caterva(
            cname="ndlz", cell_shape=side, block_shape=(83, 61), chunk_shape=items.shape
        )
        assert (reader.Frame(codec.encode(items)).read() == items).all()
    assert streams
    assert tokens == {0x00, 0x40, 0xC0, *ndlz.FOUND[side]}


@pytest.mark.parametrize("side", [4, 8])
def test_damaged_streams_are_refused(streams, side):
    items = words((64, 64), side, 1)
    codec = Caterva(cname="ndlz", cell_shape=side, block_shape=items.shape, chunk_shape=items.shape)
    reader.Frame(codec.encode(items)).read()
    [(stream, _, length)] = streams
    with pytest.raises(ValueError, match="expected 99"):
        ndlz.decode(stream, side, 99)
    for end in range(len(stream)):
        with pytest.raises(ValueError, match="bytes"):
            ndlz.decode(stream[:end], side, length)
    with pytest.raises(ValueError, match="token 0xff"):
        ndlz.decode(stream[:9] + b"\xff" + stream[10:], side, length)
