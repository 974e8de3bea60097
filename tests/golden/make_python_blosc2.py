"""Write golden frames with python-blosc2 (Python 3.12; versions in README.md).

Usage: python make_python_blosc2.py EMPTY_DIRECTORY
"""

import sys

import blosc2
import numpy as np
from blosc2 import Codec, Filter, SplitMode
from recording import (
    Recorder,
    block_starts,
    first_chunk,
    noise,
    numbers,
    output_directory,
    uses_dictionary,
)

SHAPE, CHUNKS, BLOCKS = (15, 11), (7, 6), (4, 4)
VERSION = f"{blosc2.__version__} (C-Blosc2 {blosc2.blosclib_version.split()[0]})"


def padded(filters):
    """Put a short pipeline at the end of the six slots, where C-Blosc2 expects it."""
    return [Filter.NOFILTER] * (6 - len(filters)) + list(filters)


class Writer:
    """Writes arrays with python-blosc2, checks what it reads back and records them."""

    def __init__(self, directory):
        self.directory = directory
        self.recorder = Recorder(directory, "python-blosc2", VERSION)

    def storage(self, name, contiguous=True):
        path = self.directory / (f"{name}.b2frame" if contiguous else name)
        return {"urlpath": str(path), "contiguous": contiguous}

    def read(self, name):
        file = self.directory / f"{name}.b2frame"
        if file.exists():
            return blosc2.ndarray_from_cframe(file.read_bytes())
        return blosc2.open(str(self.directory / name), mode="r")

    def record(self, name, expected, *, undefined=False, tolerance=0, note=""):
        """Record what is on disk; where that is lossy, expect what python-blosc2 decodes."""
        array = self.read(name)
        decoded = np.asarray(array[()])
        if tolerance and np.allclose(decoded, expected, rtol=0, atol=tolerance):
            expected = decoded
        same = decoded.dtype == expected.dtype and decoded.tobytes() == expected.tobytes()
        if not undefined and not same:
            raise SystemExit(f"{name}: python-blosc2 does not read what it wrote")
        schunk = array.schunk
        own = blosc2.blosc2_ext
        cparams = schunk.cparams
        self.recorder.add(
            name,
            expected,
            chunks=array.chunks,
            blocks=array.blocks,
            codec=getattr(cparams.codec, "name", str(cparams.codec)),
            clevel=cparams.clevel,
            filters=[f.name for f in cparams.filters if f is not Filter.NOFILTER],
            metalayers=["b2nd"],
            meta={
                key: own.meta__getitem__(schunk, key)
                for key in own.meta_keys(schunk)
                if key != "b2nd"
            },
            vlmeta={key: schunk.vlmeta.get_vlmeta(key) for key in schunk.vlmeta.get_names()},
            note=note,
        )

    def write(
        self,
        name,
        data,
        chunks=CHUNKS,
        blocks=BLOCKS,
        *,
        contiguous=True,
        tolerance=0,
        note="",
        meta=None,
        vlmeta=None,
        filters=(Filter.SHUFFLE,),
        filters_meta=(),
        **cparams,
    ):
        cparams = {
            "codec": Codec.LZ4,
            "nthreads": 1,
            "filters": padded(filters),
            "filters_meta": [0] * (6 - len(filters)) + (list(filters_meta) or [0] * len(filters)),
        } | cparams
        array = blosc2.asarray(
            data,
            chunks=chunks,
            blocks=blocks,
            cparams=cparams,
            meta=meta,
            **self.storage(name, contiguous),
        )
        for key, value in (vlmeta or {}).items():
            array.schunk.vlmeta[key] = value
        self.record(name, data, tolerance=tolerance, note=note)

    def retry(self, name, data, accept, **kwargs):
        """Write until the first chunk has a property (the order of blocks is up to threads)."""
        for _ in range(5000):
            array = blosc2.asarray(data, **kwargs)
            frame = array.to_cframe()
            if accept(first_chunk(frame)):
                (self.directory / f"{name}.b2frame").write_bytes(frame)
                self.record(name, data, note="to_cframe() of an array in memory")
                return
        raise SystemExit(f"{name}: python-blosc2 never wrote such a frame")


def write_dtypes(writer):
    point = np.dtype([("x", "<f4"), ("y", "<f4"), ("id", "<i8")])
    nested = np.dtype([("t", "<M8[s]"), ("rgb", "u1", (3,)), ("p", [("a", "<i2"), ("b", ">f8")])])
    names = [
        "?",
        "|i1",
        "|u1",
        "<i2",
        "<u2",
        "<i4",
        "<u4",
        "<i8",
        "<u8",
        "<f2",
        "<f4",
        "<f8",
        "<c8",
        "<c16",
        "<M8[D]",
        "<M8[ns]",
        "<m8[ms]",
        ">i2",
        ">i8",
        ">f4",
        ">f8",
        ">c16",
    ]
    for name in names:
        label = name.translate(
            {
                ord("<"): "little-",
                ord(">"): "big-",
                ord("|"): None,
                ord("["): "-",
                ord("]"): None,
                ord("?"): "bool",
            }
        )
        data = numbers((7, 3), "<i8")
        data = data % 2 == 0 if name == "?" else (data % 120).astype(name)
        writer.write(f"dtype-{label}", data, (4, 3), (2, 2))
    for kind in ("S5", "<U3", ">U3"):
        data = np.array([f"{i % 1000}" for i in range(21)], kind).reshape(7, 3)
        label = kind.translate({ord("<"): "little-", ord(">"): "big-"})
        writer.write(f"dtype-{label}", data, (4, 3), (2, 2))
    for label, dtype in {"structured": point, "nested": nested}.items():
        data = np.zeros((7, 3), dtype)
        first, *rest = dtype.names
        data[first] = numbers((7, 3), "<i4").astype(dtype[first])
        for field in rest:
            if dtype[field].names is None and dtype[field].subdtype is None:
                data[field] = numbers((7, 3), "<i4")
        if label == "nested":
            data["rgb"] = numbers((7, 3, 3), "u1")
            data["p"]["a"], data["p"]["b"] = -3, numbers((7, 3), "<f8") / 3
        writer.write(f"dtype-{label}", data, (4, 3), (2, 2))
    words = np.array([f"{'golden ' * 30}{i}" for i in range(15)]).reshape(5, 3)
    writer.write("itemsize-300", words.astype("S300"), (3, 2), (2, 1))
    writer.write("itemsize-1200", words.astype("<U300"), (3, 2), (2, 1), codec=Codec.ZSTD)


def write_shapes(writer):
    writer.write("ndim-0", np.array(42, "<i4"), (), ())
    for ndim in range(1, 11):
        shape, chunks, blocks = (50,), (20,), (8,)
        if ndim > 1:
            shape = (4, 3, 3, 2, 2, 1, 1, 2, 1, 2)[:ndim]
            chunks = (3, 3, 2, 2, 1, 1, 1, 2, 1, 2)[:ndim]
            blocks = (2, 2, 2, 2, 1, 1, 1, 2, 1, 1)[:ndim]
        writer.write(f"ndim-{ndim}", numbers(shape, "<u2"), chunks, blocks)
    writer.write("zero-length", np.zeros((0, 5), "<f4"), (3, 5), (2, 3))
    writer.write("zero-length-later", np.zeros((4, 0, 3), "<i2"), (2, 2, 2), (2, 1, 2))
    writer.write("one-item", np.array([7], "<i8"), (1,), (1,))
    writer.write("one-chunk", numbers((24, 18), "<i4"), (24, 18), (8, 6))
    writer.write("chunk-larger-than-array", numbers((5, 7), "<i4"), (16, 16), (8, 8))
    writer.write("chunk-not-multiple-of-block", numbers((20, 21), "<i4"), (10, 11), (4, 3))
    writer.write("many-chunks", numbers((70,), "<i2"), (3,), (2,))


def write_special_chunks(writer):
    partition = {"chunks": CHUNKS, "blocks": BLOCKS}

    def special(name, make, *args, expected, **kwargs):
        make(SHAPE, *args, **partition, **writer.storage(f"special-{name}"), **kwargs)
        writer.record(
            f"special-{name}",
            expected,
            undefined=make is blosc2.uninit,
            note="values undefined; zeros by our promise" if make is blosc2.uninit else "",
        )

    special("zeros", blosc2.zeros, expected=np.zeros(SHAPE, "<f8"), dtype="<f8")
    special("uninit", blosc2.uninit, expected=np.zeros(SHAPE, "<i4"), dtype="<i4")
    for dtype in ("<f4", "<f8"):
        special(
            f"nans-{dtype[1:]}", blosc2.nans, expected=np.full(SHAPE, np.nan, dtype), dtype=dtype
        )
    for label, value, dtype in (
        ("u1", 7, "u1"),
        ("f8", -1.5, "<f8"),
        ("c16", 1 + 2j, "<c16"),
        ("big-i4", 77, ">i4"),
        ("true", True, "?"),
    ):
        special(
            f"full-{label}", blosc2.full, value, expected=np.full(SHAPE, value, dtype), dtype=dtype
        )
    special("full-bytes", blosc2.full, b"abc", expected=np.full(SHAPE, b"abc", "S3"))
    array = blosc2.nans(SHAPE, dtype="<f4", **partition, **writer.storage("special-partly-written"))
    expected = np.full(SHAPE, np.nan, "<f4")
    expected[3:12, 4:9] = numbers((9, 5), "<f4")
    array[3:12, 4:9] = numbers((9, 5), "<f4")
    writer.record("special-partly-written", expected)
    blosc2.zeros(
        (90, 90), dtype="<i4", chunks=(3, 3), blocks=(3, 3), **writer.storage("special-many-chunks")
    )
    writer.record("special-many-chunks", np.zeros((90, 90), "<i4"), note="900 chunks of zeros")


def write_changed_arrays(writer):
    ints = numbers(SHAPE, "<i4")
    partition = {"chunks": CHUNKS, "blocks": BLOCKS}

    array = blosc2.asarray(ints, **partition, **writer.storage("overwritten"))
    expected = ints.copy()
    expected[:7, :6] = noise((7, 6), "<i4")
    array[:7, :6] = noise((7, 6), "<i4")
    writer.record("overwritten", expected, note="the first chunk is stored anew")

    array = blosc2.asarray(ints, **partition, **writer.storage("resized"))
    array.resize((21, 8))
    array[15:] = -1
    expected = np.full((21, 8), -1, "<i4")
    expected[:15] = ints[:, :8]
    writer.record("resized", expected, note="one axis grown, one shrunk")

    array = blosc2.asarray(
        numbers((20,), "<i4"), chunks=(10,), blocks=(4,), **writer.storage("first-chunk-deleted")
    )
    array.resize((10,))
    array.schunk.append_data(np.concatenate([numbers((10,), "<i4") * 3, np.zeros(2, "<i4")]))
    array.schunk.delete_chunk(0)
    writer.record(
        "first-chunk-deleted",
        numbers((10,), "<i4") * 3,
        note="the only chunk does not start where the header ends",
    )


def main(argument):
    writer = Writer(output_directory(argument))
    write = writer.write
    ints, floats = numbers(SHAPE, "<i4"), numbers(SHAPE, "<f4") / np.float32(7)
    smooth = np.sin(numbers((14, 10), "<f8") / 50)

    for codec in (Codec.BLOSCLZ, Codec.LZ4, Codec.LZ4HC, Codec.ZLIB, Codec.ZSTD):
        write(f"codec-{codec.name.lower()}", ints, codec=codec)
    for level in (0, 9):
        write(f"clevel-{level}", ints, clevel=level, codec=Codec.ZSTD)
    write("incompressible", noise(SHAPE, "<u2"), codec=Codec.ZSTD)
    for mode in (SplitMode.ALWAYS_SPLIT, SplitMode.NEVER_SPLIT):
        write(f"split-{mode.name.lower().replace('_', '-')}", ints, splitmode=mode)

    pipelines = {
        "none": [Filter.NOFILTER],
        "bitshuffle": [Filter.BITSHUFFLE],
        "delta": [Filter.DELTA],
        "delta-shuffle": [Filter.DELTA, Filter.SHUFFLE],
        "shuffle-bytedelta": [Filter.SHUFFLE, Filter.BYTEDELTA],
        "delta-bitshuffle": [Filter.DELTA, Filter.BITSHUFFLE],
    }
    for name, filters in pipelines.items():
        write(f"filter-{name}", ints, filters=filters)
    write("filter-shuffle-meta", numbers(SHAPE, "<c16"), filters=[Filter.SHUFFLE], filters_meta=[8])
    write(
        "filter-trunc-prec-shuffle",
        floats,
        filters=[Filter.TRUNC_PREC, Filter.SHUFFLE],
        filters_meta=[10, 0],
        tolerance=0.1,
    )
    write("filter-int-trunc", ints, filters=[Filter.INT_TRUNC], filters_meta=[-3], tolerance=8)
    # C-Blosc2 3 uses its source as scratch where there are three filters or more: chunks of
    # several blocks can come out wrong, as these did.
    write(
        "filter-delta-shuffle-bytedelta",
        ints,
        blocks=CHUNKS,
        filters=[Filter.DELTA, Filter.SHUFFLE, Filter.BYTEDELTA],
    )
    write(
        "filter-trunc-prec-delta-bitshuffle",
        floats,
        blocks=CHUNKS,
        filters_meta=[10, 0, 0],
        filters=[Filter.TRUNC_PREC, Filter.DELTA, Filter.BITSHUFFLE],
        tolerance=0.1,
    )
    write("filter-ndcell", ints, filters=[Filter.NDCELL], filters_meta=[4])
    write(
        "filter-ndcell-shuffle",
        numbers((7, 6, 9), "<i4"),
        (6, 6, 6),
        (4, 5, 6),
        filters=[Filter.NDCELL, Filter.SHUFFLE],
        filters_meta=[4, 0],
    )
    for dtype in ("<f4", "<f8"):
        write(
            f"filter-ndmean-{dtype[1:]}",
            smooth[:12, :8].astype(dtype),
            (8, 8),
            (4, 4),
            tolerance=0.6,
            filters=[Filter.NDMEAN],
            filters_meta=[4],
        )

    for cell in (4, 8):
        write(
            f"codec-ndlz-{cell}",
            numbers((29, 20), "u1") // 9,
            (24, 16),
            (16, 8),
            filters=[],
            codec=Codec.NDLZ,
            codec_meta=cell,
            splitmode=SplitMode.NEVER_SPLIT,
        )
    for dtype in ("<f4", "<f8"):
        for codec, meta in ((Codec.ZFP_ACC, 256 - 3), (Codec.ZFP_PREC, 20), (Codec.ZFP_RATE, 40)):
            write(
                f"codec-{codec.name.lower().replace('_', '-')}-{dtype[1:]}",
                smooth.astype(dtype),
                (8, 8),
                (8, 4),
                codec=codec,
                codec_meta=meta,
                filters=[],
                tolerance=0.3,
                splitmode=SplitMode.NEVER_SPLIT,
            )
    for ndim in (1, 3, 4):
        shape = {1: (100,), 3: (9, 10, 7), 4: (5, 4, 6, 4)}[ndim]
        chunks = {1: (40,), 3: (8, 8, 7), 4: (5, 4, 6, 4)}[ndim]
        write(
            f"codec-zfp-acc-{ndim}d",
            np.sin(numbers(shape, "<f4") / 30),
            chunks,
            {1: (16,), 3: (4, 5, 6), 4: (4, 4, 4, 4)}[ndim],
            codec=Codec.ZFP_ACC,
            codec_meta=256 - 2,
            filters=[],
            tolerance=0.3,
            splitmode=SplitMode.NEVER_SPLIT,
        )

    write_dtypes(writer)
    write_shapes(writer)
    write_special_chunks(writer)
    write_changed_arrays(writer)

    meta = {"author": "golden", "numbers": list(range(40)), "nothing": None}
    vlmeta = {"history": ["made", "changed"], "long": "x" * 500, "number": 3.5}
    write("metalayers", ints, meta=meta, vlmeta=vlmeta)
    write("sparse", ints, contiguous=False)
    write("sparse-metalayers", floats, contiguous=False, codec=Codec.ZSTD, meta=meta, vlmeta=vlmeta)
    blosc2.zeros(
        SHAPE, dtype="<i2", chunks=CHUNKS, blocks=BLOCKS, **writer.storage("sparse-zeros", False)
    )
    writer.record("sparse-zeros", np.zeros(SHAPE, "<i2"))

    mixed = numbers((16, 32), "<i4").copy()
    mixed[::2] = noise((8, 32), "<i4")
    writer.retry(
        "threads",
        mixed,
        lambda chunk: (np.diff(block_starts(chunk)) < 0).any(),
        chunks=(16, 32),
        blocks=(4, 8),
        cparams={"nthreads": 4, "codec": Codec.ZSTD},
    )
    records = np.array(
        [f"{i % 97:05d},station-{i % 13:02d},{i % 509:06d};" for i in range(256)], "S32"
    )
    for codec in (Codec.ZSTD, Codec.LZ4):
        writer.retry(
            f"dictionary-{codec.name.lower()}",
            records.reshape(16, 16),
            uses_dictionary,
            chunks=(16, 16),
            blocks=(8, 4),
            cparams={"codec": codec, "use_dict": True, "filters": [], "nthreads": 1},
        )
    writer.recorder.finish()


if __name__ == "__main__":
    main(sys.argv[1])
