"""Results as Markdown tables and as plots, put into a page between the marks of their part."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

import caterva_cffi as cat
from benchmarks import default_blocks as shares
from benchmarks.codings import Coded
from benchmarks.cold import Cold
from benchmarks.convert import Converted
from benchmarks.defaults import Amount
from benchmarks.kernel import Row
from benchmarks.learning import FIXED, LEARNED, Learned
from benchmarks.partitions import Point
from benchmarks.remote import Far
from benchmarks.small_chunks import Small
from benchmarks.timing import Spread
from benchmarks.zarr_slices import OURS, Timed


# --- Markdown -------------------------------------------------------------------------------------
def seconds(value: float) -> str:
    """Return a time with three digits."""
    for unit, factor in (("s", 1), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def size(value: float) -> str:
    """Return a number of bytes with three digits."""
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:g} B"


def ratio(spread: Spread) -> str:
    """Return a ratio with its quartiles."""
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first column is text."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def insert(page: Path, part: str, text: str) -> None:
    """Replace what stands between a part's marks in a page.

    Raises
    ------
    ValueError
        For a page without these marks.
    """
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    before = page.read_text(encoding="utf-8")
    marked = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    if not marked.search(before):
        raise ValueError(f"{page} has no lines {begin} and {end}")
    after = marked.sub(lambda _: f"{begin}\n{text}\n{end}", before)
    page.write_text(after, encoding="utf-8")


def _value(row: Row) -> str:
    if row.other is not None:
        return ratio(row.value)
    return f"{seconds(row.value.median)} ({seconds(row.value.low)} to {seconds(row.value.high)})"


def _bound(row: Row) -> str:
    return f"{row.bound:g} x" if row.other is not None else seconds(row.bound)


def _verdict(row: Row) -> str:
    return "" if row.met else f"**missed**, {row.value.median / row.bound:.2f} x the bound"


def line(
    row: (
        Row
        | Timed
        | Cold
        | Point
        | Far
        | Learned
        | Small
        | Coded
        | Converted
        | Amount
        | shares.Access
    ),
) -> str:
    """Return a result as it is shown while measuring."""
    if isinstance(row, Row):
        verdict = "" if row.met else "MISSED"
        return (
            f"{row.work:45} {row.case:44} {_value(row):>24} <= {_bound(row):7} {verdict}".rstrip()
        )
    if isinstance(row, Timed):
        shown = "".join(f"\n    {n:38} {seconds(s.median):>8}" for n, s in row.seconds.items())
        compared = "".join(f"\n    {a} / {b}: {ratio(r)}" for a, b, r in row.ratios)
        return f"{row.selection}{shown}{compared}"
    if isinstance(row, Cold):
        read = "".join(f"\n    {n:38} {size(v):>9} from the disk" for n, v in row.nbytes.items())
        return f"{line(row.timed)}{read}"
    if isinstance(row, Far):
        asked = f"{row.requests:5g} requests {size(row.sent):>9}"
        where = f"{row.protocol}, {row.latency * 1e3:g} ms"
        return f"{where:18} {row.selection:16} {row.reader:44} {_ms(row):>6} ms {asked}"
    if isinstance(row, Learned):
        return "  ".join(f"{cell:>20}" for cell in _against_best(row))
    if isinstance(row, Small):
        shown = (f"{n} {seconds(s.median)}, {row.nbytes[n]} B" for n, s in row.seconds.items())
        return f"{row.case:24} {'; '.join(shown)}; {ratio(row.against_default)}"
    if isinstance(row, Coded):
        shown = (f"{what} {seconds(s.median)}" for what, s in row.seconds.items())
        ratios = f"{row.ratio:6.2f} x ({row.unrounded:.2f})"
        return f"{row.coding:60} {ratios}, error {row.error:.2g}; {'; '.join(shown)}"
    if isinstance(row, Converted):
        memory = "" if row.memory is None else size(row.memory)
        times = f"{seconds(row.processor):>8} of processors, {seconds(row.seconds):>8}"
        return f"{row.work:26} {row.way:20} {times}, {memory}"
    if isinstance(row, Amount):
        return "  ".join(f"{cell:>18}" for cell in _against_ours(row))
    if isinstance(row, shares.Access):
        shown = "".join(f"\n    {way:32} {seconds(s):>8}" for way, s in row.seconds.items())
        return f"{_chunk(row)}: {row.access}{shown}"
    memory = "" if row.peak is None else f"{row.peak / 2**20:10.1f} MiB"
    return f"{row.way:58} {row.what:16} {row.x:4} {seconds(row.seconds.median):>8}{memory}"


def kernel(rows: Sequence[Row], _: Path) -> str:
    """Return the bounds in short, then every case."""
    works = list(dict.fromkeys(row.work for row in rows))
    short, long = [], []
    for work in works:
        cases = [row for row in rows if row.work == work]
        by_bound = {row.bound: [r for r in cases if r.bound == row.bound] for row in cases}
        for same in by_bound.values():
            best, worst = (f(same, key=lambda row: row.value.median) for f in (min, max))
            met = sum(row.met for row in same)
            missed = f"**missed in {len(same) - met} of {len(same)}**"
            verdict = "met" if met == len(same) else missed
            short.append((work, _bound(same[0]), _value(best), _value(worst), verdict))
    for row in rows:
        other = seconds(row.other.median) if row.other is not None else ""
        ours = seconds(row.ours.median)
        against = row.against
        cells = (row.work, row.case, ours, against, other, _value(row), _bound(row), _verdict(row))
        long.append(cells)
    head = ("work", "bound", "best case", "worst case", "")
    columns = ("work", "case", "ours", "against", "its time", "ratio (quartiles)", "bound", "")
    return (
        f"{table(head, short)}\n\n<details><summary>Every case</summary>\n\n"
        f"{table(columns, long)}\n\n</details>"
    )


def checksums(rows: Sequence[Row], _: Path) -> str:
    """Return each work's time with checksums over its time without, by case."""
    cases = list(dict.fromkeys(row.case for row in rows))
    values = {(row.work, row.case): ratio(row.value) for row in rows}
    works = list(dict.fromkeys(row.work for row in rows))
    lines = [(work, *(values[work, case] for case in cases)) for work in works]
    return table(("with checksums / without", *cases), lines)


def small_chunks(rows: Sequence[Small], _: Path) -> str:
    """Return the time and the bytes of one chunk by each codec."""
    names = list(rows[0].seconds)
    lines = [
        (
            row.case,
            *(f"{seconds(row.seconds[n].median)}, {row.nbytes[n]} B" for n in names),
            ratio(row.against_default),
        )
        for row in rows
    ]
    return table(("a chunk", *names, "caterva / zarr's default"), lines)


def defaults(rows: Sequence[Amount], _: Path) -> str:
    """Return what ours takes, and how much more or less the others."""
    return table(("", *rows[0].amounts), map(_against_ours, rows))


def _against_ours(row: Amount) -> tuple[str, ...]:
    ours, *others = row.amounts.values()
    shown = size(ours) if row.in_bytes else seconds(ours)
    return row.work, shown, *(f"{other / ours:.3g} x" for other in others)


def convert(rows: Sequence[Converted], _: Path) -> str:
    """Return what each way takes, and how much more than ours."""
    lines = []
    for row in rows:
        ours = next(each for each in rows if each.work == row.work)
        lines.append(
            (
                row.work,
                row.way,
                seconds(row.processor),
                f"{row.processor / ours.processor:.2f}",
                seconds(row.seconds),
                "" if row.memory is None else size(row.memory),
            )
        )
    head = ("work", "way", "processor time", "to the first way", "time", "peak memory")
    return table(head, lines)


def formula(rows: Sequence[Timed], directory: Path) -> str:
    """Return all readers' medians, and ours against the best of the others."""
    return crops(rows, directory)


def writes(rows: Sequence[Timed], directory: Path) -> str:
    """Return all writers' medians, and ours against the others."""
    return crops(rows, directory)


def cold(rows: Sequence[Cold], directory: Path) -> str:
    """Return times, and what each reader read from the disk."""
    names = list(dict.fromkeys(name for row in rows for name in row.nbytes))
    read = [
        (name, *(f"{row.nbytes[name] / 2**20:.3g}" if name in row.nbytes else "" for row in rows))
        for name in names
    ]
    return (
        f"{crops([row.timed for row in rows], directory)}\n\n"
        f"{table(('MiB from the disk', *(row.timed.selection for row in rows)), read)}"
    )


def growth(rows: Sequence[Timed], directory: Path) -> str:
    """Return what each selection takes in arrays of several sizes."""
    return crops(rows, directory)


def _median_ms(spread: Spread) -> str:
    return f"{spread.median * 1e3:.3g}"


def crops(rows: Sequence[Timed], _: Path) -> str:
    """Return all readers' medians, and ours against the others."""
    names = list(dict.fromkeys(name for row in rows for name in row.seconds))
    times = [
        (name, *(_median_ms(row.seconds[name]) if name in row.seconds else "" for row in rows))
        for name in names
    ]
    compared = [
        (row.selection, one, other, ratio(spread))
        for row in rows
        for one, other, spread in row.ratios
    ]
    return (
        f"{table(('ms', *(row.selection for row in rows)), times)}\n\n"
        f"{table(('work', 'time of', 'against', 'ratio (quartiles)'), compared)}"
    )


def codings(rows: Sequence[Coded], _: Path) -> str:
    """Return ratio, error and times of each configuration."""
    lines = [
        (
            row.coding,
            f"{row.ratio:.2f}",
            f"{row.unrounded:.2f}",
            f"{row.error:.2g}" if row.error else "none",
            *(seconds(spread.median) for spread in row.seconds.values()),
        )
        for row in rows
    ]
    head = ("codec and filters", "ratio", "not rounded", "largest error", *rows[0].seconds)
    return table(head, lines)


def zarr_slices(rows: Sequence[Timed], directory: Path) -> str:
    """Return all readers' medians, and ours against the best."""
    plot = directory / "zarr_slices.png"
    _draw_slices([row for row in rows if row.seconds.keys() == rows[0].seconds.keys()], plot)
    return f"{crops(rows, directory)}\n\n![Time of each reader]({directory.name}/{plot.name})"


def partitions(points: Sequence[Point], directory: Path) -> str:
    """Return the table of the axes, and the plots."""
    axes = [point for point in points if point.figure == "axes"]
    planes = list(dict.fromkeys(point.what for point in axes))
    found = {(point.way, point.what): point.seconds for point in axes}
    cells = [
        (way, *(_milliseconds(found[way, plane]) for plane in planes))
        for way in dict.fromkeys(point.way for point in axes)
    ]
    _draw_axes(axes, directory / "axes.png")
    _draw_selection(
        [point for point in points if point.figure == "selection"], directory / "selection.png"
    )
    _draw_chunk([point for point in points if point.figure == "chunk"], directory / "chunk.png")
    return (
        f"{table(('ms, median (quartiles)', *planes), cells)}\n\n"
        f"![Planes across each axis]({directory.name}/axes.png)\n\n"
        f"![Time against the size of the selection]({directory.name}/selection.png)\n\n"
        f"![Time and memory against the size of the chunk]({directory.name}/chunk.png)"
    )


def default_blocks(rows: Sequence[shares.Access], _: Path) -> str:
    """Return what matters of each chunk, then every access."""
    short, long = [], []
    for mine in shares.by_chunk(rows).values():
        cells = [_chunk(mine[0])]
        for kind in ("plane", "line", "everything"):
            found = [shares.worst(mine, kind, w) for w in (shares.DEFAULT, shares.CUBES)]
            best = shares.best_by_hand(mine, kind)
            cells.append(", ".join(seconds(value) for value in (*found, best)) if best else "")
        cells.append(f"{shares.mean_ratio(mine, shares.DEFAULT, shares.CUBES):.2f}")
        against = max(row.seconds[shares.OURS] / row.seconds[shares.ZARR] for row in mine)
        mean = shares.mean_ratio(mine, shares.OURS, shares.ZARR)
        short.append((*cells, f"{mean:.2f}, {against:.2f}"))
    for row in rows:
        times = [row.seconds[way] for way in (shares.DEFAULT, shares.CUBES)]
        ours, zarrs = row.seconds[shares.OURS], row.seconds[shares.ZARR]
        times += [shares.fastest_by_hand(row), ours, zarrs]
        verdict = f"{ours / zarrs:.2f}" + (", **slower**" if ours > zarrs else "")
        long.append((_chunk(row), row.access, *map(seconds, times), verdict))
    head = ("default blocks, near-cubes, best by hand", "worst plane", "worst line", "everything")
    head += ("default / near-cubes, mean", "in zarr / its own: mean, worst")
    ways = (shares.DEFAULT, shares.CUBES, "fastest by hand", shares.OURS, shares.ZARR, "ratio")
    return (
        f"{table(head, short)}\n\n{_predictions(rows)}\n\n"
        f"<details><summary>Every access</summary>\n\n"
        f"{table(('chunk', 'access', *ways), long)}\n\n</details>"
    )


def _predictions(rows: Sequence[shares.Access]) -> str:
    """Tell how well the model of `advise` puts times in order."""
    count = sum(len(row.by_hand) for row in rows)
    return (
        f"Rank correlation of these times with those that `advise` predicts: "
        f"{shares.rank_correlation(rows):.2f}, over {count} ways and accesses."
    )


def _chunk(row: shares.Access) -> str:
    return f"{' x '.join(map(str, row.chunk))} {row.dtype}"


def remote(rows: Sequence[Far], directory: Path) -> str:
    """Return a table for each protocol and latency, and the plot of the shortest one."""
    written = []
    for protocol, latency in dict.fromkeys((row.protocol, row.latency) for row in rows):
        mine = [row for row in rows if (row.protocol, row.latency) == (protocol, latency)]
        names = list(dict.fromkeys(row.selection for row in mine))
        cells = [
            (
                reader,
                *(
                    f"{_ms(row)} ms, {row.requests:g}, {size(row.sent)}"
                    for row in mine
                    if row.reader == reader
                ),
            )
            for reader in dict.fromkeys(row.reader for row in mine)
        ]
        title = f"{protocol}, {latency * 1e3:g} ms: time, requests, bytes"
        written.append(table((title, *names), cells))
    shortest = min(row.latency for row in rows)
    _draw_remote([row for row in rows if row.latency == shortest], directory / "remote.png")
    tables = "\n\n".join([_policy(), *written])
    return f"{tables}\n\n![Time and bytes of each reader]({directory.name}/remote.png)"


def _policy() -> str:
    now = cat.get_read_policy("remote")
    return (
        f"Read policy of {OURS}: it learns, and begins with first {size(now.first)}, "
        f"gap {size(now.gap)}, whole {now.whole:g}, concurrency {now.concurrency}."
    )


def learning(rows: Sequence[Learned], _: Path) -> str:
    """Return what the policy that learns takes beside the best fixed one, and what it learned."""
    head = ("reader", "server", "learned", "fixed default", "best fixed", "which", "it learned")
    return table(head, [_against_best(row) for row in rows])


def _against_best(row: Learned) -> tuple[str, ...]:
    costs = row.policy.costs
    found = (
        "too little"
        if costs is None
        else f"{seconds(costs.latency)}, {costs.bandwidth / 1e6:.3g} MB/s, "
        f"{seconds(costs.request)} a request: gap {size(row.policy.gap)}"
    )
    return (
        row.reader,
        f"{seconds(row.latency)}, {row.bandwidth / 1e6:g} MB/s",
        f"{row.against_best(LEARNED):.2f} x",
        f"{row.against_best(FIXED):.2f} x",
        seconds(row.seconds[row.best].median),
        row.best,
        found,
    )


def _ms(row: Far) -> str:
    return f"{row.seconds.median * 1e3:.0f}"


def _milliseconds(spread: Spread) -> str:
    low, median, high = (f"{v * 1e3:.3g}" for v in (spread.low, spread.median, spread.high))
    return f"{median} ({low} to {high})"


# --- plots ----------------------------------------------------------------------------------------
def _colour(way: str) -> str:
    return "tab:orange" if way.startswith(OURS) else "tab:gray"


def _whiskers(spreads: Sequence[Spread], factor: float) -> tuple[list[float], list[list[float]]]:
    """Return medians and what error bars reach below and above them."""
    return [s.median * factor for s in spreads], [
        [(s.median - s.low) * factor for s in spreads],
        [(s.high - s.median) * factor for s in spreads],
    ]


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _plain_ticks(axis: Any) -> None:
    """Label a logarithmic axis 1, 2, 5, 10, 20, ... over two decades, and 1, 10, 100 over more."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _draw_slices(rows: Sequence[Timed], path: Path) -> None:
    columns = -(-len(rows) // 2)
    figure, panels = plt.subplots(2, columns, figsize=(14, 7), sharey=True, layout="constrained")
    for panel, row in zip(panels.flat, rows, strict=False):
        names = list(row.seconds)[::-1]
        medians, reach = _whiskers([row.seconds[name] for name in names], 1e3)
        for y, name in enumerate(names):
            across = [[side[y]] for side in reach]
            panel.errorbar(medians[y], y, xerr=across, fmt="o", color=_colour(name))
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.set_xscale("log")
        _plain_ticks(panel.xaxis)
        panel.set_xlabel("ms")
        panel.set_title(row.selection, fontsize=10)
        panel.grid(axis="x", alpha=0.4)
    for panel in list(panels.flat)[len(rows) :]:
        panel.set_axis_off()
    _save(figure, path)


def _draw_remote(rows: Sequence[Far], path: Path) -> None:
    protocols = list(dict.fromkeys(row.protocol for row in rows))
    names = list(dict.fromkeys(row.selection for row in rows))
    readers = list(dict.fromkeys(row.reader for row in rows))
    height = 0.2 * len(readers) + 1
    figure, panels = plt.subplots(
        2 * len(protocols),
        len(names),
        figsize=(15, 2 * height * len(protocols)),
        sharey=True,
        layout="constrained",
    )
    for line_, (protocol, what) in enumerate((p, w) for p in protocols for w in ("ms", "KiB")):
        for panel, name in zip(panels[line_], names, strict=True):
            mine = [r for r in rows if (r.protocol, r.selection) == (protocol, name)]
            for row in mine:
                y = -readers.index(row.reader)
                if what == "ms":
                    (x,), reach = _whiskers([row.seconds], 1e3)
                else:
                    x, reach = row.sent / 2**10, None
                panel.errorbar(x, y, xerr=reach, fmt="o", color=_colour(row.reader))
            panel.set_yticks([-n for n in range(len(readers))], readers, fontsize=8)
            panel.set_xscale("log")
            _plain_ticks(panel.xaxis)
            panel.set_xlabel(what)
            panel.set_title(f"{protocol}: {name}", fontsize=10)
            panel.grid(axis="x", alpha=0.4)
    _save(figure, path)


def _draw_axes(points: Sequence[Point], path: Path) -> None:
    planes = list(dict.fromkeys(point.what for point in points))
    ways = list(dict.fromkeys(point.way for point in points))
    groups = list(dict.fromkeys(way.split(",")[0] for way in ways))
    colours = ["tab:orange", "tab:gray", "tab:blue"]
    figure, panels = plt.subplots(1, len(groups), figsize=(12, 4), layout="constrained")
    for panel, group in zip(panels, groups, strict=True):
        mine = [way for way in ways if way.split(",")[0] == group]
        for number, way in enumerate(mine):
            spreads = [p.seconds for p in points if p.way == way]
            medians, reach = _whiskers(spreads, 1e3)
            x = [k + 0.27 * (number - 1) for k in range(len(planes))]
            label = way.split(", ", 1)[1]
            panel.bar(x, medians, 0.25, yerr=reach, label=label, color=colours[number])
        panel.set_xticks(range(len(planes)), planes)
        panel.set_ylabel("ms")
        panel.set_title(group)
        panel.legend(fontsize=8)
    _save(figure, path)


def _lines(panel: Any, points: Sequence[Point], value: Callable[[Point], Spread]) -> None:
    for way in dict.fromkeys(point.way for point in points):
        mine = [point for point in points if point.way == way]
        spreads = [value(point) for point in mine]
        x = [point.x for point in mine]
        bold = 2.5 if way.startswith(OURS) else 1.2
        drawn = panel.plot(x, [s.median for s in spreads], marker=".", lw=bold, label=way)
        low, high = [s.low for s in spreads], [s.high for s in spreads]
        panel.fill_between(x, low, high, alpha=0.2, color=drawn[0].get_color())
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.xaxis.set_major_formatter("{x:g}")
    _plain_ticks(panel.yaxis)
    panel.grid(alpha=0.4)


def _draw_selection(points: Sequence[Point], path: Path) -> None:
    figure, panel = plt.subplots(figsize=(7, 4.5), layout="constrained")
    _lines(panel, points, lambda p: Spread(*(1e3 * v for v in _three(p.seconds))))
    panel.set_xlabel("side of the cube that is read [items]")
    panel.set_ylabel("ms")
    panel.legend(fontsize=8)
    _save(figure, path)


def _draw_chunk(points: Sequence[Point], path: Path) -> None:
    wanted = list(dict.fromkeys(point.what for point in points))
    figure, panels = plt.subplots(
        2, len(wanted), figsize=(11, 8), sharex=True, layout="constrained"
    )
    for column, what in enumerate(wanted):
        mine = [point for point in points if point.what == what]
        _lines(panels[0][column], mine, lambda p: Spread(*(1e3 * v for v in _three(p.seconds))))
        panels[0][column].set_ylabel("ms")
        panels[0][column].set_title(what)
        measured = [point for point in mine if point.peak is not None]
        _lines(panels[1][column], measured, lambda p: Spread(*[max(p.peak or 0, 4096) / 2**20] * 3))
        panels[1][column].set_ylabel("memory at the peak [MiB]")
        panels[1][column].set_xlabel("side of the chunk [items]")
    panels[0][0].legend(fontsize=8)
    _save(figure, path)


def _three(spread: Spread) -> tuple[float, float, float]:
    return spread.low, spread.median, spread.high
