"""The array that the demo copies: any file that the package can read, or the climatology.

Without a dataset, the array is the Linke turbidity climatology that pvlib ships: the haze of the
atmosphere in every month of the year, on a grid of 5 arc minutes.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.demo.axes import Axis, InputError, coordinates_of
from benchmarks.demo.reads import Read, Selection, named, usual_reads
from caterva_cffi.datasets.model import Dataset, Tree
from caterva_cffi.datasets.opening import open_tree, split_path
from caterva_cffi.errors import CatervaError

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip


@dataclass
class Source:
    """An array, its axes, and what is read of it.

    Parameters
    ----------
    name : str
    dataset : Dataset
    path : Path
        Of the file or directory.
    axes : sequence of Axis
    reads : list of Read
    scale, offset : float
        What stored numbers are multiplied by and moved by, when they are drawn.
    unit : str
    """

    name: str
    dataset: Dataset
    path: Path
    axes: Sequence[Axis]
    reads: list[Read] = field(default_factory=list)
    scale: float = 1
    offset: float = 0
    unit: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.dataset.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its items."""
        return self.dataset.dtype

    def read(self, selection: Selection) -> npt.NDArray[Any]:
        """Return the items of a selection."""
        region = tuple(
            slice(part, part + 1) if isinstance(part, int) else slice(*part.indices(n)[:2])
            for part, n in zip(selection, self.shape, strict=True)
        )
        items = self.dataset.read(region)
        return items[tuple(0 if isinstance(part, int) else slice(None) for part in selection)]


def one_line(error: BaseException) -> str:
    """Return an exception's message without line breaks."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split()) or type(error).__name__


def climatology() -> Source:
    """Return the climatology, with a map, a series and a region that people ask it for."""
    try:
        files = importlib.metadata.files("pvlib") or []
        path = next(Path(str(f.locate())) for f in files if f.name == "LinkeTurbidities.h5")
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise InputError("LinkeTurbidities.h5 is not here: `pip install --no-deps pvlib`") from None
    dataset = open_tree(path, "LinkeTurbidity").arrays[""]
    south, east = np.arange(2160), np.arange(4320)
    axes = [
        Axis(0, 2160, "latitude", 90 - (south + 0.5) / 12),
        Axis(1, 4320, "longitude", (east + 0.5) / 12 - 180),
        Axis(2, 12, "month", np.array(_MONTHS)),
    ]
    north, west = axes[0].find("48.5"), axes[1].find("5")
    alps = slice(north, axes[0].find("43.5")), slice(west, axes[1].find("17")), slice(None)
    munich = axes[0].find("48.14"), axes[1].find("11.58"), slice(None)
    reads = [
        named("map of July", axes, (slice(None), slice(None), 6)),
        named("a year in Munich", axes, munich),
        named("the Alps", axes, alps),
    ]
    return Source(
        *("Linke turbidity", dataset, path, axes, reads), scale=1 / 20, unit="Linke turbidity"
    )


def load(spec: str) -> Source:
    """Open `FILE`, `FILE:DATASET` or `DIRECTORY:ARRAY`: .npy, HDF5, NetCDF 4, Zarr, a frame.

    Raises
    ------
    InputError
    """
    place, inside = split_path(spec)
    if not Path(place).exists():
        raise InputError(f"{place} does not exist")
    try:
        tree, path = _open(place, inside)
        dataset = tree.arrays[path]
        _check(spec, dataset)
        full = "/".join(filter(None, (inside, path)))
        axes = _axes(place, full, dataset)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{place} is a directory without a Zarr array or group") from error
    except (CatervaError, OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise InputError(f"{spec} cannot be read: {one_line(error)}") from error
    told = dataset.attributes
    return Source(
        ":".join(filter(None, (Path(place).stem, full))),
        dataset,
        Path(place),
        axes,
        usual_reads(axes),
        scale=_number(told.get("scale_factor"), 1),
        offset=_number(told.get("add_offset"), 0),
        unit=str(told.get("units", "")),
    )


def _open(place: str, inside: str) -> tuple[Tree, str]:
    """Return what is at a path, and which of its arrays is meant."""
    try:
        tree = open_tree(place, inside)
    except (CatervaError, FileNotFoundError, KeyError) as error:
        if not inside:
            raise
        try:
            tree = open_tree(place, "")
        except (CatervaError, OSError):
            raise error from None
        if tree.is_array:
            raise
        raise InputError(f"{place} has no dataset {inside!r}. There are: {_listed(tree)}") from None
    if tree.is_array:
        return tree, ""
    # A coordinate lies along the axis that has its name.
    found = [p for p, a in tree.arrays.items() if (a.dimension_names or ()) != (_leaf(p),)]
    if len(found) == 1:
        return tree, found[0]
    several = "has several datasets; add one as" if found else "has no dataset as in"
    raise InputError(f"{place} {several} {place}:NAME. There are: {_listed(tree)}")


def _leaf(path: str) -> str:
    return path.rpartition("/")[2]


def _listed(tree: Tree) -> str:
    return ", ".join(sorted(tree.arrays)) or "none"


def _check(spec: str, dataset: Dataset) -> None:
    if dataset.dtype.hasobject or dataset.dtype.kind == "T":
        raise InputError(f"{spec} has dtype {dataset.dtype}; items of a fixed size are needed")
    if not dataset.shape or 0 in dataset.shape:
        raise InputError(
            f"{spec} has shape {dataset.shape}; one dimension or more, and items, are needed"
        )


def _axes(place: str, path: str, dataset: Dataset) -> list[Axis]:
    """Return the axes of an array, with the coordinates of its group and those above."""
    names = [name or "" for name in dataset.dimension_names or [""] * len(dataset.shape)]
    groups = [str(each).removeprefix(".") for each in PurePosixPath(path).parents]
    wanted = {f"{group}/{name}".strip("/") for group in groups for name in names if name}
    tree = Tree(place, "")
    if wanted:
        keep = wanted | set(groups)
        tree = open_tree(place, "", exclude=lambda each: each not in keep)
    axes = []
    for number, (name, length) in enumerate(zip(names, dataset.shape, strict=True)):
        found = (tree.arrays.get(f"{group}/{name}".strip("/")) for group in groups)
        values = next((each for each in found if each and each.shape == (length,)), None)
        axes.append(Axis(number, length, name, values and _values(values)))
    return axes


def _values(dataset: Dataset) -> npt.NDArray[Any] | None:
    values = coordinates_of(dataset.read((slice(0, dataset.shape[0]),)), dataset.attributes)
    return values if values.dtype.kind in "iufMUT" else None


def _number(value: Any, usual: float) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return usual
    return found if math.isfinite(found) else usual
