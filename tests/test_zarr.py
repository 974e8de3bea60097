"""The Zarr v3 codec in both of Zarr's pipelines: what goes in comes out, as NumPy would have it."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import zarr
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, ShardingCodec, TransposeCodec, ZstdCodec
from zarr_arrays import (
    DEFAULT,
    PIPELINES,
    create,
    each,
    hypothesis_settings,
    integers,
    masks,
    objects,
    orthogonal,
    partitions,
    pipeline,  # noqa: F401 -- each test runs in both pipelines
    points,
    slices,
    unstable,
)

import caterva_cffi as cat
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec, PartialReadsOffWarning, PartitionWarning


def frames(store):
    return {key: cat.from_cframe(value.as_numpy_array()) for key, value in objects(store).items()}


@contextmanager
def decoded_boxes():
    """Record the shape of each box that the kernel decodes."""
    boxes, decode = [], Kernel.decode
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Kernel,
            "decode",
            lambda self, parts, **options: (
                boxes.extend(tuple(box[1]) for _, _, box, _, _ in parts)
                or decode(self, parts, **options)
            ),
        )
        yield boxes


def unique_points(length):
    return points(length, unique=True).map(sorted)


def made(partition):
    shape, chunks, blocks = partition
    data = np.arange(1, 1 + math.prod(shape), dtype="i4").reshape(shape)
    return data, create(data, chunks, CatervaCodec(block_shape=blocks))


@given(partitions(min_side=0), st.data())
@hypothesis_settings
def test_basic_selections(partition, draws):
    data, z = made(partition)
    kinds = [slices, integers] if data.size else [slices]
    selection = each(draws.draw, data.shape, *kinds)
    assert np.array_equal(z[selection], data[selection])
    cut = draws.draw(st.integers(0, data.ndim))
    assert np.array_equal(z[(..., *selection[cut:])], data[(..., *selection[cut:])])
    assert np.array_equal(z[selection[:cut]], data[selection[:cut]])


@given(partitions(), st.data())
@hypothesis_settings
def test_orthogonal_selections(partition, draws):
    data, z = made(partition)
    selection = each(draws.draw, data.shape, slices, integers, points, masks)
    assert np.array_equal(z.oindex[selection], orthogonal(data, selection))


@given(partitions(), st.data())
@hypothesis_settings
def test_coordinates_and_masks(partition, draws):
    data, z = made(partition)
    count = draws.draw(st.integers(1, 6))
    coordinates = tuple(
        np.array(draws.draw(st.lists(integers(n), min_size=count, max_size=count)))
        for n in data.shape
    )
    assert np.array_equal(z.vindex[coordinates], data[coordinates])
    mask = draws.draw(masks(data.size)).reshape(data.shape)
    assert np.array_equal(z.vindex[mask], data[mask])
    assert np.array_equal(z.get_mask_selection(mask), data[mask])


@given(partitions(), st.data())
@hypothesis_settings
def test_block_selections(partition, draws):
    data, z = made(partition)
    selection, expected = [], []
    for length, chunk in zip(data.shape, z.chunks, strict=True):
        count = -(-length // chunk)
        first = draws.draw(st.integers(0, count - 1))
        last = draws.draw(st.integers(first + 1, count))
        selection.append(slice(first, last))
        expected.append(slice(first * chunk, last * chunk))
    assert np.array_equal(z.blocks[tuple(selection)], data[tuple(expected)])


@given(partitions(), st.data())
@hypothesis_settings
def test_writes(partition, draws):
    data, z = made(partition)
    data = data.copy()
    for _ in range(3):
        selection = each(draws.draw, data.shape, slices, integers)
        if draws.draw(st.booleans()):
            data[selection] = z[selection] = draws.draw(st.integers(0, 9))
        else:
            value = -np.arange(data[selection].size, dtype="i4").reshape(data[selection].shape)
            data[selection] = value
            z[selection] = value
        assert np.array_equal(z[...], data)


@given(partitions(), st.data())
@hypothesis_settings
def test_orthogonal_and_coordinate_writes(partition, draws):
    data, z = made(partition)
    data = data.copy()
    selection = each(draws.draw, data.shape, slices, integers, unique_points, masks)
    numbers = np.arange(data.size).reshape(data.shape)
    chosen = orthogonal(numbers, selection)
    value = -chosen.astype("i4")
    data.reshape(-1)[chosen] = value
    z.oindex[selection] = value
    assert np.array_equal(z[...], data)
    mask = draws.draw(masks(data.size)).reshape(data.shape)
    data[mask] = z.vindex[mask] = np.arange(mask.sum(), dtype="i4")
    assert np.array_equal(z[...], data)


def test_reads_decode_only_what_is_asked_for():
    data = np.arange(64**3, dtype="f4").reshape(64, 64, 64)
    z = create(data, (64, 64, 64), CatervaCodec(block_shape=(16, 16, 16)))
    for selection, shape in [
        (np.s_[3], (1, 64, 64)),
        (np.s_[10:14, 3:9, 63], (4, 6, 1)),
        (np.s_[5, 6, 7], (1, 1, 1)),
    ]:
        with decoded_boxes() as boxes:
            assert np.array_equal(z[selection], data[selection])
        assert boxes == [shape]


def test_many_threads():
    data = np.random.default_rng(1).normal(size=(60, 50))
    z = create(data, (25, 25), CatervaCodec(block_shape=(5, 5)))
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: z[i % 60], range(240)))
    assert all(np.array_equal(row, data[i % 60]) for i, row in enumerate(rows))


# --- dtypes ----------------------------------------------------------------------------------


@unstable
@pytest.mark.parametrize(
    "dtype",
    [
        *("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"),
        *("M8[ns]", "M8[D]", "m8[s]", "S5", "U3", "V7"),
        *(">i4", ">f8", ">c8", ">M8[s]", ">U2"),
        [("a", "i4"), ("b", "f8")],
        [("a", "u1"), ("b", "S3"), ("c", ">i2")],
    ],
    ids=str,
)
def test_dtypes(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind in "SU":
        data = np.array([["ab", "", "c"], ["d", "ef", "g"], ["h", "i", "j"]]).astype(dtype)
    else:
        raw = np.arange(1, 1 + 9 * dtype.itemsize, dtype="u1") % (2 if dtype.kind == "b" else 127)
        data = raw.view(dtype).reshape(3, 3)
    store = {}
    z = create(data, (2, 2), store=store)
    for array in (z, zarr.open_array(store, mode="r")):
        assert array[...].astype(dtype).tobytes() == data.tobytes()
        assert array[1, :2].astype(dtype).tobytes() == data[1, :2].tobytes()
        assert array.oindex[[0, 2], 1].astype(dtype).tobytes() == data[[0, 2], 1].tobytes()
    for frame in frames(store).values():
        assert frame.dtype == dtype.newbyteorder("<")
        assert frame.shape == (2, 2)


@unstable
@pytest.mark.parametrize("shards", [None, (6,)])
@pytest.mark.parametrize("dtype", ["string", "variable_length_bytes"])
def test_items_of_variable_length_are_refused(dtype, shards):
    with pytest.raises(TypeError, match="codec 'caterva' cannot store VariableLength"):
        zarr.create_array(
            {}, shape=(9,), chunks=(3,), shards=shards, dtype=dtype, serializer=CatervaCodec()
        )


@unstable
@pytest.mark.parametrize("dtype", ["<i4", ">i4", "<M8[s]", ">m8", "V4", [("a", ">i4")]], ids=str)
@pytest.mark.filterwarnings("ignore:The 'generic' unit")
def test_frames_of_either_byte_order_and_without_dtype(dtype):
    dtype, store = np.dtype(dtype), {}
    numbers = np.arange(6, dtype=f"<i{dtype.itemsize}").reshape(2, 3)  # as frames hold them
    data = (numbers if dtype == dtype.newbyteorder("<") else numbers.byteswap()).view(dtype)
    z = create(data, (2, 3), store=store)
    (key,) = objects(store)
    buffer = type(store[key])
    for frame in (
        cat.asarray(data, contiguous=True),
        cat.asarray(numbers, contiguous=True),
        cat.asarray(numbers.view(f"V{dtype.itemsize}"), contiguous=True),
        cat.from_buffer(numbers, numbers.shape, dtype.itemsize, contiguous=True),
        *([cat.asarray(numbers.astype(">i8"), contiguous=True)] if dtype.kind in "Mm" else []),
    ):
        store[key] = buffer.from_bytes(frame.to_cframe())
        for _ in range(2):
            for part in (..., 1):
                found = z[part]
                big = found.dtype != found.dtype.newbyteorder("<")
                little = found.byteswap() if big else found
                assert little.tobytes() == numbers[part].tobytes()
            z[1, 1:] = data[1, 1:]


# --- chunks that are not full ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [((), ()), ((0,), (3,)), ((4, 0), (2, 2)), ((1,), (1,)), ((7, 5), (4, 4)), ((3,), (8,))],
    ids=str,
)
def test_edges(shape, chunks):
    data = np.arange(math.prod(shape), dtype="f4").reshape(shape) + 1
    store = {}
    z = create(data, chunks, store=store, fill_value=-1)
    assert z[...].shape == shape
    assert np.array_equal(z[...], data)
    z[...] = 9
    assert np.array_equal(z[...], np.full(shape, 9))
    for frame in frames(store).values():
        assert frame.shape == chunks


def test_edge_chunks_are_padded_with_the_fill_value():
    store = {}
    create(np.ones(5, "i4"), (4,), store=store, fill_value=-7)
    assert frames(store)["c/1"][:].tolist() == [1, -7, -7, -7]


@pytest.mark.parametrize("fill_value", [0, 5, np.nan, np.inf])
def test_missing_chunks(fill_value):
    store = {}
    data = np.full((8, 8), fill_value, "f4")
    z = create(data, (4, 4), store=store, fill_value=fill_value)
    assert not objects(store)
    data[0, 0] = z[0, 0] = 3
    assert list(objects(store)) == ["c/0/0"]
    assert np.array_equal(z[...], data, equal_nan=True)
    assert np.array_equal(z[2:6, 1], data[2:6, 1], equal_nan=True)
    z[0, 0] = fill_value
    assert not objects(store)
    kept = create(data * np.nan, (4, 4), fill_value=np.nan, config={"write_empty_chunks": True})
    assert kept.nchunks_initialized == 4


def test_resize_and_append():
    data = np.arange(30).reshape(6, 5)
    z = create(data, (4, 4))
    z.append(data)
    z.resize((11, 5))
    assert np.array_equal(z[...], np.concatenate([data, data])[:11])


def test_fortran_order_in_memory():
    data = np.arange(30).reshape(6, 5)
    z = create(np.asfortranarray(data), (4, 4), config={"order": "F"})
    assert np.array_equal(z[...], data)
    z[1, :] = data[1] = 0
    assert np.array_equal(z[...], data)


# --- with others -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [
        {"compressors": [Crc32cCodec()]},
        {"compressors": [ZstdCodec(level=1), Crc32cCodec()]},
        {"filters": [TransposeCodec(order=(1, 0))]},
        {"filters": [TransposeCodec(order=(1, 0))], "compressors": [ZstdCodec()]},
    ],
    ids=lambda others: "+".join(others),
)
def test_beside_other_codecs_it_works_and_warns_once(others):
    data = np.arange(300, dtype="i4").reshape(20, 15)
    store = {}
    codec = CatervaCodec(block_shape=(2, 6))
    with pytest.warns(PartialReadsOffWarning, match="compressors=None") as caught:
        z = create(data, (6, 8), codec, store, **others)
        z[3, :7] = data[3, :7] = -1
        assert np.array_equal(z[...], data)
        assert np.array_equal(z[2:9, 3], data[2:9, 3])
    assert [each.filename for each in caught] == [create.__code__.co_filename]
    with pytest.warns(PartialReadsOffWarning):
        assert np.array_equal(zarr.open_array(store, mode="r")[5], data[5])


MISPLACED = {
    "compressors=CatervaCodec()": {"compressors": CatervaCodec()},
    "filters=CatervaCodec()": {"filters": CatervaCodec()},
    "serializer=CatervaCodec": {"serializer": CatervaCodec},
    "serializer=Caterva()": {"serializer": Caterva()},
    "compressors=Caterva()": {"compressors": Caterva()},
    "zarr_format=2, serializer=CatervaCodec()": {"zarr_format": 2, "serializer": CatervaCodec()},
}


@pytest.mark.parametrize("given", MISPLACED)
def test_the_documentation_names_what_zarr_says_of_misplaced_codecs(given):
    with pytest.raises((TypeError, ValueError)) as caught:
        zarr.create_array({}, shape=4, dtype="i4", **MISPLACED[given])
    documentation = (ROOT / "docs" / "zarr.md").read_text()
    [row] = [line for line in documentation.splitlines() if line.startswith(f"| `{given}`")]
    assert f"{caught.type.__name__}: {caught.value}`" in row


def test_forgotten_compressors_are_told():
    with pytest.warns(PartialReadsOffWarning):
        zarr.create_array({}, data=np.arange(10), serializer=CatervaCodec())


def test_alone_it_does_not_warn(tmp_path):
    data = np.arange(300, dtype="i4").reshape(20, 15)
    for store in ({}, tmp_path / "local", zarr.storage.LocalStore(tmp_path / "store")):
        z = create(data, (6, 8), store=store)
        z[3, :7] = 0
        assert z[3, 7] == data[3, 7]


class AsynchronousStore(zarr.storage.WrapperStore):
    """A store that has no synchronous methods, as remote ones have none."""

    _supports_sync_io = False


def test_on_asynchronous_stores():
    data = np.arange(300, dtype="i4").reshape(20, 15)
    z = create(data, (6, 8), store=AsynchronousStore(zarr.storage.MemoryStore()))
    z[3, :7] = data[3, :7] = 0
    with decoded_boxes() as boxes:
        assert np.array_equal(z[2, 3:6], data[2, 3:6])
    assert boxes == [(1, 3)]
    assert np.array_equal(z[...], data)


@pytest.mark.parametrize("index_location", ["start", "end"])
def test_inside_shards(index_location):
    data = np.arange(40 * 30, dtype="u2").reshape(40, 30)
    codec = ShardingCodec(
        chunk_shape=(8, 8), codecs=[CatervaCodec(block_shape=(4, 4))], index_location=index_location
    )
    store = {}
    z = create(data, (16, 16), codec, store)
    assert len(objects(store)) == 6
    for array in (z, zarr.open_array(store)):
        assert np.array_equal(array[...], data)
        assert np.array_equal(array[3:37:5, 29], data[3:37:5, 29])
        assert np.array_equal(array.oindex[[1, 39], [0, 2]], data[np.ix_([1, 39], [0, 2])])
        array[5, 5:20] = data[5, 5:20] = 7
        assert np.array_equal(array[...], data)
        array[:16, :16] = data[:16, :16] = 0
    assert len(objects(store)) == 5


def test_inside_shards_beside_others_it_warns():
    data = np.arange(64, dtype="u2").reshape(8, 8)
    codec = ShardingCodec(chunk_shape=(4, 4), codecs=[CatervaCodec(), Crc32cCodec()])
    with pytest.warns(PartialReadsOffWarning):
        assert np.array_equal(create(data, (8, 8), codec)[...], data)


def test_create_array_with_shards():
    data = np.arange(64, dtype="u2").reshape(8, 8)
    assert np.array_equal(create(data, (2, 2), shards=(4, 4))[...], data)


# --- configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "configuration"),
    [
        (CatervaCodec(), {"cname": "lz4", "clevel": 5, "shuffle": "shuffle"}),
        (
            CatervaCodec(
                block_shape=[2, 3], chunk_shape=(4, 6), cname="zstd", clevel=1, shuffle="noshuffle"
            ),
            {
                "block_shape": [2, 3],
                "chunk_shape": [4, 6],
                "cname": "zstd",
                "clevel": 1,
                "shuffle": "noshuffle",
            },
        ),
    ],
)
def test_metadata(codec, configuration):
    store = {}
    z = create(np.arange(80.0).reshape(8, 10), (8, 10), codec, store)
    metadata = json.loads(store["zarr.json"].to_bytes())
    assert metadata["codecs"] == [{"name": "caterva", "configuration": configuration}]
    assert zarr.open_array(store).metadata.codecs == (codec,)
    for other in (
        CatervaCodec.from_dict(metadata["codecs"][0]),
        eval(repr(codec)),
        pickle.loads(pickle.dumps(codec)),
        z.metadata.codecs[0],
    ):
        assert other == codec
        assert hash(other) == hash(codec)
    (frame,) = frames(store).values()
    assert frame.chunks == (codec.chunk_shape or (8, 10))
    assert codec.block_shape in (None, frame.blocks)
    assert frame.codec.name.lower() == codec.cname
    assert frame.clevel == codec.clevel


def test_defaults_need_no_configuration():
    assert CatervaCodec.from_dict({"name": "caterva"}) == CatervaCodec()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"name": "blosc"}, "'blosc'; expected 'caterva'"),
        (
            {"name": "caterva", "configuration": {"blocks": [2]}},
            "'blocks'; expected .*block_shape",
        ),
        ({"name": "caterva", "configuration": {"is_fixed_size": True}}, "'is_fixed_size'"),
        ({"name": "caterva", "configuration": {"cname": "snappy"}}, "cname is 'snappy'"),
        ({"name": "caterva", "configuration": {"clevel": 11}}, "clevel is 11"),
        ({"name": "caterva", "configuration": {"block_shape": [-1]}}, "block_shape"),
    ],
)
def test_wrong_metadata(data, match):
    with pytest.raises(ValueError, match=match):
        CatervaCodec.from_dict(data)


# How arrays of chunks (6, 12) are stored for what is wished, and what of it is told.
WISHES = {
    "fits": ({"block_shape": (6, 4)}, (6, 12), (6, 4), None),
    "too long": ({"block_shape": (7, 4)}, (6, 12), (6, 4), "block_shape (7, 4) does not fit"),
    "swapped": ({"block_shape": (12, 1)}, (6, 12), (6, 1), "shape (6, 12): codec 'caterva' stores"),
    "of another rank": ({"block_shape": (2,)}, (6, 12), (6, 12), "stores blocks of (6, 12)"),
    "chunks fit": ({"chunk_shape": (3, 12)}, (3, 12), (3, 12), None),
    "chunks too long": ({"chunk_shape": (3, 99)}, (3, 12), (3, 12), "chunk_shape (3, 99) does"),
    "both": (
        {"block_shape": (5, 2), "chunk_shape": (9, 2)},
        (6, 2),
        (5, 2),
        "chunk_shape (9, 2) does not fit shape (6, 12): codec 'caterva' stores blocks of (5, 2) in",
    ),
}
WAYS = {
    "alone": {"serializer": lambda codec: codec, "chunks": (6, 12)},
    "format 2": {"zarr_format": 2, "chunks": (6, 12)},
    "in shards": {"serializer": lambda codec: codec, "chunks": (6, 12), "shards": (12, 12)},
    "turned": {
        "serializer": lambda codec: codec,
        "chunks": (12, 6),
        "filters": [TransposeCodec(order=(1, 0))],
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("wish", "chunks", "blocks", "told"), WISHES.values(), ids=WISHES)
@pytest.mark.filterwarnings("ignore::caterva_cffi.zarr.PartialReadsOffWarning")
def test_shapes_are_wishes(way, wish, chunks, blocks, told):
    kwargs, store, data = dict(WAYS[way]), {}, np.arange(1, 577, dtype="i4").reshape(24, 24)
    if way == "format 2":
        kwargs["compressors"] = Caterva(**wish)
    else:
        kwargs |= {"serializer": CatervaCodec(**wish), "compressors": None}
    with recorded(PartitionWarning) as caught:
        z = zarr.create_array(store, shape=data.shape, dtype="i4", **kwargs)
        z[...] = data
        z[:3] = data[:3] = -1
        z.resize((30, 24))
        z[24:] = 5
    assert [told in str(each.message) for each in caught] == ([True] if told else [])
    assert all(each.filename == __file__ for each in caught)
    again = zarr.open_array(store, mode="r")  # says nothing
    assert np.array_equal(again[:24], data)
    if way == "in shards":
        return
    (codec,) = again.compressors if way == "format 2" else again.metadata.codecs[-1:]
    for name, shape in wish.items():
        assert getattr(codec, name) == shape  # the wish is kept for arrays that are made from it
    frames = [
        cat.from_cframe(value.to_bytes()) for key, value in store.items() if key[-1].isdigit()
    ]
    assert {(frame.chunks, frame.blocks) for frame in frames} == {(chunks, blocks)}


@contextmanager
def recorded(category):
    """Record warnings of a category; others are errors."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", category)
        yield caught


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_codec_is_used_again(zarr_format):
    """As xarray does with the encoding of what it opened."""
    wish, store = {"block_shape": (5, 10, 10)}, {}
    ours = (
        {"compressors": Caterva(**wish)}
        if zarr_format == 2
        else {"serializer": CatervaCodec(**wish), "compressors": None}
    )
    data = np.random.default_rng(0).random((10, 20, 30))
    z = zarr.create_array(
        store, shape=data.shape, chunks=(10, 10, 15), dtype="f8", zarr_format=zarr_format, **ours
    )
    z[...] = data
    opened = zarr.open_array(store)
    for name in ours:
        ours[name] = getattr(opened, name) or None
    for part, chunks in [
        (data[3], (20, 30)),
        (data[:3], (3, 10, 15)),
        (data, (2, 20, 5)),
        (data[0, 0, 0], ()),
    ]:
        with pytest.warns(PartitionWarning) as caught:
            other = zarr.create_array(
                {}, shape=part.shape, chunks=chunks, dtype="f8", zarr_format=zarr_format, **ours
            )
            other[...] = part
        assert len(caught) == 1
        assert np.array_equal(other[...], part)
    with pytest.warns(PartitionWarning, match="stores blocks of"):
        copied = zarr.from_array({}, data=opened, chunks=(2, 4, 30))
    assert np.array_equal(copied[...], data)


if hasattr(zarr.core.metadata.v3, "RectilinearChunkGridMetadata"):

    @pytest.mark.parametrize(
        ("wish", "told"),
        [
            ((5, 6), None),
            ((5, 7), "block_shape (5, 7) does not fit shape (5, 6)"),
            ((6, 5), "block_shape (6, 5) does not fit shape (5, 6)"),
            ((5,), "block_shape (5,) does not fit shape (5, 6)"),
        ],
    )
    @pytest.mark.parametrize("turned", [False, True])
    @pytest.mark.filterwarnings("ignore::caterva_cffi.zarr.PartialReadsOffWarning")
    def test_chunks_of_several_shapes_are_told_of_once(wish, told, turned):
        lengths, shape, filters = [[4, 5, 3], [6, 6, 2]], (12, 14), []
        if turned:
            lengths, shape, filters = lengths[::-1], shape[::-1], [TransposeCodec(order=(1, 0))]
        codec = CatervaCodec(block_shape=wish)
        with (
            zarr.config.set({"array.rectilinear_chunks": True}),
            recorded(PartitionWarning) as caught,
        ):
            z = zarr.create_array(
                {},
                shape=shape,
                chunks=lengths,
                dtype="i4",
                serializer=codec,
                filters=filters,
                **DEFAULT,
            )
            z[...] = 1
            z[:4] = 2
        assert [told in str(each.message) for each in caught] == ([True] if told else [])


def test_threads_are_told_once():
    z = zarr.create_array(
        {},
        shape=(64, 8),
        chunks=(4, 8),
        dtype="i4",
        serializer=CatervaCodec(block_shape=(9, 9)),
        **DEFAULT,
    )
    with recorded(PartitionWarning) as caught, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: z.__setitem__(slice(at, at + 4), 1), range(0, 64, 4)))
    assert len(caught) == 1


def test_too_many_dimensions():
    with pytest.raises(ValueError, match="at most 16 dimensions, the array has 17"):
        create(np.zeros((1,) * 17), (1,) * 17)


def test_zarr_finds_it_with_nothing_imported(tmp_path):
    create(np.arange(10), (5,), store=tmp_path)
    code = f"import zarr; print(zarr.open_array({str(tmp_path)!r}, mode='r')[3:6])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[3 4 5]"


# --- bad chunks ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "match"),
    [
        (np.zeros((4, 3), "i4"), r"shape \(4, 3\) and dtype int32; .* \(4, 4\) and dtype int32"),
        (np.zeros((16,), "i4"), r"shape \(16,\)"),
        (np.zeros((4, 4), "i8"), "dtype int64"),
        (np.zeros((4, 4), "f4"), "dtype float32"),
    ],
)
def test_frames_of_another_array(found, match):
    store = {}
    z = create(np.arange(16, dtype="i4").reshape(4, 4), (4, 4), store=store)
    store["c/0/0"] = type(store["c/0/0"]).from_bytes(bytes(cat.asarray(found).to_cframe()))
    for selection in (..., np.s_[1, 2]):
        with pytest.raises(cat.FormatError, match=match):
            z[selection]
    with pytest.raises(cat.FormatError, match=match):
        z[1, 2] = 3


@pytest.mark.parametrize("keep", [0, 10, 100, -1])
def test_truncated_chunks(keep):
    store = {}
    z = create(np.random.default_rng(3).normal(size=(32, 32)), (32, 32), store=store)
    store["c/0/0"] = store["c/0/0"][: keep if keep >= 0 else len(store["c/0/0"]) + keep]
    for selection in (..., np.s_[31, 31]):
        with pytest.raises(cat.CatervaError):
            z[selection]


def test_encoded_size_is_not_known_beforehand():
    with pytest.raises(NotImplementedError):
        CatervaCodec().compute_encoded_size(100, None)


def test_repr_shows_the_blocks_in_use():
    codec, shape = CatervaCodec(), (100, 200, 300)
    like = {"shape": shape, "dtype": "f4", "compressors": None}
    z = zarr.create_array({}, chunks=(50, 100, 150), serializer=codec, **like)
    blocks = codec.partition((50, 100, 150), 4)[1]
    if "FusedCodecPipeline" not in PIPELINES:  # earlier releases do not tell enough
        assert repr(codec) == repr(CatervaCodec())
        return
    assert repr(codec) == f"{CatervaCodec()}  # blocks {blocks}"
    assert f"# blocks {blocks}" in str(z.info)
    shown = repr(zarr.open_array(z.store).metadata.codecs[0])
    assert shown == repr(codec) and eval(shown) == codec
    sharded = zarr.create_array(
        {}, chunks=(50, 100, 150), shards=shape, serializer=CatervaCodec(), **like
    )
    assert f"# blocks {blocks}" in repr(sharded.metadata.codecs)
    # Of several partitions nobody knows which one is asked for.
    zarr.create_array({}, chunks=(10, 10, 10), serializer=codec, **like)
    turned = {
        "filters": [zarr.codecs.TransposeCodec(order=(2, 0, 1))],
        "serializer": CatervaCodec(),
    }
    for other in (codec, zarr.create_array({}, chunks=(50, 100, 150), **turned, **like).serializer):
        assert repr(other) == repr(CatervaCodec())
