"""What reaches the codec when Zarr writes: no reads for nothing; what other codecs hand over."""

from __future__ import annotations

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, TransposeCodec
from zarr.codecs import numcodecs as others
from zarr_arrays import create, pipeline  # noqa: F401 -- each test runs in both pipelines
from zarr_stores import Asynchronous, RecordedMemory, calls_of

from caterva_cffi.errors import ArgumentError
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec


@pytest.mark.parametrize("store_class", [RecordedMemory, Asynchronous])
@pytest.mark.parametrize(
    ("shape", "chunks", "key"),
    [
        ((4, 8, 8), (1, 8, 8), np.s_[0]),
        ((4, 8, 8), (1, 8, 8), np.s_[1:3, :, :]),
        ((4, 8, 1), (2, 8, 1), np.s_[2:, :, 0]),
        ((10,), (4,), np.s_[:]),
        ((10,), (4,), np.s_[8:]),
        ((10, 7), (4, 4), np.s_[4:, 4:]),
    ],
)
def test_chunks_that_are_written_whole_are_not_read(store_class, shape, chunks, key):
    store = store_class()
    data = np.ones(shape, "i4")
    z = create(data, chunks, store=store)
    store.forget()
    with calls_of("decode", "update") as calls:
        z[key] = data[key] = np.arange(data[key].size).reshape(data[key].shape)
    assert not store.requests
    assert not calls
    assert np.array_equal(z[...], data)


def test_a_damaged_chunk_can_be_written_anew_at_an_edge_too():
    store = RecordedMemory()
    z = create(np.arange(18), (10,), store=store)
    for key, part in (("c/0", np.s_[:10]), ("c/1", np.s_[10:])):
        store._store_dict[key] = store._store_dict["zarr.json"]
        z[part] = 1
    assert (z[:] == 1).all()


def test_what_a_shrunk_array_hides_is_gone_once_its_chunk_was_overwritten():
    z = create(np.arange(18), (10,), fill_value=-1)
    z.resize((15,))
    z[:] = 0
    z.resize((18,))
    assert (z[15:] == -1).all()


def test_a_refused_value_changes_nothing():
    z = create(np.arange(16).reshape(4, 4), (4, 4), CatervaCodec(block_shape=(2, 2)))
    for key, shape in [((0, slice(0, 2)), (2, 1)), (..., (3, 4)), ((slice(0, 2), 0), (0,))]:
        with pytest.raises(ValueError, match="broadcast"):
            z[key] = np.full(shape, 50)
    assert np.array_equal(z[...], np.arange(16).reshape(4, 4))


# --- behind other codecs ----------------------------------------------------------------------

FLOATS = np.linspace(-1, 1, 96, dtype="f4").reshape(8, 12)
INTEGERS = np.arange(96, dtype="i4").reshape(8, 12)
BEFORE = {
    "bitround": (lambda: others.BitRound(keepbits=10), FLOATS),
    "delta": (lambda: others.Delta(dtype="<i4"), INTEGERS),
    "delta, narrower": (lambda: others.Delta(dtype="<i4", astype="<i2"), INTEGERS),
    "fixedscaleoffset": (
        lambda: others.FixedScaleOffset(offset=-1, scale=100, dtype="<f4", astype="<u1"),
        FLOATS,
    ),
    "fixedscaleoffset, as wide": (
        lambda: others.FixedScaleOffset(offset=-1, scale=100, dtype="<f4", astype="<i4"),
        FLOATS,
    ),
    "quantize": (lambda: others.Quantize(digits=2, dtype="<f4"), FLOATS),
    "packbits": (lambda: others.PackBits(), INTEGERS % 3 == 0),
    "astype": (lambda: others.AsType(encode_dtype="<f8", decode_dtype="<f4"), FLOATS),
    "transpose": (lambda: TransposeCodec(order=(1, 0)), FLOATS),
}
if hasattr(zarr.codecs, "CastValue"):
    BEFORE["cast_value"] = (lambda: zarr.codecs.CastValue(data_type="float64"), FLOATS)
if hasattr(zarr.codecs, "ScaleOffset"):
    BEFORE["scale_offset"] = (lambda: zarr.codecs.ScaleOffset(offset=-1, scale=100), FLOATS)


@pytest.mark.filterwarnings("ignore::caterva_cffi.zarr.PartialReadsOffWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("name", BEFORE)
def test_what_other_codecs_hand_over_is_stored_as_by_zarrs_own_codec(name):
    before, data = BEFORE[name]
    found = []
    for codec in (BytesCodec(), CatervaCodec()):
        z = create(data, (5, 6), codec, filters=[before()])
        z[1:3, 2] = data[4:6, 0]
        found.append(z[...])
    assert found[1].dtype == data.dtype
    assert np.array_equal(*found)


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("name", BEFORE)
def test_format_2_with_filters(name):
    before, data = BEFORE[name]
    before = before()
    if not hasattr(before, "codec_config"):  # a codec of format 3
        return
    found = []
    for compressor in (None, Caterva()):
        z = zarr.create_array(
            {},
            shape=data.shape,
            chunks=(5, 6),
            dtype=data.dtype,
            zarr_format=2,
            filters=[numcodecs.get_codec(before.codec_config)],
            compressors=compressor,
        )
        z[...] = data
        z[1:3, 2] = data[4:6, 0]
        found.append(z[...])
    assert np.array_equal(*found)


@pytest.mark.filterwarnings("ignore::caterva_cffi.zarr.PartialReadsOffWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
def test_another_number_of_bytes_is_refused():
    narrower = others.Quantize(digits=2, dtype="<f8", astype="<f4")  # and Zarr is not told
    with pytest.raises(ArgumentError, match=r"120 bytes.*float32.*expected 240.*\(5, 6\).*float64"):
        create(FLOATS.astype("f8"), (5, 6), filters=[narrower])


# --- what small chunks cost -------------------------------------------------------------------


def test_a_frame_of_one_plain_block_is_its_header_and_its_items():
    for nitems in (1, 20):
        store = {}
        create(np.full(nitems, 7, "u1"), (nitems,), CatervaCodec(shuffle="noshuffle"), store)
        frame = store["c/0"].to_bytes()
        header_len = int.from_bytes(frame[11:15], "big")
        assert header_len == 146
        # Of the chunk, of its offset, and of the trailer.
        assert len(frame) - header_len - nitems <= 32 + 32 + 35
