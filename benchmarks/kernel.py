"""The kernel against its bounds: whole chunks, slices, encoding, updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import blosc2
import numcodecs.blosc
import numpy as np

import caterva_cffi as cat
from benchmarks import native
from benchmarks.data import (
    FIELDS,
    Array,
    equal,
    in_block_order,
    in_turns,
    rough,
    selections,
    smooth,
)
from benchmarks.timing import Budget, Spread, fastest, measure, ratios
from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.numcodecs import Caterva

SLICES = ("plane [k]", "plane [:, :, k]", "cube", "one item")
"""Beginnings of the names of the selections that have a bound."""


@dataclass(frozen=True)
class Size:
    """How large the arrays are, in items along each side.

    Attributes
    ----------
    chunk, small : int
        Sides of the chunk, 64 MiB, and of the small one, 1 MiB.
    huge : tuple of int
        Shape of the chunk of 1 GiB.
    blocks : tuple of int
        Sides of the blocks.
    """

    chunk: int = 256
    small: int = 64
    huge: tuple[int, int, int] = (1024, 512, 512)
    blocks: tuple[int, ...] = (32, 16)


QUICK = Size(chunk=128, huge=(256, 256, 256))
TINY = Size(chunk=16, small=8, huge=(32, 16, 16), blocks=(4, 2))


@dataclass(frozen=True)
class Row:
    """What was measured against a bound.

    Attributes
    ----------
    work, case, against : str
    ours : Spread
        Seconds.
    other : Spread or None
        Seconds of what it is measured against.
    value : Spread
        Ratios of the rounds; seconds where the bound is one of time.
    bound : float
    """

    work: str
    case: str
    against: str
    ours: Spread
    other: Spread | None
    value: Spread
    bound: float

    @property
    def met(self) -> bool:
        """Whether the median keeps the bound."""
        return self.value.median <= self.bound


@dataclass(frozen=True)
class Case:
    """A chunk: its items, its blocks, its codec."""

    field: str
    items: Array
    block: tuple[int, ...]
    cname: str

    def __str__(self) -> str:
        cubic = len(set(self.block)) == 1
        block = f"{self.block[0]}³" if cubic else " x ".join(map(str, self.block))
        return f"{self.field}, {self.cname}, blocks {block}"

    @property
    def contiguous(self) -> bool:
        """Whether each block is one run of the chunk's items."""
        return self.block[1:] == self.items.shape[1:]

    @property
    def compression(self) -> Compression:
        """Level 5 and shuffle."""
        return Compression(codec=cat.Codec[self.cname.upper()])

    @property
    def grid(self) -> Grid:
        """An array that is one chunk."""
        shape = self.items.shape
        return Grid(shape, shape, self.block, self.items.itemsize)

    def array(self, **storage: Any) -> cat.NDArray:
        """Return the chunk as an array, which reads and writes with one thread."""
        return cat.asarray(
            self.items,
            chunks=self.items.shape,
            blocks=self.block,
            codec=cat.Codec[self.cname.upper()],
            **{"contiguous": True, "nthreads": 1, **storage},
        )


def compare(
    actions: dict[str, Callable[[], object]], budget: Budget, bound: float, work: str, case: object
) -> Row:
    """Measure the first of the actions against the fastest of the others."""
    samples = measure(actions, budget)
    ours, *others = actions
    against = fastest(samples, others)
    spreads = {name: Spread.of(samples[name]) for name in actions}
    ratio = ratios(samples, ours, against)
    return Row(work, str(case), against, spreads[ours], spreads[against], ratio, bound)


# --- decoding -------------------------------------------------------------------------------------
def whole_chunk(case: Case, budget: Budget) -> Iterator[Row]:
    """Decode everything into a warm destination."""
    one = case.array()
    two = cat.NDArray(one.schunk, 2)
    out, plain = np.zeros_like(case.items), np.zeros_like(case.items)
    chunk = one.schunk.chunk(0)
    decompress = native.decompressor(bytes(cat.ffi.buffer(chunk.pointer, chunk.size)), plain)
    ordered = in_block_order(case.items, case.block)
    theirs = bytes(native.compressor(ordered, case.grid.blocksize, case.compression)())
    actions = {
        "one": lambda: one.read(out=out),
        "two": lambda: two.read(out=out),
        "plain": decompress,
        "theirs": native.decompressor(theirs, plain),
    }
    for action in actions.values():
        action()
        equal(out, case.items)
        if action not in (actions["one"], actions["two"]):
            equal(plain.reshape(-1), ordered)
    samples = measure(actions, budget)
    spread = {name: Spread.of(values) for name, values in samples.items()}
    yield Row(
        "decode a whole chunk, one thread",
        str(case),
        "blosc2_decompress_ctx",
        spread["one"],
        spread["plain"],
        ratios(samples, "one", "plain"),
        1.05 if case.contiguous else 1.30,
    )
    yield Row(
        "decode a whole chunk that each library compressed itself",
        str(case),
        "blosc2_decompress_ctx",
        spread["one"],
        spread["theirs"],
        ratios(samples, "one", "theirs"),
        1.05 if case.contiguous else 1.30,
    )
    yield Row(
        "decode a whole chunk, two threads",
        str(case),
        "one thread",
        spread["two"],
        spread["one"],
        ratios(samples, "two", "one"),
        0.6,
    )


def slices(case: Case, bound: float, budget: Budget) -> Iterator[Row]:
    """Read parts of a chunk in memory."""
    array = case.array()
    frame = bytes(array.to_cframe())
    shape = case.items.shape
    peers = {
        "caterva_get_slice_buffer": native.caterva_reader(frame, case.items),
        "b2nd_get_slice_cbuffer": native.b2nd_reader(frame, case.items),
    }
    for name, keys in selections(shape[0]).items():
        if not name.startswith(SLICES):
            continue
        for key in keys:
            for read in (array.__getitem__, *peers.values()):
                equal(read(key), case.items[key])
        actions = {"ours": in_turns(array.__getitem__, keys)}
        actions |= {peer: in_turns(read, keys) for peer, read in peers.items()}
        size = f"{case.items.nbytes / 2**20:.3g} MiB"
        yield compare(actions, budget, bound, f"{name} of a chunk of {size} in memory", case)


def file_slices(case: Case, directory: Path, budget: Budget) -> Iterator[Row]:
    """Read parts of a chunk in a file; both libraries take the threads they take by themselves."""
    path = directory / f"{case.cname}-{case.block[0]}.b2nd"
    case.array(urlpath=str(path)).close()
    theirs = blosc2.open(str(path), mode="r")
    with cat.open(path, mode="r") as ours:
        for name, keys in selections(case.items.shape[0]).items():
            if not name.startswith(SLICES):
                continue
            for key in keys:
                equal(ours[key], case.items[key])
                equal(theirs[key], case.items[key])
            actions = {
                "ours": in_turns(ours.__getitem__, keys),
                "python-blosc2": in_turns(theirs.__getitem__, keys),
            }
            yield compare(actions, budget, 0.6, f"{name} of a file", case)
    path.unlink()


def huge_chunk(size: Size, directory: Path, budget: Budget) -> Iterator[Row]:
    """Read one item of a chunk of 1 GiB, and one of a chunk of 1 MiB."""
    repeat = tuple(n // size.chunk for n in size.huge)
    large = np.tile(smooth((size.chunk,) * 3), repeat)
    block = (size.blocks[0],) * 3
    small = np.ascontiguousarray(large[: size.small, : size.small, : size.small])
    for where in ("memory", "a file"):
        arrays, actions = [], {}
        for name, items in (("large", large), ("a chunk of 1 MiB", small)):
            path = {"urlpath": str(directory / f"{name}.b2nd")} if where == "a file" else {}
            array = Case("smooth", items, block, "lz4").array(**path)
            random = np.random.default_rng(2)
            keys = [tuple(map(int, random.integers(0, items.shape))) for _ in range(64)]
            for key in keys:
                equal(array[key], items[key])
            arrays.append(array)
            actions[name] = in_turns(array.__getitem__, keys)
        case = f"smooth, lz4, blocks {block[0]}³, in {where}"
        size_name = f"{large.nbytes / 2**20:.4g} MiB"
        yield compare(actions, budget, 1.3, f"one item of a chunk of {size_name}", case)
        for array in arrays:
            array.close()


def overhead(size: Size, budget: Budget) -> Row:
    """Read an item of a chunk of zeros, which needs no decoding."""
    shape = (size.chunk,) * 3
    array = cat.zeros(shape, dtype="f4", chunks=shape, blocks=(size.blocks[0],) * 3)
    keys = selections(size.chunk)["one item"]
    spread = Spread.of(measure({"ours": in_turns(array.__getitem__, keys)}, budget)["ours"])
    return Row("a[i, j, k] before decoding", "zeros, in memory", "", spread, None, spread, 10e-6)


# --- encoding -------------------------------------------------------------------------------------
def encode_chunk(case: Case, budget: Budget) -> Iterator[Row]:
    """Encode everything, from sources of several orders, into a warm destination and a new one."""
    one, two = Kernel(case.grid, 1), Kernel(case.grid, 2)
    compression = case.compression.to_kernel()
    wide = np.repeat(case.items, 2, axis=2)
    wide[..., 1::2] = 0
    sources = {
        "one": case.items,
        "F order": np.asfortranarray(case.items),
        "every other item": wide[:, :, ::2],
    }
    ordered = in_block_order(case.items, case.block)
    compress = native.compressor(ordered, case.grid.blocksize, case.compression)
    room = np.zeros(one.bound, np.uint8)
    actions: dict[str, Callable[[], object]] = {
        name: lambda source=source: one.encode(0, compression, source, room)  # type: ignore[misc]
        for name, source in sources.items()
    }
    actions["two"] = lambda: two.encode(0, compression, case.items, room)
    actions["one, new"] = lambda: one.encode(0, compression, case.items)
    actions["two, new"] = lambda: two.encode(0, compression, case.items)
    decoded = np.zeros_like(ordered)
    for action in actions.values():
        native.decompressor(bytes(cast("Array", action())), decoded)()
        equal(decoded, ordered)
    samples = measure({**actions, "plain": compress}, budget)
    spread = {name: Spread.of(values) for name, values in samples.items()}
    plain = "blosc2_compress_ctx of items in block order"
    for way, work, other, against, bound in (
        ("one", "encode a chunk, one thread", "plain", plain, 1.2),
        ("two", "encode a chunk, two threads", "one", "one thread", 0.6),
        ("two, new", "encode a chunk into new memory, two threads", "one, new", "one thread", 0.6),
        ("F order", "encode a chunk in F order", "one", "C order", 1.5),
        ("every other item", "encode every other item of an array", "one", "C order", 1.5),
    ):
        ratio = ratios(samples, way, other)
        yield Row(work, str(case), against, spread[way], spread[other], ratio, bound)


def numcodecs_chunk(case: Case, nthreads: int, budget: Budget) -> Iterator[Row]:
    """Encode and decode with both numcodecs codecs, which get the same parameters and threads."""
    ours = Caterva(block_shape=case.block, cname=case.cname, clevel=5, shuffle="shuffle")
    theirs = numcodecs.blosc.Blosc(cname=case.cname, clevel=5, shuffle=numcodecs.blosc.SHUFFLE)
    frame, buffer = ours.encode(case.items), theirs.encode(case.items)
    outs = [np.zeros_like(case.items), np.zeros_like(case.items)]
    before = cat.set_nthreads(nthreads), numcodecs.blosc.set_nthreads(nthreads)
    bound = 1.0 if case.contiguous else 1.2
    described = f"{case}, {nthreads} thread{'s' * (nthreads > 1)}"
    try:
        ours.decode(frame, outs[0])
        theirs.decode(buffer, outs[1])
        for out in outs:
            equal(out, case.items)
        actions = {
            "ours": lambda: ours.encode(case.items),
            "numcodecs' Blosc": lambda: theirs.encode(case.items),
        }
        yield compare(actions, budget, bound, "numcodecs encode", described)
        actions = {
            "ours": lambda: ours.decode(frame, outs[0]),
            "numcodecs' Blosc": lambda: theirs.decode(buffer, outs[1]),
        }
        yield compare(actions, budget, bound, "numcodecs decode", described)
    finally:
        cat.set_nthreads(before[0])
        numcodecs.blosc.set_nthreads(before[1])


def change_block(case: Case, budget: Budget) -> Iterator[Row]:
    """Write one block of a chunk; the other way decodes, changes and encodes all of it.

    A block that fits in the place of the old one takes it; with any other the chunk is copied.
    """
    array, kernel = case.array(), Kernel(case.grid, 1)
    compression = case.compression.to_kernel()
    items = case.items.copy()
    corner = [n // b // 2 * b for n, b in zip(items.shape, case.block, strict=True)]
    box = tuple(slice(c, c + b) for c, b in zip(corner, case.block, strict=True))
    old = case.items[box]

    def change_part(value: Array) -> None:
        array[box] = value

    def change_whole(value: Array) -> None:
        array.read(out=items)
        items[box] = value
        kernel.encode(0, compression, items)

    for work, new in (
        ("change one block", old + 1),
        ("change one block to a longer one and back", rough(old.shape)),
    ):
        values = [old, new]
        for value in values:
            change_part(value)
            change_whole(value)
            equal(array[...], items)
        actions = {
            "ours": in_turns(change_part, values),
            "all of it": in_turns(change_whole, values),
        }
        yield compare(actions, budget, 0.05, work, case)


def run(directory: Path, budget: Budget, size: Size = Size()) -> Iterator[Row]:
    """Measure everything.

    Parameters
    ----------
    directory : Path
        For files.
    budget : Budget
        For each comparison.
    size : Size
    """
    chunks = {name: make((size.chunk,) * 3) for name, make in FIELDS.items()}
    small = np.ascontiguousarray(chunks["smooth"][: size.small, : size.small, : size.small])
    cubes = [(side,) * 3 for side in size.blocks]
    # A block that is one run of the chunk's items, of about the same size.
    run_block = (math.prod(cubes[0]) // size.chunk**2 or 1, size.chunk, size.chunk)
    for cname in ("lz4", "zstd"):
        for block in (*cubes, run_block):
            case = Case("smooth", chunks["smooth"], block, cname)
            yield from whole_chunk(case, budget)
            yield from encode_chunk(case, budget)
            if block is run_block:
                continue
            yield from slices(case, 0.35, budget)
            yield from slices(Case("smooth", small, block, cname), 1.0, budget)
            yield from file_slices(case, directory, budget)
            yield from change_block(case, budget)
        for block in (cubes[0], run_block):
            for nthreads in (1, 2):
                case = Case("smooth", chunks["smooth"], block, cname)
                yield from numcodecs_chunk(case, nthreads, budget)
    hard = Case("rough", chunks["rough"], cubes[0], "lz4")
    yield from whole_chunk(hard, budget)
    yield from encode_chunk(hard, budget)
    yield from slices(hard, 0.35, budget)
    del chunks, case, hard
    yield from huge_chunk(size, directory, budget)
    yield overhead(size, budget)
