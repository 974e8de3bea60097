"""`convert`: the same items, attributes and names, in other chunks, codecs and formats."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter

import fsspec
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from servers import misbehaving
from zarr.storage import LocalStore, WrapperStore

import caterva_cffi as cat
from caterva_cffi.__main__ import main
from caterva_cffi.conversion import whole
from caterva_cffi.zarr import CatervaCodec

ITEMS = np.random.default_rng(0).normal(size=(50, 40, 9)).astype("f4")
CODEC = {"serializer": CatervaCodec(block_shape=(5, 8, 9)), "compressors": None}
quiet = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")


class StopHere(Exception):
    pass


def create(path, items=ITEMS, chunks=(20, 16, 9), **options):
    z = zarr.create_array(path, shape=items.shape, chunks=chunks, dtype=items.dtype, **options)
    z[...] = items
    return path


def items_of(path):
    if os.path.isdir(path):
        return zarr.open_array(path, mode="r")[...]
    with cat.open(path, mode="r") as array:
        return array[...]


def tree(path):
    """Return the bytes of all files below a directory."""
    files = [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


# --- items ------------------------------------------------------------------------------------

WAYS = [
    {"format": "zarr"},
    {"format": "plain-zarr"},
    {"format": "b2nd"},
    {"format": "zarr", "zarr_format": 2},
    {"format": "plain-zarr", "zarr_format": 2},
    {"format": "zarr", "shards": (1, 2, 3)},
    {"format": "plain-zarr", "shards": (2, 1, 2)},
]
DTYPES = ["i1", "<u2", ">i4", "<f8", ">c8", "?", "S3", "<U2", "<M8[s]", ">f2"]


@st.composite
def cases(draw):
    """Draw items, and three partitions of them."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    seed = draw(st.integers(0, 9))
    raw = np.random.default_rng(seed).integers(1, 90, (*shape, dtype.itemsize), "u1")
    if dtype.kind in "Ub":
        raw[...] = raw % 2 if dtype.kind == "b" else [65 + seed, 0, 0, 0] * 2
    items = raw.view(dtype)[..., 0]
    if draw(st.booleans()):
        items = items.copy()
        items[... if not shape else slice(len(items) // 2)] = np.zeros((), dtype)
    cut = st.tuples(*(st.integers(1, max(n, 1)) for n in shape))
    return items, [draw(cut) for _ in range(3)]


@quiet
@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(cases(), st.sampled_from(WAYS), st.sampled_from([2, 3]))
def test_items_come_back_through_any_format(tmp_path_factory, case, way, zarr_format):
    (items, (first, second, blocks)), where = case, tmp_path_factory.mktemp("convert")
    source = where / "source.zarr"
    z = zarr.create_array(
        source, shape=items.shape, chunks=first, dtype=items.dtype, zarr_format=zarr_format
    )
    z[...] = items
    options = {"memory": 3000, "verify": True, "nthreads": 2}
    asked = {"chunks": second, **way}
    if way["format"] != "plain-zarr":
        asked["blocks"] = blocks
    if "shards" in way:
        asked["shards"] = [n * k for n, k in zip(second, way["shards"], strict=False)]
    cat.convert(source, where / "a", **asked, **options)
    expected = items.astype(items.dtype.newbyteorder("<"))
    assert np.asarray(items_of(where / "a"), expected.dtype).tobytes() == expected.tobytes()
    cat.convert(where / "a", where / "b", format="zarr", **options)
    cat.convert(where / "b", where / "c", format="b2nd", **options)
    assert np.asarray(items_of(where / "c"), expected.dtype).tobytes() == expected.tobytes()


@pytest.mark.parametrize("order", ["C", "F"])
def test_files_of_numpy_and_arrays_in_memory(order, tmp_path):
    items = np.asarray(ITEMS, ">f4", order=order)
    np.save(tmp_path / "a.npy", items)
    for number, source in enumerate((tmp_path / "a.npy", items, cat.asarray(items))):
        out = tmp_path / f"{number}.zarr"
        cat.convert(source, out, chunks=(7, 40, 4), verify=True)
        np.testing.assert_array_equal(items_of(out), ITEMS)
        assert zarr.open_array(out, mode="r").chunks == (7, 40, 4)


class Counting(WrapperStore):
    """Counts how often each chunk is read."""

    def __init__(self, store):
        super().__init__(store)
        self.reads = Counter()

    async def get(self, key, *arguments, **options):
        self.reads[key] += key.startswith("c/")
        return await super().get(key, *arguments, **options)


@pytest.mark.parametrize(("memory", "most"), [(400_000, 1), (100_000, 2)])
def test_each_chunk_of_the_source_is_read_once_if_the_memory_allows(memory, most, tmp_path):
    create(tmp_path / "a.zarr")
    source = Counting(LocalStore(tmp_path / "a.zarr", read_only=True))
    chunks = (15, 40, 9)
    done = cat.convert(source, tmp_path / "b.zarr", chunks=chunks, memory=memory, nthreads=3)
    reads = {key: n for key, n in source.reads.items() if n}
    assert len(reads) == 9 and max(reads.values()) == most
    assert done.plans[0].cut.decoded == sum(reads.values()) / 9
    np.testing.assert_array_equal(items_of(tmp_path / "b.zarr"), ITEMS)


def test_to_and_from_urls(tmp_path):
    create(tmp_path / "a.zarr")
    url = f"memory://{tmp_path.name}.zarr"
    cat.convert(tmp_path / "a.zarr", url, verify=True)
    cat.convert(url, tmp_path / "b.b2nd", verify=True)
    np.testing.assert_array_equal(items_of(tmp_path / "b.b2nd"), ITEMS)
    with pytest.raises(FileExistsError, match=f"^{url} exists; overwrite it"):
        cat.convert(tmp_path / "a.zarr", url)
    cat.convert(tmp_path / "b.b2nd", url, overwrite=True, chunks=(50, 10, 9))
    assert cat.convert(url, tmp_path / "c", dry_run=True).plans[0].chunks == (50, 10, 9)


def test_a_frame_to_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create("a.zarr")
    (tmp_path / "c.b2nd").write_text("mine")
    url = f"memory://{tmp_path.name}/c.b2nd"

    def stop(progress):
        raise StopHere

    with pytest.raises(StopHere):
        cat.convert("a.zarr", url, progress=stop)
    with pytest.raises(FileExistsError, match="incomplete conversion"):
        cat.convert("a.zarr", url)
    with pytest.raises(FileNotFoundError):
        cat.open(url)
    cat.convert("a.zarr", url, resume=True, verify=True)
    np.testing.assert_array_equal(cat.open(url)[...], ITEMS)
    with pytest.raises(FileExistsError, match=f"^{url} exists; overwrite it"):
        cat.convert("a.zarr", url)
    cat.convert("a.zarr", url, overwrite=True, checksum=True)
    assert cat.open(url).checksum
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr", "c.b2nd"}
    assert (tmp_path / "c.b2nd").read_text() == "mine"


# --- frames that are copied -------------------------------------------------------------------


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("codec", [cat.Codec.ZSTD, cat.Codec.BLOSCLZ])
def test_chunks_are_copied_as_they_are(codec, checksum, tmp_path):
    options = {"chunks": (20, 16, 9), "blocks": (5, 16, 3), "codec": codec, "checksum": checksum}
    options["filters"] = [cat.Filter.BITSHUFFLE]
    items = ITEMS.copy()
    items[:20, :16] = 0  # a chunk that is not stored
    first = cat.asarray(items, urlpath=tmp_path / "a.b2nd", contiguous=True, **options)
    cat.asarray(items, urlpath=tmp_path / "sparse", **options)
    url = f"memory://{tmp_path.name}.b2nd"
    cat.convert(tmp_path / "a.b2nd", tmp_path / "again.b2nd")
    with open(tmp_path / "a.b2nd", "rb") as file, fsspec.open(url, "wb") as there:
        there.write(file.read())
    for number, source in enumerate((tmp_path / "a.b2nd", tmp_path / "sparse", url)):
        out = tmp_path / f"{number}.zarr"
        done = cat.convert(source, out, verify=True)
        assert (done.copied, done.encoded) == (9, 0)
        assert not (out / "c/0/0/0").exists()
        z = zarr.open_array(out, mode="r+")
        [ours] = z.metadata.codecs
        assert (ours.cname, ours.shuffle) == (codec.name.lower(), "bitshuffle")
        assert (ours.block_shape, ours.checksum) == ((5, 16, 3), checksum)
        np.testing.assert_array_equal(z[...], items)
        z[3, 3] = 7  # and can be changed
        np.testing.assert_array_equal(z[3, 3], np.full(9, 7, "f4"))
        assert cat.verify(out).decodes
    back = cat.convert(tmp_path / "0.zarr", tmp_path / "b.b2nd", verify=True)
    assert back.copied == 9
    frame = cat.open(tmp_path / "b.b2nd", mode="r")
    assert (frame.codec, frame.blocks, frame.checksum) == (codec, first.blocks, checksum)
    assert cat.verify(tmp_path / "b.b2nd").whole is checksum


@pytest.mark.parametrize(
    "asked", [{"clevel": 1}, {"cname": "zlib"}, {"blocks": (5, 4, 9)}, {"chunks": (10, 16, 9)}]
)
def test_chunks_are_encoded_anew_where_something_else_is_asked_for(asked, tmp_path):
    create(tmp_path / "a.zarr", **CODEC)
    assert cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd").encoded == 0
    done = cat.convert(tmp_path / "a.zarr", tmp_path / "c.zarr", **asked)
    assert done.copied == 0
    np.testing.assert_array_equal(items_of(tmp_path / "c.zarr"), ITEMS)


CODINGS = [
    {"cname": "blosclz", "filters": ["shuffle", "bytedelta"]},
    {"cname": "zstd", "use_dict": True, "clevel": 7},
    {"cname": "lz4", "filters": [{"name": "trunc_prec", "bits": -3}, "bitshuffle"]},
    {"cname": "zfp_accuracy", "tolerance": 0.01},
    {"cname": "zfp_precision", "precision": 12},
    {"cname": "zfp_rate", "rate": 8},
    {"cname": "lz4", "filters": [{"name": "ndcell", "cell_shape": 4}], "clevel": 1},
]


@pytest.mark.parametrize("coding", CODINGS, ids=lambda coding: str(list(coding.values())[:2]))
def test_copied_chunks_keep_the_names_of_their_codec_and_filters(coding, tmp_path):
    codec = {"codec": coding, "blocks": (8, 8, 8)}
    cat.convert(ITEMS, tmp_path / "a.zarr", chunks=(16, 16, 8), **codec)
    cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd")
    done = cat.convert(tmp_path / "b.b2nd", tmp_path / "c.zarr", verify=True)
    assert (done.encoded, done.copied) == (0, 24)
    a, c = (zarr.open_array(tmp_path / name, mode="r").metadata for name in ("a.zarr", "c.zarr"))
    assert a == c
    again = cat.convert(tmp_path / "c.zarr", tmp_path / "d", dry_run=True, codec=coding)
    assert again.plans[0].copied


def test_lossy_codecs_are_not_compared_bit_by_bit(tmp_path):
    codec = {"cname": "zfp_rate", "codec": {"rate": 8}}
    with pytest.raises(cat.ArgumentError, match="expected a codec that is not lossy"):
        cat.convert(ITEMS, tmp_path / "a.zarr", verify=True, **codec)
    with pytest.raises(cat.ArgumentError, match=r"^/: .*cname 'zfp_rate'"):
        cat.convert(ITEMS.astype("i4"), tmp_path / "a.zarr", **codec)
    assert not list(tmp_path.iterdir())


def test_a_chunk_that_is_unlike_the_others_is_encoded(tmp_path):
    create(tmp_path / "a.zarr", **CODEC)
    other = zarr.open_array(tmp_path / "a.zarr", mode="r").metadata.codecs[0]
    frame = type(other)(block_shape=(10, 16, 9)).to_frame(ITEMS[:20, :16])
    (tmp_path / "a.zarr/c/0/0/0").write_bytes(frame)
    done = cat.convert(tmp_path / "a.zarr", tmp_path / "b.zarr", verify=True)
    assert (done.copied, done.encoded) == (8, 1)


# --- groups, attributes and fill values -------------------------------------------------------


@quiet
def test_a_group_with_all_that_is_in_it(tmp_path):
    root = zarr.create_group(tmp_path / "a", attributes={"title": "x"})
    inner = root.create_group("one/two", attributes={"deep": [1, None]})
    options = {"shape": (9,), "chunks": (4,)}
    z = inner.create_array(
        "z", dtype=">f4", fill_value=np.nan, dimension_names=["t"], attributes={"u": "K"}, **options
    )
    z[2:6] = 1
    root.create_array("text", dtype=str, **options)[:3] = ["a", "bb", ""]
    root.create_array("left/out", dtype="i4", **options)
    zarr.create_array(
        tmp_path / "a", name="sharded", shape=(8,), chunks=(2,), shards=(4,), dtype="i2"
    )
    told = []
    done = cat.convert(tmp_path / "a", tmp_path / "b", exclude=["left*"], progress=told.append)
    b = zarr.open_group(tmp_path / "b", mode="r")
    assert dict(b.attrs) == {"title": "x"} and dict(b["one/two"].attrs) == {"deep": [1, None]}
    z = b["one/two/z"]
    assert (z.metadata.dimension_names, dict(z.attrs)) == (("t",), {"u": "K"})
    np.testing.assert_array_equal(z[...], [np.nan] * 2 + [1] * 4 + [np.nan] * 3)
    assert np.isnan(z.fill_value) and isinstance(z.metadata.codecs[0], CatervaCodec)
    assert not (tmp_path / "b/one/two/z/c/2").exists()  # all of it is the fill value
    assert b["text"][:3].tolist() == ["a", "bb", ""]
    assert sorted(name for name, _ in b.members(max_depth=None)) == [
        "one", "one/two", "one/two/z", "sharded", "text",
    ]  # fmt: skip
    assert done.nbytes == told[-1].done == told[-1].total
    with pytest.raises(cat.ArgumentError, match=r"holds one array; .*\(there are: left/out, one"):
        cat.convert(tmp_path / "a", tmp_path / "c.b2nd")
    cat.convert(f"{tmp_path / 'a'}:one/two/z", tmp_path / "c.b2nd")
    cat.convert(tmp_path / "c.b2nd", tmp_path / "d.zarr")
    z = zarr.open_array(tmp_path / "d.zarr")
    assert (z.metadata.dimension_names, dict(z.attrs)) == (("t",), {"u": "K"})


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_stay_consolidated(tmp_path):
    group = zarr.create_group(tmp_path / "a")
    create(tmp_path / "a/x")
    for consolidated in (False, True):
        out = tmp_path / f"{consolidated}"
        if consolidated:
            zarr.consolidate_metadata(group.store)
        cat.convert(tmp_path / "a", out)
        metadata = zarr.open_group(out, mode="r").metadata.consolidated_metadata
        assert (metadata is not None) == consolidated


def test_what_xarray_keeps_in_format_2(tmp_path):
    attributes = {"_ARRAY_DIMENSIONS": ["x", "y", "z"], "units": "m"}
    create(tmp_path / "a", zarr_format=2, fill_value=1.5, attributes=attributes)
    cat.convert(tmp_path / "a", tmp_path / "b", chunks={"y": 10, "z": -1})
    z = zarr.open_array(tmp_path / "b")
    assert z.metadata.dimension_names == ("x", "y", "z") and z.chunks == (20, 10, 9)
    assert dict(z.attrs) == {"units": "m", "_FillValue": "AAAAAAAA+D8="}
    assert z.fill_value == 1.5


# --- what is refused, and what is not completed -----------------------------------------------


def test_what_exists_is_kept_unless_told(tmp_path):
    create(tmp_path / "a.zarr")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("text")
    (tmp_path / "file").write_text("text")
    cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd")
    before = (tmp_path / "b.b2nd").read_bytes()
    for name in ("mine", "file", "b.b2nd"):
        with pytest.raises(FileExistsError):
            cat.convert(tmp_path / "a.zarr", tmp_path / name)
    with pytest.raises(FileExistsError, match="something else in it"):
        cat.convert(tmp_path / "a.zarr", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/file").read_text() == "text"
    assert (tmp_path / "b.b2nd").read_bytes() == before
    with pytest.raises(cat.ArgumentError, match="is the source"):
        cat.convert(tmp_path / "a.zarr", tmp_path / "a.zarr", overwrite=True)
    cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd", overwrite=True, clevel=9)
    assert cat.open(tmp_path / "b.b2nd", mode="r").clevel == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "hdf5"}, "format is 'hdf5'; expected one of 'zarr', 'plain-zarr', 'b2nd'"),
        ({"memory": 0}, "memory 0; expected at least 1"),
        ({"memory": 5000}, r"memory is 5000 bytes; a chunk \(20, 16, 9\) of the target has 11520"),
        ({"chunks": (0, 1, 1)}, r"chunks are \(0, 1, 1\); expected lengths of at least 1"),
        (
            {"format": "plain-zarr", "clevel": 3},
            "Zarr's own codecs, and clevel given; expected one",
        ),
        ({"clevel": 10}, "clevel is 10; expected 0 to 9"),
    ],
)
def test_options_that_make_no_sense(options, message, tmp_path):
    create(tmp_path / "a.zarr")
    with pytest.raises(cat.ArgumentError, match=message):
        cat.convert(tmp_path / "a.zarr", tmp_path / "b", **options)
    assert not (tmp_path / "b").exists()


def test_a_dry_run_writes_nothing(tmp_path):
    create(tmp_path / "a.zarr")
    planned = cat.convert(tmp_path / "a.zarr", tmp_path / "b", chunks=(30, 40, 9), dry_run=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr"]
    assert "chunks (30, 40, 9)" in str(planned) and str(planned).endswith("nothing was written")
    assert json.loads(json.dumps(planned.to_dict()))["arrays"][0]["decoded"] == 1
    little = cat.convert(
        tmp_path / "a.zarr", tmp_path / "b", chunks=(30, 40, 9), dry_run=True, memory=180_000
    )
    assert "chunks are decoded 1.3 times: more memory would save it" in str(little)


def refusals(tmp_path):
    """Yield destinations and options that are refused."""
    create(tmp_path / "a.zarr")
    create(tmp_path / "there.zarr")
    (tmp_path / "mine").mkdir()
    for name in ("there.b2nd", "mine/file", "other.b2nd.partial"):
        (tmp_path / name).write_text("text")

    def stop(progress):
        raise StopHere

    for name in ("begun.zarr", "begun.b2nd"):
        with pytest.raises(StopHere):
            cat.convert(tmp_path / "a.zarr", tmp_path / name, progress=stop)
        yield name, {}
        yield name, {"resume": True, "clevel": 1}
    for name in ("there.zarr", "there.b2nd", "mine", "other.b2nd", "a.zarr", "a.zarr/inside"):
        yield name, {}
    yield "new.zarr", {"cname": "zfp_rate", "codec": {"rate": 8}, "verify": True}
    yield "new.zip", {}
    yield "none/new.b2nd", {}


def test_a_dry_run_is_refused_as_the_run_would_be(tmp_path):
    count = 0
    for name, options in refusals(tmp_path):
        before, told = tree(tmp_path), []
        for dry_run in (True, False):
            with pytest.raises((OSError, cat.ArgumentError)) as raised:
                cat.convert(tmp_path / "a.zarr", tmp_path / name, dry_run=dry_run, **options)
            told.append((type(raised.value), str(raised.value)))
            assert tree(tmp_path) == before
        assert told[0] == told[1]
        count += 1
    assert count == 13


@pytest.mark.parametrize("options", [{}, {"cname": "zstd"}, {"chunks": (50, 10, 9)}, {"clevel": 1}])
@pytest.mark.parametrize("out", ["out.zarr", "out.b2nd"])
def test_a_dry_run_says_what_is_done(out, options, tmp_path):
    create(tmp_path / "a.zarr", **CODEC)
    planned = cat.convert(tmp_path / "a.zarr", tmp_path / out, dry_run=True, **options)
    done = cat.convert(tmp_path / "a.zarr", tmp_path / out, **options)
    assert planned.plans == done.plans
    [plan] = planned.plans
    nchunks = np.prod([-(-n // k) for n, k in zip(plan.shape, plan.chunks, strict=True)])
    assert (done.copied, done.encoded) == ((nchunks, 0) if plan.copied else (0, nchunks))
    with cat.open(tmp_path / out, mode="r") as array:
        assert (array.chunks, array.blocks) == (plan.chunks, plan.blocks)


@pytest.mark.parametrize("out", ["out.zarr", "out.b2nd"])
def test_two_conversions_to_one_destination(out, tmp_path, monkeypatch):
    create(tmp_path / "a.zarr")
    refused = []

    def another(progress):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(cat.StorageError, match=f"another conversion to .*{out}.* goes on"):
                cat.convert(tmp_path / "a.zarr", tmp_path / out, **options)
            refused.append(1)

    compare = whole.differs
    monkeypatch.setattr(whole, "differs", lambda *given: another(None) or compare(*given))
    cat.convert(tmp_path / "a.zarr", tmp_path / out, progress=another, verify=True)
    assert len(refused) >= 4
    np.testing.assert_array_equal(items_of(tmp_path / out), ITEMS)


def test_a_source_is_not_overwritten_by_any_name(tmp_path):
    create(tmp_path / "a.zarr")
    root = zarr.create_group(tmp_path / "g")
    create(tmp_path / "g/x")
    cat.convert(tmp_path / "a.zarr", tmp_path / "a.b2nd")
    os.rename(tmp_path / "a.b2nd", tmp_path / "a.b2nd.partial")
    (tmp_path / "link").symlink_to(tmp_path / "a.zarr")
    url = f"memory://{tmp_path.name}.zarr"
    cat.convert(tmp_path / "a.zarr", url)
    before = tree(tmp_path)
    for source, out in (
        (tmp_path / "a.zarr", tmp_path / "link"),
        (tmp_path / "link", tmp_path / "a.zarr"),
        (tmp_path / "a.zarr", f"file://{tmp_path}/a.zarr"),
        (f"file://{tmp_path}/a.zarr", tmp_path / "a.zarr"),
        (zarr.open_array(tmp_path / "a.zarr", mode="r"), tmp_path / "a.zarr"),
        (LocalStore(tmp_path / "a.zarr"), tmp_path / "a.zarr"),
        (f"{tmp_path / 'g'}:x", tmp_path / "g"),
        (root["x"], tmp_path / "g"),
        (tmp_path / "g", tmp_path / "g/new"),
        (tmp_path / "a.b2nd.partial", tmp_path / "a.b2nd"),
        (url, url),
    ):
        with pytest.raises(cat.ArgumentError, match=r"is the source|is inside of the"):
            cat.convert(source, out, overwrite=True)
        assert tree(tmp_path) == before
    cat.convert(f"{tmp_path / 'g'}:x", tmp_path / "g/y")  # beside it
    assert sorted(zarr.open_group(tmp_path / "g", mode="r").keys()) == ["x", "y"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize(
    ("out", "options"),
    [
        ("out.zarr", {}),
        ("out.b2nd", {}),
        ("out.zarr", {"zarr_format": 2}),
        ("out.zarr", {"format": "plain-zarr", "shards": (20, 32, 9)}),
    ],
)
def test_a_disk_that_is_full(out, options, tmp_path):
    """Files may not grow beyond a limit, which the system tells like a lack of room."""
    resource = pytest.importorskip("resource")
    create(tmp_path / "a.zarr")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
    try:
        for again in ({}, {"resume": True}):
            with pytest.raises(cat.StorageError, match=f"{out}' cannot be written: .*too large"):
                cat.convert(tmp_path / "a.zarr", tmp_path / out, **again, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(FileExistsError, match="incomplete conversion"):
        cat.convert(tmp_path / "a.zarr", tmp_path / out, **options)
    cat.convert(tmp_path / "a.zarr", tmp_path / out, resume=True, verify=True, **options)
    np.testing.assert_array_equal(items_of(tmp_path / out), ITEMS)


def test_a_colon_in_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a:b", "c:d"):
        (tmp_path / name).mkdir()
    create(tmp_path / "a:b/x.zarr")
    cat.convert("a:b/x.zarr", "c:d/y.zarr", verify=True)
    assert main(["info", "c:d/y.zarr"]) == 0
    np.testing.assert_array_equal(items_of(tmp_path / "c:d/y.zarr"), ITEMS)


def test_a_link_to_a_directory_is_overwritten_behind_it(tmp_path):
    create(tmp_path / "a.zarr")
    create(tmp_path / "old.zarr")
    (tmp_path / "link").symlink_to("old.zarr")
    cat.convert(tmp_path / "a.zarr", tmp_path / "link", overwrite=True, chunks=(50, 40, 9))
    assert (tmp_path / "link").is_symlink()
    assert zarr.open_array(tmp_path / "old.zarr", mode="r").chunks == (50, 40, 9)


@pytest.mark.parametrize("out", ["out.zarr", "out.b2nd"])
@pytest.mark.parametrize("coded", [{}, CODEC])
def test_a_conversion_that_was_stopped_goes_on(out, coded, tmp_path):
    create(tmp_path / "a.zarr", **coded)
    cat.convert(tmp_path / "a.zarr", tmp_path / f"whole-{out}")
    options = {"memory": 50_000, "nthreads": 1}

    def stop(progress):
        if progress.done > progress.total / 2:
            raise StopHere

    where = tmp_path / out
    with pytest.raises(StopHere):
        cat.convert(tmp_path / "a.zarr", where, progress=stop, **options)
    if where.is_dir():
        with pytest.raises(FileNotFoundError):
            zarr.open(where, mode="r")
        with pytest.raises(FileNotFoundError, match=r"out\.zarr is an incomplete conversion"):
            cat.convert(where, tmp_path / "other")
    else:
        assert not where.exists()
        with pytest.raises(cat.FormatError):
            cat.open(f"{where}.partial", mode="r")
    with pytest.raises(FileExistsError, match="incomplete conversion; resume it, or overwrite it"):
        cat.convert(tmp_path / "a.zarr", where, **options)
    with pytest.raises(cat.ArgumentError, match="was begun with other options"):
        cat.convert(tmp_path / "a.zarr", where, resume=True, clevel=1, **options)
    done = cat.convert(tmp_path / "a.zarr", where, resume=True, verify=True, **options)
    assert done.nbytes / 2 < done.resumed < done.nbytes
    np.testing.assert_array_equal(items_of(where), ITEMS)
    if where.is_dir():
        assert tree(where) == tree(tmp_path / f"whole-{out}")
    with pytest.raises(FileExistsError, match="exists; overwrite it"):
        cat.convert(tmp_path / "a.zarr", where, resume=True, **options)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a.zarr", out, f"whole-{out}"}


def test_a_damaged_part_of_a_frame_is_written_again(tmp_path):
    create(tmp_path / "a.zarr")

    def stop(progress):
        if progress.done > progress.total / 2:
            raise StopHere

    with pytest.raises(StopHere):
        cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd", progress=stop, memory=50_000)
    partial, log = (tmp_path / f"b.b2nd.{name}" for name in ("partial", "partial.journal"))
    data = bytearray(partial.read_bytes())
    data[len(data) // 3] ^= 1
    partial.write_bytes(data)
    log.write_text(log.read_text() + "8 1234")  # cut off within a line
    options = {"resume": True, "verify": True, "memory": 50_000}
    cat.convert(tmp_path / "a.zarr", tmp_path / "b.b2nd", **options)
    np.testing.assert_array_equal(items_of(tmp_path / "b.b2nd"), ITEMS)


@pytest.mark.parametrize("out", ["out.zarr", "out.b2nd"])
def test_differences_are_found_before_the_destination_is_complete(out, tmp_path):
    create(tmp_path / "a.zarr", **CODEC)
    source = zarr.open_array(tmp_path / "a.zarr")
    total = ITEMS.nbytes

    def change(progress):
        if progress.done == total:
            source[33, 33, 3] = 7

    with pytest.raises(cat.DifferenceError, match=r"^/: items at \[\d+:\d+, .* differ from"):
        cat.convert(tmp_path / "a.zarr", tmp_path / out, verify=True, progress=change)
    with pytest.raises(FileExistsError, match="incomplete"):
        cat.convert(tmp_path / "a.zarr", tmp_path / out)
    cat.convert(tmp_path / "a.zarr", tmp_path / out, verify=True, overwrite=True)
    assert items_of(tmp_path / out)[33, 33, 3] == 7


@pytest.mark.parametrize(
    ("out", "options"),
    [
        ("out.zarr", {"clevel": 0}),
        ("out.b2nd", {"clevel": 0}),
        ("out.zarr", {"clevel": 0, "zarr_format": 2}),
        ("out.zarr", {"clevel": 0, "shards": (60, 48, 9)}),
    ],
)
def test_one_bit_that_differs_is_found(out, options, tmp_path):
    create(tmp_path / "a.zarr")

    def flip(progress):
        if progress.done < progress.total:
            return
        item, found = ITEMS[33, 33, 3].tobytes(), 0
        for file in [*tmp_path.glob("out.b2nd.partial"), *tmp_path.glob("out.zarr/**/*")]:
            data = bytearray(file.read_bytes()) if file.is_file() else b""
            if (at := data.find(item)) >= 0:
                data[at] ^= 1
                file.write_bytes(data)
                found += 1
        assert found == 1

    with pytest.raises(cat.DifferenceError, match="differ from those of the source"):
        cat.convert(tmp_path / "a.zarr", tmp_path / out, verify=True, progress=flip, **options)
    with pytest.raises(FileExistsError, match="incomplete"):
        cat.convert(tmp_path / "a.zarr", tmp_path / out, **options)


def test_chunks_of_several_shapes(tmp_path, monkeypatch):
    """Of such arrays, zarr 3.4 names no chunk shape."""
    create(tmp_path / "a.zarr")
    source = zarr.open_array(tmp_path / "a.zarr", mode="r")

    def chunks(self):
        raise NotImplementedError

    with monkeypatch.context() as patched:
        patched.setattr(zarr.Array, "chunks", property(chunks))
        cat.convert(source, tmp_path / "b.b2nd", verify=True, memory=400_000)
    np.testing.assert_array_equal(items_of(tmp_path / "b.b2nd"), ITEMS)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_from_a_server_of_http(tmp_path):
    create(tmp_path / "a.zarr")
    root = zarr.create_group(tmp_path / "g")
    create(tmp_path / "g/x")
    zarr.consolidate_metadata(root.store, zarr_format=3)
    cat.convert(tmp_path / "a.zarr", tmp_path / "a.b2nd")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = ITEMS
    with misbehaving(tree(tmp_path)) as web:
        for number, name in enumerate(("a.zarr", "g", "a.b2nd", "a.h5", "a.h5:x")):
            out = tmp_path / f"{number}.zarr"
            cat.convert(f"{web.url}/{name}", out, verify=True)
            place = f"{out}/x" if name in ("g", "a.h5") else out
            np.testing.assert_array_equal(items_of(place), ITEMS)
