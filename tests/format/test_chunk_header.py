"""What the first bytes of a chunk say."""

from __future__ import annotations

import numpy as np
import pytest

import caterva_cffi as cat
from caterva_cffi.format import chunk_header
from caterva_cffi.format.chunk_header import HEADER, SPECIALS, special_header

ITEMS = np.arange(1000, dtype="i4").reshape(10, 100)
PARTITION = {"chunks": (5, 100), "blocks": (5, 10)}


def chunk_of(items, **options):
    with cat.asarray(items, **PARTITION, **options) as array:
        chunk = array.schunk.chunk(1)
        return bytes(cat.ffi.buffer(chunk.pointer, chunk.size))


def test_a_chunk_of_blocks():
    chunk = chunk_of(ITEMS)
    assert chunk_header.sizes_of(chunk) == (2000, 200, len(chunk))
    assert chunk_header.cbytes_of(chunk) == len(chunk) == chunk_header.check_size(chunk, 1)
    assert chunk_header.special_of(chunk) == 0
    assert not chunk_header.is_plain(chunk)
    assert chunk_header.is_simple(chunk)


def test_plain_blocks():
    assert chunk_header.is_plain(chunk_of(ITEMS, clevel=0))


def test_many_chunks():
    chunks = [chunk_of(ITEMS), chunk_of(0 * ITEMS)]
    both = np.frombuffer(b"".join(chunks), np.uint8)
    starts = np.array([0, len(chunks[0])])
    assert chunk_header.many_cbytes_of(both, starts).tolist() == list(map(len, chunks))


@pytest.mark.parametrize("special", SPECIALS)
def test_special_chunks(special):
    header = special_header(2000, 200, 4, special)
    assert chunk_header.special_of(header) == special
    assert chunk_header.sizes_of(header) == (2000, 200, HEADER) == (2000, 200, len(header))


def test_zeros_are_what_c_blosc2_makes_of_them():
    chunk = special_header(2000, 200, 4, 1)
    context = cat.ffi.gc(
        cat.lib.blosc2_create_dctx(cat.ffi.new("blosc2_dparams *", {"nthreads": 1})[0]),
        cat.lib.blosc2_free_ctx,
    )
    items = np.ones(500, "i4")
    buffer = cat.ffi.from_buffer(items)
    size = cat.lib.blosc2_decompress_ctx(context, chunk, len(chunk), buffer, items.nbytes)
    assert size == items.nbytes and not items.any()


@pytest.mark.parametrize(
    ("at", "value"),
    [(2, 0x01), (2, 0xA5), (18, 5), (30, 1), (31, 0x08), (31, 0x80)],
    ids=["not extended", "codec", "filter", "codec number", "lazy", "instrumented"],
)
def test_what_needs_more_than_the_chunk(at, value):
    chunk = bytearray(chunk_of(ITEMS))
    chunk[at] = value
    assert not chunk_header.is_simple(bytes(chunk))


@pytest.mark.parametrize("size", [-1, 0, HEADER - 1, HEADER + 1, 2**31 - 1])
def test_sizes_that_cannot_be(size):
    header = bytearray(special_header(2000, 200, 4, 1))
    header[12:16] = size.to_bytes(4, "little", signed=True)
    with pytest.raises(cat.FormatError, match=rf"^chunk 7 has {size} bytes; there are 32"):
        chunk_header.check_size(bytes(header), 7)


def test_half_a_header():
    with pytest.raises(cat.FormatError, match="chunk 0 has -1 bytes; there are 16"):
        chunk_header.check_size(bytes(16), 0)
