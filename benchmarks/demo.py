"""Slices of one array from Zarr copies: Caterva chunks, and what Zarr has without them.

The peers are whole chunks of the same shape under Blosc, shards of inner chunks as large as our
blocks, and what Zarr makes of the array by itself. Shapes are defaults unless options name others.

Without a dataset, the array is the Linke turbidity climatology that pvlib ships: the haze of the
atmosphere in every month of the year, on a grid of 5 arc minutes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import math
import os
import shutil
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from tqdm import tqdm
from zarr.codecs import BloscCodec
from zarr.errors import UnstableSpecificationWarning

import caterva_cffi
from caterva_cffi.geometry.grid import default_blocks
from caterva_cffi.zarr import CatervaCodec

RESULTS = Path(__file__).resolve().parents[1] / "results"
CHUNK_BYTES = 16 * 1024 * 1024
CATERVA, BLOSC, SHARDS, OWN = "Caterva", "Blosc", "sharding", "Zarr's own"

Selection = tuple[int | slice, ...]


class InputError(Exception):
    """What the user gave cannot be used; the message says why, in one line."""


@dataclass(frozen=True)
class Read:
    """A selection of the array, and what it means to a person."""

    name: str
    selection: Selection

    def __str__(self) -> str:
        """Return the selection as it is written between brackets."""
        return ", ".join(
            str(s) if isinstance(s, int) else f"{s.start or ''}:{s.stop or ''}"
            for s in self.selection
        )


@dataclass
class Source:
    """An array to be copied and read, and how it was called."""

    name: str
    array: Any
    reads: list[Read]
    path: Path
    scale: float = 1
    unit: str = ""


@dataclass
class Measured:
    """One copy: seconds of its writing and reading, bytes of its files."""

    write: float
    stored: int
    first: dict[str, float] = field(default_factory=dict)
    median: dict[str, float] = field(default_factory=dict)


# --- the array ------------------------------------------------------------------------------------
def climatology() -> Source:
    """Return the climatology, with a map, a series and a region that people ask it for."""
    try:
        files = importlib.metadata.files("pvlib") or []
        path = next(Path(str(f.locate())) for f in files if f.name == "LinkeTurbidities.h5")
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise InputError("LinkeTurbidities.h5 is not here: `pip install --no-deps pvlib`") from None

    def cell(latitude: float, longitude: float) -> tuple[int, int]:
        return round((90 - latitude) * 12), round((longitude + 180) * 12)

    north, west = cell(48.5, 5)
    south, east = cell(43.5, 17)
    year = (*cell(48.14, 11.58), slice(None))
    reads = [
        Read("map of July", (slice(None), slice(None), 6)),
        Read("a year in Munich", year),
        Read("the Alps", (slice(north, south), slice(west, east), slice(None))),
    ]
    return Source(
        *("Linke turbidity", h5py.File(path)["LinkeTurbidity"], reads, path),
        scale=1 / 20,
        unit="Linke turbidity",
    )


def middle(shape: Sequence[int], size: int) -> Selection:
    """Return a box in the middle, of at most `size` items along each axis."""
    starts = [(n - min(n, size)) // 2 for n in shape]
    return tuple(slice(start, start + min(n, size)) for start, n in zip(starts, shape, strict=True))


def selections(shape: Sequence[int]) -> list[Read]:
    """Choose what to read from any array: a plane, a pencil and a cube, or what is most like them.

    The plane lies along the two longest axes; the pencil crosses it.
    """
    ndim = len(shape)
    centre = tuple(n // 2 for n in shape)
    longest = sorted(range(ndim), key=lambda axis: (-shape[axis], axis))
    whole = slice(None)

    def along(axes: Sequence[int]) -> Selection:
        return tuple(whole if axis in axes else centre[axis] for axis in range(ndim))

    if ndim == 1:
        return [
            Read("a tenth", middle(shape, math.ceil(shape[0] / 10))),
            Read("1000 items", middle(shape, 1000)),
            Read("one item", middle(shape, 1)),
        ]
    if ndim == 2:
        return [
            Read("row", along([1])),
            Read("column", along([0])),
            Read("square", middle(shape, 64)),
        ]
    return [
        Read("plane", along(longest[:2])),
        Read("pencil", along(longest[2:3])),
        Read("cube", middle(shape, 32)),
    ]


def hdf5_arrays(file: h5py.File) -> dict[str, Any]:
    """Return the file's datasets by name."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found


def zarr_arrays(path: Path) -> dict[str, Any]:
    """Return the arrays by name; one that is not in a group has no name."""
    top = zarr.open(path, mode="r")
    if isinstance(top, zarr.Array):
        return {"": top}
    return {name: item for name, item in top.members(None) if isinstance(item, zarr.Array)}


def pick(path: Path, name: str, arrays: dict[str, Any]) -> Any:
    """Return the array called `name`, or the only one."""
    name = name.strip("/")
    if name in arrays:
        return arrays[name]
    if not name and len(arrays) == 1:
        return next(iter(arrays.values()))
    there = ", ".join(sorted(arrays)) or "none"
    if not name:
        raise InputError(f"{path} has several datasets; add one as {path}:NAME. There are: {there}")
    raise InputError(f"{path} has no dataset {name!r}. There are: {there}")


def load(spec: str) -> Source:
    """Open `file.npy`, `file.h5:dataset` or `directory.zarr:array`, whatever the names end with."""
    path, name = Path(spec), ""
    if not path.exists() and ":" in spec:
        path, name = map(str, spec.rsplit(":", 1))  # type: ignore[assignment]
        path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist")
    try:
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            magic = file.read(6)
        if path.is_dir():
            if not any((path / f).exists() for f in ("zarr.json", ".zarray", ".zgroup")):
                raise InputError(f"{path} is a directory without zarr.json, .zarray or .zgroup")
            array = pick(path, name, zarr_arrays(path))
        elif h5py.is_hdf5(path):
            array = pick(path, name, hdf5_arrays(h5py.File(path)))
        elif magic == b"\x93NUMPY":
            array = np.load(path, mmap_mode="r")
        else:
            raise InputError(f"{path} is neither a .npy file, nor HDF5, nor a Zarr directory")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error)}") from error
    dtype, shape = array.dtype, array.shape
    if not isinstance(dtype, np.dtype) or dtype.hasobject or dtype.kind == "T":
        raise InputError(f"{spec} has dtype {dtype}; items of a fixed size are needed")
    if not shape or 0 in shape:
        raise InputError(f"{spec} has shape {shape}; one dimension or more, and items, are needed")
    return Source(f"{path.stem}{name and ':'}{name}", array, selections(shape), path)


def one_line(error: BaseException) -> str:
    """Return an exception's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__


# --- the copies -----------------------------------------------------------------------------------
def default_chunks(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Halve the longest side until a chunk has at most CHUNK_BYTES."""
    chunks = list(shape)
    while math.prod(chunks) * itemsize > CHUNK_BYTES and max(chunks) > 1:
        axis = chunks.index(max(chunks))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)


def boxes(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Cut an array into its chunks."""
    starts = [range(0, n, c) for n, c in zip(shape, chunks, strict=True)]
    for corner in product(*starts):
        yield tuple(
            slice(start, min(start + c, n))
            for start, c, n in zip(corner, chunks, shape, strict=True)
        )


def create(
    path: Path, source: Any, chunks: tuple[int, ...], codec: str, blocks: tuple[int, ...], how: Any
) -> zarr.Array[Any]:
    """Create one of the copies, empty. All but Zarr's own have the same chunks and compression."""
    blosc = BloscCodec(typesize=source.dtype.itemsize, **how)
    shards = tuple(-(-n // side) * side for n, side in zip(chunks, blocks, strict=True))
    caterva = CatervaCodec(block_shape=blocks, **how)
    coding: dict[str, dict[str, Any]] = {
        CATERVA: {"chunks": chunks, "serializer": caterva, "compressors": None},
        BLOSC: {"chunks": chunks, "compressors": blosc},
        SHARDS: {"chunks": blocks, "shards": shards, "compressors": blosc},
        OWN: {},
    }
    return zarr.create_array(
        path, shape=source.shape, dtype=source.dtype, overwrite=True, **coding[codec]
    )


def stored_bytes(path: Path) -> int:
    """Count the bytes of all files in a directory."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def write(array: zarr.Array[Any], source: Any, label: str) -> float:
    """Copy chunk by chunk; return the seconds that writing took, without reading the source."""
    seconds = 0.0
    total = source.dtype.itemsize * math.prod(source.shape)
    with tqdm(total=total, unit="B", unit_scale=True, desc=label, disable=None) as bar:
        for box in boxes(array.shape, array.shards or array.chunks):
            data = source[box]
            start = time.perf_counter()
            array[box] = data
            seconds += time.perf_counter() - start
            bar.update(data.nbytes)
    return seconds


def forget_pages(path: Path) -> None:
    """Drop the files from the page cache where the system lets us (Linux), for a cold read."""
    if not hasattr(os, "posix_fadvise"):
        return
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(action: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """Return the seconds that an action took, and its result."""
    start = time.perf_counter()
    result = action(*arguments)
    return time.perf_counter() - start, result


def open_and_read(path: Path, selection: Selection) -> Any:
    """Read from a copy as a new process would."""
    return zarr.open_array(path, mode="r")[selection]


def check_equal(found: Any, expected: Any, where: str) -> None:
    """Compare bytes, so that NaN equals NaN; end with a message where they differ."""
    # Zarr gives items in the machine's byte order, however they were stored.
    found, expected = (np.asarray(a).astype(a.dtype.newbyteorder("=")) for a in (found, expected))
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        raise SystemExit(
            f"{where}: shape and dtype are {found.shape} {found.dtype}, "
            f"the source's {expected.shape} {expected.dtype}"
        )
    if found.tobytes() != expected.tobytes():
        raise SystemExit(f"{where}: the values differ from the source's")


def measure(
    paths: dict[str, Path], source: Source, results: dict[str, Measured], repeat: int
) -> None:
    """Time every read of all copies, in turns, and compare all of them with the source."""
    opened = {codec: zarr.open_array(path, mode="r") for codec, path in paths.items()}
    for read in tqdm(source.reads, desc="reading", disable=None):
        expected = source.array[read.selection]
        times: dict[str, list[float]] = {codec: [] for codec in paths}
        for codec, path in paths.items():
            forget_pages(path)
            seconds, found = timed(open_and_read, path, read.selection)
            results[codec].first[read.name] = seconds
            check_equal(found, expected, f"{codec}, {read.name}")
        for _ in range(repeat):
            for codec, array in opened.items():
                seconds, found = timed(array.__getitem__, read.selection)
                times[codec].append(seconds)
                check_equal(found, expected, f"{codec}, {read.name}")
        for codec, taken in times.items():
            results[codec].median[read.name] = statistics.median(taken)
    boxes_ = list(boxes(source.array.shape, opened[BLOSC].chunks))
    for box in tqdm(boxes_, desc="comparing every value", disable=None):
        expected = source.array[box]
        for codec, array in opened.items():
            check_equal(array[box], expected, f"{codec}, {box}")


# --- what a person sees ---------------------------------------------------------------------------
def table(results: dict[str, Measured], source: Source) -> str:
    """Return the figures as text, ours against the best of the others."""
    ours, *others = results

    def line(name: str, cells: Sequence[str], verdict: str = "", first: str = "") -> str:
        columns = "".join(f"{cell:>12}" for cell in cells)
        return f"{name:<18}{columns}  {verdict:<14}{first}".rstrip()

    def against(values: dict[str, float], better: str, worse: str) -> str:
        ratio = min(values[codec] for codec in others) / values[ours]
        return f"{ratio:.1f} x {better}" if ratio >= 1 else f"{1 / ratio:.1f} x {worse}"

    lines = [line("", list(results), "best of others", "  first read, cold [ms]")]
    for read in source.reads:
        times = {codec: measured.median[read.name] for codec, measured in results.items()}
        cold = " / ".join(f"{m.first[read.name] * 1e3:.1f}" for m in results.values())
        cells = [f"{seconds * 1e3:.2f} ms" for seconds in times.values()]
        lines.append(line(read.name, cells, against(times, "faster", "slower"), f"  {cold}"))
    times = {codec: measured.write for codec, measured in results.items()}
    cells = [f"{seconds:.2f} s" for seconds in times.values()]
    lines.append(line("writing all", cells, against(times, "faster", "slower")))
    sizes = {codec: float(measured.stored) for codec, measured in results.items()}
    cells = [f"{stored / 1e6:.2f} MB" for stored in sizes.values()]
    lines.append(line("stored", cells, against(sizes, "smaller", "larger")))
    return "\n".join(lines)


def numbers(values: Any) -> Any:
    """Return values as real numbers that can be drawn, or None."""
    values = np.asarray(values)
    if values.dtype.kind in "mM":
        values = values.view("i8" if values.dtype.isnative else values.dtype.str[0] + "i8")
    if values.dtype.kind == "c":
        values = np.abs(values)
    return values.astype("f8") if values.dtype.kind in "biuf" else None


def show(axes: Any, source: Source, selected: Any) -> None:
    """Draw the values of one read."""
    values = numbers(selected)
    if values is None:
        axes.text(0.5, 0.5, f"{source.array.dtype}", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    values = values * source.scale
    while values.ndim > 2:  # a cube is shown by its mean along the shortest axis
        values = values.mean(axis=int(np.argmin(values.shape)))
    if values.ndim < 2:
        axes.plot(np.atleast_1d(values), marker="." if values.size < 50 else "")
        axes.set_ylabel(source.unit)
        return
    thin = values[tuple(slice(None, None, -(-n // 1000)) for n in values.shape)]
    drawn = axes.imshow(thin, aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.figure.colorbar(drawn, ax=axes, label=source.unit)


def draw(source: Source, results: dict[str, Measured], path: Path, setting: str) -> None:
    """Draw what was read, and the bars of time and size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(
        2, 4, figsize=(15, 6), layout="constrained", width_ratios=[2, 1.2, 1.2, 1.2]
    )
    colours = ["tab:orange", "tab:gray", "tab:gray", "tab:gray"]

    def bars(axes: Any, values: Sequence[float], label: str) -> None:
        drawn = axes.bar(list(results), values, color=colours)  # from zero: lengths can be compared
        axes.bar_label(drawn, fmt="%.3g")
        axes.set_ylabel(label)
        axes.margins(y=0.15)

    for axes, read in zip(panels[0][:3], source.reads, strict=False):
        axes.set_title(f"{read.name}  [{read}]", fontsize=9)
        show(axes, source, source.array[read.selection])
    for axes, read in zip(panels[1], source.reads, strict=True):
        label = f"reading {read.name} [ms]"
        bars(axes, [m.median[read.name] * 1e3 for m in results.values()], label)
    bars(panels[0][3], [m.write for m in results.values()], "writing all [s]")
    figure.suptitle(f"{source.name}: {setting}", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "dataset",
        nargs="?",
        help="FILE.npy, FILE.h5:DATASET or DIRECTORY.zarr:ARRAY; default: the climatology",
    )

    def shape(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(","))

    parser.add_argument("--chunks", type=shape, help="as 1080,1080,12; default: up to 16 MiB")
    parser.add_argument("--blocks", type=shape, help="as 120,120,1; default: the library's")
    parser.add_argument("--cname", default="zstd", help="lz4, lz4hc, zstd, zlib, blosclz")
    parser.add_argument("--clevel", type=int, default=5, help="0 to 9")
    parser.add_argument("--shuffle", help="default: shuffle, and bitshuffle for single bytes")
    parser.add_argument("--repeat", type=int, default=9, help="warm reads of each kind")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where copies and picture go")
    return parser.parse_args(arguments)


def compare(options: argparse.Namespace) -> None:
    """Write all copies, read them, print and draw."""
    source = load(options.dataset) if options.dataset else climatology()
    source.reads.append(Read("everything", (slice(None),) * len(source.array.shape)))
    array = source.array
    itemsize, shape = array.dtype.itemsize, tuple(array.shape)
    chunks = options.chunks or default_chunks(shape, itemsize)
    for option, given in (("--chunks", options.chunks), ("--blocks", options.blocks)):
        if given and (len(given) != len(shape) or min(given) < 1):
            raise InputError(f"{option} {given} does not suit the shape {shape}")
    if options.repeat < 1:
        raise InputError(f"--repeat must be 1 or more, not {options.repeat}")
    blocks = options.blocks or default_blocks(chunks, itemsize)
    shuffle = options.shuffle or ("bitshuffle" if itemsize == 1 else "shuffle")  # as zarr chooses
    how = {"cname": options.cname, "clevel": options.clevel, "shuffle": shuffle}

    nbytes = itemsize * math.prod(shape)
    directory = options.results / source.name.replace(":", "-").replace("/", "-").replace(" ", "-")
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < 4.4 * nbytes:
        raise InputError(
            f"{directory} has {free / 1e9:.1f} GB free, {4.4 * nbytes / 1e9:.1f} needed"
        )
    print(f"{source.name}: shape {shape}, {array.dtype}, {nbytes / 1e6:.1f} MB")
    partition = f"chunks {chunks}, Caterva's blocks {blocks}"
    compression = f"{options.cname} {options.clevel}, {shuffle}"
    print(f"{partition}; {compression}, but Zarr's own; zarr {zarr.__version__}")

    names = {CATERVA: "caterva", BLOSC: "blosc", SHARDS: "shards", OWN: "own"}
    paths = {codec: directory / f"{name}.zarr" for codec, name in names.items()}
    for path in paths.values():
        if source.path.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{path} would be overwritten; name another directory with --results")
    results = {}
    for codec, path in paths.items():
        try:
            with warnings.catch_warnings():
                # Some dtypes are zarr's own, and other implementations may not read these copies.
                warnings.simplefilter("ignore", UnstableSpecificationWarning)
                copy = create(path, array, chunks, codec, blocks, how)
        except (ValueError, TypeError, caterva_cffi.CatervaError) as error:
            raise InputError(f"{codec} refuses this: {one_line(error)}") from error
        seconds = write(copy, array, f"writing {codec}")
        results[codec] = Measured(write=seconds, stored=stored_bytes(path))
    measure(paths, source, results, options.repeat)

    print(f"\n{table(results, source)}\n")
    print("All reads and all values equal the source's.")
    picture = directory / "comparison.png"
    reads = f"medians of {options.repeat} reads from a local disk"
    draw(source, results, picture, f"{shape} {array.dtype}, {partition}, {compression}; {reads}")
    figures = {codec: asdict(measured) for codec, measured in results.items()}
    (directory / "figures.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"picture: {picture}")


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


if __name__ == "__main__":
    sys.exit(main())
