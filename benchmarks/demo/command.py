"""Slices of one array from Zarr copies: Caterva chunks, and what Zarr has without them.

The others are what Zarr makes of the array by itself, shards of inner chunks as large as our
blocks, and whole chunks of the same shape under Blosc. Shapes and compression are defaults unless
options name others. One of ours has Zstandard, and one the blocks that `caterva_cffi.advise`
suggests for the reads.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import zarr
from zarr.codecs import BloscCodec

from benchmarks.demo import copies, picture, text
from benchmarks.demo.axes import InputError
from benchmarks.demo.copies import ADVISED, BLOSC, OURS, OWN, SHARDS, ZSTD, Measured, Way
from benchmarks.demo.reads import asked_read, named
from benchmarks.demo.sources import Source, climatology, load, one_line
from caterva_cffi import Access, Advice, advise
from caterva_cffi.errors import CatervaError
from caterva_cffi.zarr import CatervaCodec

RESULTS = Path(__file__).resolve().parents[2] / "results"
_ROOM = 1.1
"""How many times the bytes of its items a copy may take."""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "dataset",
        nargs="?",
        help="FILE.npy, FILE.h5:DATASET, FILE.nc:VARIABLE or DIRECTORY.zarr:ARRAY; default: a "
        "climatology",
    )

    def shape(given: str) -> tuple[int, ...]:
        return tuple(int(part) for part in given.split(","))

    parser.add_argument(
        "--read",
        action="append",
        default=[],
        metavar="AXIS=VALUE,...",
        help="what to read, such as time=2020-01-05,lat=40:50 or 0=5; may be given several times",
    )
    parser.add_argument("--chunks", type=shape, help="as 1080,1080,12; default: up to 16 MiB")
    parser.add_argument("--blocks", type=shape, help="as 120,120,1; default: the library's")
    parser.add_argument("--cname", help="lz4, lz4hc, zstd, zlib, blosclz; default: each its own")
    parser.add_argument("--clevel", type=int, help="0 to 9; default: each its own")
    parser.add_argument("--shuffle", help="noshuffle, shuffle, bitshuffle; default: each its own")
    parser.add_argument("--repeat", type=int, default=9, help="warm reads of each kind")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where copies and picture go")
    parser.add_argument(
        "--remove", action="store_true", help="remove the copies at the end; the picture stays"
    )
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace) -> None:
    """Write all copies, read them, print and draw."""
    width = shutil.get_terminal_size().columns
    source = _source(options)
    chunks = options.chunks or copies.default_chunks(source.shape, source.dtype.itemsize)
    _check_options(options, source)
    how = {name: getattr(options, name) for name in ("cname", "clevel", "shuffle")}
    how = {name: value for name, value in how.items() if value is not None}
    ours, blosc = _codecs(options.blocks, how, source)
    blocks = ours.partition(chunks, source.dtype.itemsize)[1]
    advice = _advice(source, chunks)
    codecs = {OURS: ours}
    if "cname" not in how:
        codecs[ZSTD] = CatervaCodec(block_shape=options.blocks, **how, cname="zstd")
    if advice.blocks != blocks:
        codecs[ADVISED] = CatervaCodec(block_shape=advice.blocks, **how)
    ways = copies.ways(chunks, codecs, blosc, blocks)
    directory = _directory(options.results, source, len(ways))

    print(text.paragraphs(_introduction(source, chunks, codecs, blosc), width))
    paths, results = _copy(ways, directory, source)
    copies.measure(paths, source, results, options.repeat)
    rows = text.rows_of(source.reads, results)
    drawn = directory / "comparison.png"
    picture.draw(source, rows, drawn, _setting(source, chunks, options.repeat))
    figures = {name: asdict(measured) for name, measured in results.items()}
    (directory / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"\n{text.table(rows, width)}\n")
    lines = [text.verdict(rows), _suggestion(advice, blocks)]
    lines += ["All reads and all values equal the source's."]
    print(text.paragraphs(lines, width))
    print(_leave(paths, directory, drawn, remove=options.remove))


def _source(options: argparse.Namespace) -> Source:
    source = load(options.dataset) if options.dataset else climatology()
    if options.read:
        source.reads[:] = [asked_read(each, source.axes) for each in options.read]
    source.reads.append(named("everything", source.axes, (slice(None),) * len(source.shape)))
    return source


def _check_options(options: argparse.Namespace, source: Source) -> None:
    for option, given in (("--chunks", options.chunks), ("--blocks", options.blocks)):
        if given and (len(given) != len(source.shape) or min(given) < 1):
            raise InputError(f"{option} {given} does not suit the shape {source.shape}")
    if options.repeat < 1:
        raise InputError(f"--repeat must be 1 or more, not {options.repeat}")


def _codecs(
    blocks: tuple[int, ...] | None, how: Mapping[str, Any], source: Source
) -> tuple[CatervaCodec, BloscCodec]:
    """Return our codec and zarr's; what is not given is each one's default."""
    try:
        ours = CatervaCodec(block_shape=blocks, **how)
        return ours, BloscCodec(typesize=source.dtype.itemsize, **how)
    except (ValueError, TypeError, CatervaError) as error:
        raise InputError(f"a codec refuses this: {one_line(error)}") from error


def _advice(source: Source, chunks: tuple[int, ...]) -> Advice:
    """Return which blocks suit the reads, all of which count alike: not by how long they take."""
    reads = [read.selection for read in source.reads[:-1]]

    def ask(weights: Sequence[float]) -> Advice:
        wanted = [Access(read, 1 / weight) for read, weight in zip(reads, weights, strict=True)]
        return advise(source.shape, source.dtype, wanted, chunks=chunks)

    return ask(ask([1.0] * len(reads)).table[1].seconds)


def _directory(results: Path, source: Source, ncopies: int) -> Path:
    """Make the directory of the copies, if there is room for them."""
    directory = results / re.sub(r"[^\w.-]+", "-", source.name, flags=re.ASCII)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory} cannot be made: {one_line(error)}") from error
    needed = ncopies * _ROOM * source.dataset.nbytes
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise InputError(f"{directory} has {free / 1e9:.1f} GB free, {needed / 1e9:.1f} needed")
    return directory


def _copy(
    ways: Sequence[Way], directory: Path, source: Source
) -> tuple[dict[str, Path], dict[str, Measured]]:
    """Write all copies."""
    paths = {way.name: directory / f"{way.folder}.zarr" for way in ways}
    for path in paths.values():
        if source.path.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{path} would be overwritten; name another directory with --results")
    results = {}
    for way in ways:
        copy = copies.create(paths[way.name], source, way)
        seconds = copies.write(copy, source, f"writing {way.name}")
        stored = copies.stored_bytes(paths[way.name])
        results[way.name] = Measured(write=seconds, stored=stored)
    return paths, results


def _introduction(
    source: Source,
    chunks: tuple[int, ...],
    codecs: Mapping[str, CatervaCodec],
    blosc: BloscCodec,
) -> list[str]:
    """Return what is compared, and what is read."""
    lengths = ", ".join(f"{axis.name} {axis.length}".strip() for axis in source.axes)
    lines = [f"{source.name}: ({lengths}) {source.dtype}, {source.dataset.nbytes / 1e6:.1f} MB"]
    lines += [f"Zarr copies (zarr {zarr.__version__}), all but Zarr's own in chunks of {chunks}:"]
    blocks = {n: codec.partition(chunks, source.dtype.itemsize)[1] for n, codec in codecs.items()}
    for name, codec in codecs.items():
        lines.append(f"  {name}: blocks {blocks[name]}, {codec.described()}")
    # Names are members of enumerations in zarr 3.1.
    cname, shuffle = (getattr(each, "value", each) for each in (blosc.cname, blosc.shuffle))
    told = f"{cname}, level {blosc.clevel}, {shuffle}"
    lines += [f"  {OWN}: chunks and codec are zarr's defaults"]
    lines += [f"  {SHARDS}: inner chunks {blocks[OURS]}, {told}", f"  {BLOSC}: {told}"]
    lines += ["Reads:"]
    for read in source.reads:
        lines.append(f"  {read.name} [{read}]{read.where and ': '}{read.where}")
    return lines


def _setting(source: Source, chunks: tuple[int, ...], repeat: int) -> str:
    shape = " x ".join(map(str, source.shape))
    return (
        f"{shape} {source.dtype} in chunks of {' x '.join(map(str, chunks))}, but Zarr's own; "
        f"medians of {repeat} reads from a local disk, files in the system's cache"
    )


def _suggestion(advice: Advice, blocks: tuple[int, ...]) -> str:
    """Return which blocks to take for reads like these."""
    if advice.blocks == blocks:
        return f"For such reads, `caterva_cffi.advise` suggests the default blocks, {blocks}."
    return (
        "For such reads, `caterva_cffi.advise` suggests other blocks than the default ones: "
        f"CatervaCodec(block_shape={advice.blocks})"
    )


def _leave(paths: Mapping[str, Path], directory: Path, drawn: Path, *, remove: bool) -> str:
    """Return where the files are, and how they are removed; remove the copies if so wished."""
    if remove:
        for path in paths.values():
            shutil.rmtree(path)
        return f"picture: {drawn}\nThe copies are removed; the picture and figures.json stay."
    nbytes = sum(map(copies.stored_bytes, paths.values()))
    return (
        f"picture: {drawn}\n"
        f"copies: {len(paths)} Zarr arrays beside it, {nbytes / 1e6:.1f} MB; remove all with\n"
        f"    rm -r {shlex.quote(str(directory))}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return 2 for input that cannot be used."""
    try:
        compare(parse(arguments))
    except InputError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
