"""What the demo prints: figures in columns, or one below the other where the terminal is narrow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

from benchmarks.demo.copies import ADVISED, OURS, ZSTD, Measured
from benchmarks.demo.reads import Read

TIMES = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
SIZES = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
_GAP = "  "
_EQUAL = 1.05
"""Times that differ by less than this may be equal."""


class Row(NamedTuple):
    """What was measured, in all ways; ours is the first.

    Parameters
    ----------
    name : str
    amounts : mapping
        Seconds or bytes.
    units : tuple
        What amounts are shown in, with how many seconds or bytes these are: larger ones first.
    counts : bool
        Whether it was measured so that a difference means something.
    """

    name: str
    amounts: Mapping[str, float]
    units: tuple[tuple[str, float], ...]
    counts: bool = True

    def amount(self, way: str) -> str:
        """Return an amount in the unit that suits the smallest one of its row."""
        least = min(self.amounts.values())
        unit, size = next((each for each in self.units if least >= each[1]), self.units[-1])
        value = self.amounts[way] / size
        return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"

    def ratio(self, way: str) -> str:
        """Return how many times as much as ours a way takes."""
        ours = self.amounts[OURS]
        return "" if way == OURS else f"{times(self.amounts[way], ours)} x"


def times(amount: float, ours: float) -> str:
    """Return a ratio with two digits."""
    ratio = amount / ours if ours else 1.0
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}" if ratio >= 1.95 else f"{ratio:.2f}"


def rows_of(reads: Sequence[Read], results: Mapping[str, Measured]) -> list[Row]:
    """Return all that was measured: reading, reading for the first time, writing, and size."""

    def row(name: str, amounts: Iterable[float], units: Any = TIMES, counts: bool = True) -> Row:
        return Row(name, dict(zip(results, amounts, strict=True)), units, counts)

    each = list(results.values())
    return [
        *(row(r.name, (m.median[r.name] for m in each)) for r in reads),
        *(row(f"{r.name}, cold", (m.first[r.name] for m in each), counts=False) for r in reads),
        row("writing all", (m.write for m in each)),
        row("stored", (m.stored for m in each), SIZES),
    ]


def table(rows: Sequence[Row], width: int) -> str:
    """Return the figures in columns; where these are wider than the terminal, in a list.

    Parameters
    ----------
    rows : sequence of Row
    width : int
        Of the terminal, in characters.
    """
    ways = list(rows[0].amounts)
    columns = [["", *(row.name for row in rows)]]
    for way in ways:
        amounts, ratios = [[f(row, way) for row in rows] for f in (Row.amount, Row.ratio)]
        wide = [max(map(len, each)) for each in (amounts, ratios)]
        cells = [f"{a:>{wide[0]}} {r:>{wide[1]}}".rstrip() if wide[1] else f"{a:>{wide[0]}}"
                 for a, r in zip(amounts, ratios, strict=True)]  # fmt: skip
        columns.append([way, *cells])
    sizes = [max(map(len, column)) for column in columns]
    lines = []
    for cells in zip(*columns, strict=True):
        padded = [cells[0].ljust(sizes[0]), *map(str.rjust, cells[1:], sizes[1:])]
        lines.append(_GAP.join(padded).rstrip())
    return "\n".join(lines) if max(map(len, lines)) <= width else listed(rows, width)


def listed(rows: Sequence[Row], width: int) -> str:
    """Return the figures below each other, with bars where there is room for them."""
    ways = list(rows[0].amounts)
    wide = max(map(len, ways))
    amounts = max(len(row.amount(way)) for row in rows for way in ways)
    ratios = max(len(row.ratio(way)) for row in rows for way in ways)
    room = width - (len(_GAP) * 4 + wide + amounts + ratios)
    lines = []
    for row in rows:
        lines += wrap(row.name, width)
        most = max(row.amounts.values()) or 1
        for way in ways:
            bar = "=" * round(max(room, 0) * row.amounts[way] / most)
            cells = (way.ljust(wide), row.amount(way).rjust(amounts), row.ratio(way).rjust(ratios))
            lines.append(_GAP.join(["", *cells, bar]).rstrip())
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> str:
    """Return where ours, with defaults, takes more than one of the others."""
    behind = []
    for row in filter(lambda each: each.counts, rows):
        others = {way: n for way, n in row.amounts.items() if way not in (OURS, ZSTD, ADVISED)}
        best = min(others, key=lambda way: others[way])
        if row.amounts[OURS] > others[best] * _EQUAL:
            behind.append(f"{row.name} ({times(row.amounts[OURS], others[best])} x {best})")
    if not behind:
        return f"{OURS} is nowhere behind the others."
    return f"{OURS} is behind the best of the others in: {', '.join(behind)}."


def paragraphs(lines: Iterable[str], width: int) -> str:
    """Return lines that fit the terminal; those that go on are indented."""
    fitted = (wrap(line, width, subsequent_indent="    ", break_on_hyphens=False) for line in lines)
    return "\n".join("\n".join(each) for each in fitted)
