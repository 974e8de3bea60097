"""The picture: what was read, and below it how long each copy takes, the fastest first."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.demo.copies import ADVISED, OURS, ZSTD
from benchmarks.demo.sources import Source
from benchmarks.demo.text import Row, times

_COLOURS = {OURS: "tab:orange", ZSTD: "#fdb462", ADVISED: "#fdb462"}
_OTHERS = "#9a9a9a"
_LETTERS = 48
"""Of a line above a panel."""


def numbers(values: Any) -> npt.NDArray[Any] | None:
    """Return values as real numbers that can be drawn, or None."""
    values = np.asarray(values)
    if values.dtype.kind in "mM":
        values = values.view("i8" if values.dtype.isnative else values.dtype.str[0] + "i8")
    if values.dtype.kind == "c":
        values = np.abs(values)
    return values.astype("f8") if values.dtype.kind in "biuf" else None


def drawable(source: Source, selected: Any) -> npt.NDArray[Any] | None:
    """Return values as they are meant: without those that stand for none, scaled; or None."""
    values = numbers(selected)
    if values is None:
        return None
    for name in ("_FillValue", "missing_value"):
        none = source.dataset.attributes.get(name)
        if isinstance(none, (int, float)):
            values[values == none] = np.nan
    return values * source.scale + source.offset


def show(axes: Any, source: Source, selected: Any) -> None:
    """Draw the values of one read."""
    values = drawable(source, selected)
    if values is None:
        axes.text(0.5, 0.5, f"{source.dtype}", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    while values.ndim > 2:  # a box is shown by its mean along the shortest axis
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


def bars(axes: Any, row: Row, title: str) -> None:
    """Draw one figure of all copies: the least on top, each with how many times ours it is."""
    ways = sorted(row.amounts, key=lambda way: row.amounts[way])
    lengths = [row.amounts[way] for way in ways]
    drawn = axes.barh(ways, lengths, color=[_COLOURS.get(way, _OTHERS) for way in ways])
    labels = []
    for way in ways:
        ratio = f"  ({times(row.amounts[way], row.amounts[OURS])} x)" if way != OURS else ""
        labels.append(f"{row.amount(way)}{ratio}")
    axes.bar_label(drawn, labels, padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(lengths) * 1.6 or 1)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0, labelsize=9)
    for label in axes.get_yticklabels():
        label.set_fontweight("bold" if label.get_text() == OURS else "normal")
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_title(title, fontsize=10, loc="left")


def draw(source: Source, rows: list[Row], path: Path, setting: str) -> None:
    """Draw what was read, and the bars of time and size.

    Parameters
    ----------
    source : Source
    rows : list of Row
    path : Path
        Of the picture.
    setting : str
        What else to say in small print.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    *reads, everything = source.reads
    by_name = {row.name: row for row in rows}
    figure = plt.figure(figsize=(4.2 * (len(reads) + 1), 7), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[len(reads), 1])
    panels = left.subplots(2, len(reads), height_ratios=[1.3, 1], squeeze=False)
    for k, read in enumerate(reads):
        title = fill(f"{read.name} [{read}]: {read.where}".rstrip(": "), _LETTERS)
        panels[0, k].set_title(title, fontsize=9)
        show(panels[0, k], source, source.read(read.selection))
        bars(panels[1, k], by_name[read.name], f"time to read: {read.name}")
    whole = {
        everything.name: "time to read everything",
        "writing all": "time to write everything",
        "stored": "size of all files",
    }
    for axes, (name, title) in zip(right.subplots(3, 1), whole.items(), strict=True):
        bars(axes, by_name[name], title)
    figure.suptitle(
        f"{source.name}, read from Zarr copies. Shorter bars are better; 2 x means twice {OURS}'s",
        fontsize=12,
    )
    figure.supxlabel(setting, fontsize=8, color="#555555")
    figure.savefig(path, dpi=110)
    plt.close(figure)
