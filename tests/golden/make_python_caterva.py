"""Write golden frames with python-caterva 0.7.3 (Python 3.11, NumPy 1).

Usage: python make_python_caterva.py EMPTY_DIRECTORY
"""

import sys

import caterva as cat
import numpy as np
from caterva import Codec, Filter
from recording import (
    Recorder,
    as_items,
    block_starts,
    first_chunk,
    items,
    noise,
    numbers,
    output_directory,
    uses_dictionary,
)

SHAPE, CHUNKS, BLOCKS = (15, 11), (7, 6), (4, 4)


class Writer:
    """Writes arrays with python-caterva, checks what it reads back and records them."""

    def __init__(self, directory):
        self.directory = directory
        self.recorder = Recorder(
            directory, "python-caterva", f"{cat.__version__} (C-Blosc2 2.4.3.dev)"
        )

    def location(self, name, contiguous):
        return str(self.directory / (f"{name}.b2frame" if contiguous else name)).encode()

    def record(self, name, array, expected, meta=None, tolerance=0, note="", readable=True):
        decoded = np.frombuffer(array.to_buffer(), expected.dtype).reshape(array.shape)
        if tolerance and np.allclose(decoded, expected, rtol=0, atol=tolerance):
            expected = decoded
        if readable and decoded.tobytes() != expected.tobytes():
            raise SystemExit(f"{name}: python-caterva does not read what it wrote")
        self.recorder.add(
            name,
            as_items(expected, array.shape, array.itemsize),
            chunks=array.chunks,
            blocks=array.blocks,
            codec=array.codec.name,
            clevel=array.clevel,
            filters=[f.name for f in array.filters if f is not Filter.NOFILTER],
            metalayers=["caterva"],
            meta=meta,
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
        meta=None,
        tolerance=0,
        note="",
        **cparams,
    ):
        storage = {"urlpath": self.location(name, contiguous), "contiguous": contiguous}
        array = cat.from_buffer(
            data.tobytes(),
            data.shape,
            data.dtype.itemsize,
            chunks=chunks,
            blocks=blocks,
            meta=meta,
            **storage,
            **cparams,
        )
        self.record(name, array, data, meta, tolerance, note)
        return array

    def retry(self, name, data, accept, note, readable=True, **kwargs):
        """Write until the first chunk has a property (the order of blocks is up to threads)."""
        for _ in range(5000):
            contents = scratch_frame(self.directory, data, **kwargs)
            if accept(first_chunk(contents)):
                (self.directory / f"{name}.b2frame").write_bytes(contents)
                array = cat.open(self.location(name, True).decode())
                self.record(name, array, data, note=note, readable=readable)
                return
        raise SystemExit(f"{name}: python-caterva never wrote such a frame")


def scratch_frame(directory, data, chunks, blocks, **cparams):
    """Return the bytes of a contiguous frame."""
    path = directory / "scratch"
    cat.from_buffer(
        data.tobytes(),
        data.shape,
        data.dtype.itemsize,
        chunks=chunks,
        blocks=blocks,
        urlpath=str(path).encode(),
        contiguous=True,
        **cparams,
    )
    contents = path.read_bytes()
    path.unlink()
    return contents


def out_of_order(chunk):
    return bool((np.diff(block_starts(chunk)) < 0).any())


def main(argument):
    writer = Writer(output_directory(argument))
    write = writer.write
    ints, floats = numbers(SHAPE, "<i4"), (numbers(SHAPE, "<f4") / np.float32(7))

    for codec in Codec:
        write(f"codec-{codec.name.lower()}", ints, codec=codec)
    for level in (0, 9):
        write(f"clevel-{level}", ints, clevel=level)
    write("incompressible", noise(SHAPE, "<u2"), codec=Codec.ZSTD)

    pipelines = {
        "none": ([Filter.NOFILTER], [0]),
        "shuffle": ([Filter.SHUFFLE], [0]),
        "bitshuffle": ([Filter.BITSHUFFLE], [0]),
        "delta": ([Filter.DELTA], [0]),
        "delta-shuffle": ([Filter.DELTA, Filter.SHUFFLE], [0, 0]),
        "delta-bitshuffle": ([Filter.DELTA, Filter.BITSHUFFLE], [0, 0]),
        "delta-shuffle-bitshuffle": ([Filter.DELTA, Filter.SHUFFLE, Filter.BITSHUFFLE], [0, 0, 0]),
    }
    for name, (filters, meta) in pipelines.items():
        write(f"filter-{name}", ints, filters=filters, filtersmeta=meta)
    lossy_pipelines = {
        "trunc-prec": ([Filter.TRUNC_PREC], [10]),
        "trunc-prec-shuffle": ([Filter.TRUNC_PREC, Filter.SHUFFLE], [10, 0]),
        "trunc-prec-delta-shuffle": ([Filter.TRUNC_PREC, Filter.DELTA, Filter.SHUFFLE], [10, 0, 0]),
    }
    for name, (filters, meta) in lossy_pipelines.items():
        write(f"filter-{name}", floats, filters=filters, filtersmeta=meta, tolerance=0.1)

    for itemsize in (1, 2, 3, 4, 8, 16, 200, 255):
        write(f"itemsize-{itemsize}", items((5, 3), itemsize), (3, 2), (2, 2))

    for ndim in range(1, 9):
        shape, chunks, blocks = (97,), (40,), (16,)
        if ndim > 1:
            shape = (4, 3, 3, 2, 2, 2, 1, 2)[:ndim]
            chunks = (3, 3, 2, 2, 1, 2, 1, 2)[:ndim]
            blocks = (2, 2, 2, 2, 1, 1, 1, 2)[:ndim]
        write(f"ndim-{ndim}", numbers(shape, "<u2"), chunks, blocks)

    write("one-item", numbers((1,), "<i8") + 5, (1,), (1,))
    write("one-chunk", numbers((24, 18), "<i4"), (24, 18), (8, 6))
    write("one-block", numbers((9, 8), "<i4"), (9, 8), (9, 8))
    write("chunk-larger-than-array", numbers((5, 7), "<i4"), (16, 16), (8, 8))
    write("chunk-not-multiple-of-block", numbers((20, 21), "<i4"), (10, 11), (4, 3))
    write("many-chunks", numbers((70,), "<i2"), (3,), (2,))
    write("zeros-data", np.zeros(SHAPE, "<f8"), note="ordinary writes of zeros")

    special = {"chunks": CHUNKS, "blocks": BLOCKS, "contiguous": True}
    where = writer.location
    writer.record(
        "special-empty",
        cat.empty(SHAPE, 4, urlpath=where("special-empty", True), **special),
        np.zeros(SHAPE, "<i4"),
    )
    writer.record(
        "special-zeros",
        cat.zeros(SHAPE, 8, urlpath=where("special-zeros", True), **special),
        np.zeros(SHAPE, "<f8"),
    )
    for itemsize in (1, 4, 8, 3):
        value, name = bytes(range(65, 65 + itemsize)), f"special-full-{itemsize}"
        array = cat.full(SHAPE, value, urlpath=where(name, True), **special)
        writer.record(name, array, np.full(SHAPE, value, f"S{itemsize}"))
    partly = np.zeros(SHAPE, "<i4")
    partly[3:12, 4:9] = ints[3:12, 4:9]
    array = cat.zeros(SHAPE, 4, urlpath=where("special-partly-written", True), **special)
    array[3:12, 4:9] = np.ascontiguousarray(partly[3:12, 4:9])
    writer.record("special-partly-written", array, partly)

    array = cat.from_buffer(ints.tobytes(), SHAPE, 4, urlpath=where("overwritten", True), **special)
    overwritten = ints.copy()
    overwritten[:7, :6] = noise((7, 6), "<i4")
    array[0:7, 0:6] = noise((7, 6), "<i4")
    writer.record("overwritten", array, overwritten, note="the first chunk is stored anew")

    array = cat.from_buffer(
        ints.tobytes(), SHAPE, 4, urlpath=where("resized-smaller", True), **special
    )
    array.resize((8, 11))
    writer.record("resized-smaller", array, np.ascontiguousarray(ints[:8]))
    array = cat.from_buffer(
        ints.tobytes(), SHAPE, 4, urlpath=where("resized-larger", True), **special
    )
    larger = np.zeros((21, 13), "<i4")
    larger[:15, :11], larger[15:], larger[:15, 11:] = ints, -1, -2
    array.resize((21, 13))
    array[15:21, 0:13] = np.ascontiguousarray(larger[15:])
    array[0:15, 11:13] = np.ascontiguousarray(larger[:15, 11:])
    writer.record("resized-larger", array, larger)

    meta = {"author": b"\xa5golden", "numbers": bytes(range(64)), "empty-map": b"\x80"}
    write("metalayers", ints, meta=meta)
    write("sparse", ints, contiguous=False)
    write("sparse-zstd-metalayers", floats, contiguous=False, codec=Codec.ZSTD, meta=meta)
    array = cat.zeros(
        SHAPE, 4, urlpath=where("sparse-zeros", False), **{**special, "contiguous": False}
    )
    writer.record("sparse-zeros", array, np.zeros(SHAPE, "<i4"))

    mixed = numbers((16, 32), "<i4").copy()
    mixed[::2] = noise((8, 32), "<i4")
    writer.retry(
        "threads",
        mixed,
        out_of_order,
        chunks=(16, 32),
        blocks=(4, 8),
        nthreads=4,
        codec=Codec.ZSTD,
        note="blocks are stored out of order",
    )
    records = np.array(
        [f"{i % 97:05d},station-{i % 13:02d},{i % 509:06d};" for i in range(256)], "S32"
    )
    cparams = {
        "chunks": (16, 16),
        "blocks": (8, 4),
        "codec": Codec.ZSTD,
        "usedict": True,
        "filters": [Filter.NOFILTER],
    }
    in_memory = cat.from_buffer(records.tobytes(), (16, 16), 32, **cparams)
    if in_memory.to_buffer() != records.tobytes():
        raise SystemExit("dictionary: python-caterva does not read what it wrote")
    writer.retry(
        "dictionary",
        as_items(records, (16, 16), 32),
        uses_dictionary,
        readable=False,
        note="python-caterva reads dictionaries from memory, not from its own files",
        **cparams,
    )
    writer.recorder.finish()


if __name__ == "__main__":
    main(sys.argv[1])
