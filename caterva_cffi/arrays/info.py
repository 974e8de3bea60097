"""Reports of an array for people: lines of text, and in notebooks a drawing of its partition."""

from __future__ import annotations

from html import escape
from textwrap import TextWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caterva_cffi.arrays.ndarray import NDArray
    from caterva_cffi.arrays.readable import ReadableArray

__all__ = ["InfoReporter", "html_of", "text_of"]


def text_of(array: NDArray) -> str:
    """Return a one-line description."""
    where = array.urlpath or ("frame in memory" if array.contiguous else "memory")
    return (
        f"<caterva_cffi.NDArray {array.shape} {array.dtype}, chunks {array.chunks}, "
        f"blocks {array.blocks}, {dict(array.info_items)['Comp. codec']} "
        f"{array.cratio:.2f}x, {where}>"
    )


def html_of(array: ReadableArray) -> str:
    """Return the report and the drawing side by side."""
    return (
        '<div style="display: flex; gap: 2em; align-items: center">'
        f"{_table(array)}{_drawing(array)}</div>"
    )


def _table(array: ReadableArray) -> str:
    rows = "".join(
        f'<tr><th style="text-align: left">{escape(str(key))}</th>'
        f'<td style="text-align: left">{escape(str(value))}</td></tr>'
        for key, value in array.info_items
    )
    return f"<table><tbody>{rows}</tbody></table>"


_SIDE = 160.0  # pixels of the longer side
_MOST_LINES = 40  # more lines would be a grey field


def _lines(length: int, part: int, scale: float) -> list[float]:
    """Return the positions of the borders between parts; none if they are too close."""
    if not part or length / part > _MOST_LINES:
        return []
    return [border * scale for border in range(part, length, part)]


def _drawing(array: ReadableArray) -> str:
    """Draw the last two dimensions of the array: chunks as strong lines, blocks as fine ones."""
    if array.ndim == 0 or 0 in array.shape:
        return ""
    shape, chunks, blocks = (
        (1, *lengths)[-2:] for lengths in (array.shape, array.chunks, array.blocks)
    )
    scale = _SIDE / max(shape)
    # A dimension too short to see is drawn a little wider than it is.
    scales = [max(scale, 12 / length) for length in shape]
    height, width = (length * s for length, s in zip(shape, scales, strict=True))
    parts = []
    for chunk_start in range(0, shape[0], chunks[0]) if shape[0] / chunks[0] < _MOST_LINES else ():
        end = min(chunk_start + chunks[0], shape[0])
        for y in range(chunk_start + blocks[0], end, blocks[0])[:_MOST_LINES]:
            parts.append((0.0, y * scales[0], width, y * scales[0], "#bbb", 0.5))
    for chunk_start in range(0, shape[1], chunks[1]) if shape[1] / chunks[1] < _MOST_LINES else ():
        end = min(chunk_start + chunks[1], shape[1])
        for x in range(chunk_start + blocks[1], end, blocks[1])[:_MOST_LINES]:
            parts.append((x * scales[1], 0.0, x * scales[1], height, "#bbb", 0.5))
    for y_at in _lines(shape[0], chunks[0], scales[0]):
        parts.append((0.0, y_at, width, y_at, "#333", 1.5))
    for x_at in _lines(shape[1], chunks[1], scales[1]):
        parts.append((x_at, 0.0, x_at, height, "#333", 1.5))
    drawn = "".join(
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{colour}" stroke-width="{stroke}"/>'
        for x1, y1, x2, y2, colour, stroke in parts
    )
    title = "chunks (strong) and blocks (fine)" + (
        ", last two dimensions" if array.ndim > 2 else ""
    )
    return (
        f'<svg width="{width + 4:.0f}" height="{height + 4:.0f}" role="img" '
        f'viewBox="-2 -2 {width + 4:.0f} {height + 4:.0f}" style="background: #fff">'
        f"<title>{title}</title>{drawn}"
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="none" stroke="#333" '
        f'stroke-width="2"/></svg>'
    )


class InfoReporter:
    """The report of an array, as text and as HTML.

    Parameters
    ----------
    obj : ReadableArray
    """

    def __init__(self, obj: ReadableArray) -> None:
        self.obj = obj

    def __repr__(self) -> str:
        items = self.obj.info_items
        width = max(len(key) for key, _ in items)
        return "".join(
            TextWrapper(
                width=80,
                initial_indent=key.ljust(width) + " : ",
                subsequent_indent=" " * width + " : ",
            ).fill(str(value))
            + "\n"
            for key, value in items
        )

    def _repr_html_(self) -> str:
        return _table(self.obj)
