"""What `advise` returns: chunks, blocks and a codec, with a table of what they and others cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from caterva_cffi.codecs.coding import Coding

__all__ = ["Advice", "Predicted"]


@dataclass(frozen=True)
class Predicted:
    """A partition, and what it costs.

    Attributes
    ----------
    chunks, blocks : tuple of int
    ratio : float
        Bytes of items by bytes that are stored: measured with a sample, else a guess.
    seconds : tuple of float
        Of each access, as the model says.
    total : float
        Their weighted mean.
    configuration : mapping or None
        Codec and filters, as the codecs for Zarr and numcodecs take them: `cname`, `shuffle`, ...
        None if they were not chosen.
    error : float
        How far the item of the sample that is farthest off is; 0 for lossless codecs.
    """

    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    ratio: float
    seconds: tuple[float, ...]
    total: float
    configuration: Mapping[str, Any] | None = None
    error: float = 0.0


@dataclass(frozen=True)
class Advice:
    """Which chunks and blocks to choose, and which codec if there was a sample.

    `str` gives the table; in notebooks it is one, too.

    Attributes
    ----------
    chunks, blocks : tuple of int
        Those with the least predicted time; of codecs that are about as fast, the one that stores
        least.
    accesses : tuple of str
    table : tuple of Predicted
        This partition first, then the default one and alternatives, the faster ones first.
    configuration : mapping or None
        Codec and filters, for `CatervaCodec(block_shape=advice.blocks, **advice.configuration)`.
    compression : mapping or None
        The same, for `asarray(items, **advice.compression)` and its like.
    """

    chunks: tuple[int, ...]
    blocks: tuple[int, ...]
    accesses: tuple[str, ...]
    table: tuple[Predicted, ...]
    configuration: Mapping[str, Any] | None = None
    compression: Mapping[str, Any] | None = None

    def _rows(self) -> list[list[str]]:
        names = ["advised", "default"] + [""] * len(self.table)
        rows = [["", "chunks", "blocks", "ratio", *self.accesses, "weighted"]]
        rows += [
            [
                name,
                " x ".join(map(str, each.chunks)),
                " x ".join(map(str, each.blocks)),
                f"{each.ratio:.2f}",
                *map(_time, [*each.seconds, each.total]),
            ]
            for name, each in zip(names, self.table, strict=False)
        ]
        if self.configuration is not None:
            rows[0] += ["error", "codec"]
            for row, each in zip(rows[1:], self.table, strict=True):
                codec = Coding(**each.configuration or {}).described()
                row += [f"{each.error:.2g}" if each.error else "none", codec]
        return rows

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join(map(str.rjust, row, widths)).rstrip() for row in rows)
        codec = ""
        if self.configuration is not None:
            codec = f", {Coding(**self.configuration).described()}"
        return "\n".join([f"chunks {self.chunks}, blocks {self.blocks}{codec}", *lines])

    def _repr_html_(self) -> str:
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self._rows())
        return f"<table><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _time(seconds: float) -> str:
    for unit, least in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= least:
            return f"{seconds / least:.3g} {unit}"
    return f"{seconds:.1g} s"
