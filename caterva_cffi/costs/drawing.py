"""A drawing of the blocks that a selection touches, as SVG."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from caterva_cffi.costs.touched import Picture
from caterva_cffi.geometry.grid import Grid

__all__ = ["svg_of"]

_SIDE, _LEAST = 200.0, 24.0  # pixels of the longer side, and of a shorter one at least
_MOST_LINES = 40


def svg_of(picture: Picture, grid: Grid) -> str:
    """Return the drawing: touched blocks filled, borders of chunks as lines."""
    lengths = [edges[-1] for edges in picture.edges]
    height, width = (max(_SIDE * n / max(lengths), _LEAST) for n in lengths)
    scales = height / lengths[0], width / lengths[1]
    rows, columns = ([n * s for n in e] for e, s in zip(picture.edges, scales, strict=True))
    drawn = []
    for y, (top, bottom) in enumerate(pairwise(rows)):
        line = np.concatenate([[0], picture.touched[y].astype(int), [0]])
        borders = np.flatnonzero(np.diff(line)).tolist()
        for first, last in zip(borders[::2], borders[1::2], strict=True):
            drawn.append(
                f'<rect x="{columns[first]:.1f}" y="{top:.1f}" '
                f'width="{columns[last] - columns[first]:.1f}" height="{bottom - top:.1f}" '
                'fill="#e8743b"/>'
            )
    for at, axis in enumerate(picture.axes):
        if axis < 0:
            continue
        lines = [(edge, 0.4) for edge in _blocks(picture, at, grid)]
        lines += [(edge, 1.2) for edge in _chunks(grid, axis)]
        for edge, stroke in lines:
            x = edge * scales[at]
            ends = (0.0, x, width, x) if at == 0 else (x, 0.0, x, height)
            where = " ".join(
                f'{name}="{value:.1f}"'
                for name, value in zip(("x1", "y1", "x2", "y2"), ends, strict=True)
            )
            drawn.append(f'<line {where} stroke="#333" stroke-width="{stroke}"/>')
    names = " and ".join(f"axis {axis}" for axis in picture.axes if axis >= 0)
    return (
        f'<svg width="{width + 4:.0f}" height="{height + 4:.0f}" role="img" '
        f'viewBox="-2 -2 {width + 4:.0f} {height + 4:.0f}" style="background: #fff">'
        f"<title>blocks that are touched (filled), along {names}</title>{''.join(drawn)}"
        f'<rect width="{width:.1f}" height="{height:.1f}" fill="none" stroke="#333" '
        'stroke-width="2"/></svg>'
    )


def _chunks(grid: Grid, axis: int) -> range:
    few = grid.chunk_grid[axis] <= _MOST_LINES
    return range(grid.chunks[axis], grid.shape[axis], grid.chunks[axis]) if few else range(0)


def _blocks(picture: Picture, at: int, grid: Grid) -> list[int]:
    edges = list(picture.edges[at][1:-1])
    blocks = -(-grid.shape[picture.axes[at]] // grid.blocks[picture.axes[at]])
    return edges if len(edges) < _MOST_LINES and len(edges) < blocks + grid.nchunks else []
