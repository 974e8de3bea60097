"""Items of a frame in a file, replaced: only the touched blocks are read."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from caterva_cffi.binding.compression import Compression
from caterva_cffi.binding.encoding import Span
from caterva_cffi.binding.kernel import kernel_of
from caterva_cffi.codecs.editing import frame_around
from caterva_cffi.format.chunk_header import HEADER, check_size
from caterva_cffi.geometry.cutting import cut
from caterva_cffi.geometry.selection import Basic, lay
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import Layout
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import exactly
from caterva_cffi.storage.positioned_reads import read_ranges

__all__ = ["plan_edit"]


def plan_edit(
    descriptor: int,
    layout: Layout,
    compression: Compression,
    selection: Basic,
    items: npt.NDArray[Any],
) -> list[Span] | None:
    """Replace items of a frame; return what the new frame is made of.

    Parameters
    ----------
    descriptor : int
        Of the file with a contiguous frame and nothing else.
    layout : Layout
        Of this frame.
    compression : Compression
        For blocks that change.
    selection : Basic
        At least one item.
    items : ndarray
        Of the selection's shape and the frame's dtype.

    Returns
    -------
    list of Span or None
        None if chunks must be compressed anew as a whole.

    Raises
    ------
    FormatError, UnsupportedError, OSError
    """
    frame = Frame(layout, kernel_of(layout.grid), get_read_policy("local"), files=descriptor)
    changed = _changed_chunks(frame, compression, selection, items)
    if changed is None:
        return None
    header, offsets = layout.header, layout.offsets.tolist()
    chunks: list[Span] = []
    cbytes = 0
    for number, offset in enumerate(offsets):
        if offset < 0:
            continue  # a chunk of one value is not stored
        spans = changed.get(number) or [_stored(descriptor, layout, number)]
        offsets[number] = cbytes
        chunks += spans
        cbytes += sum(span[1] if isinstance(span, tuple) else len(span) for span in spans)
    range_ = (header.offsets_at, header.frame_len)
    [tail] = read_ranges(descriptor, [range_])
    start, *end = frame_around(layout, exactly(tail, range_, "the frame"), offsets, cbytes)
    return [start, *chunks, *end]


def _changed_chunks(
    frame: Frame, compression: Compression, selection: Basic, items: npt.NDArray[Any]
) -> dict[int, list[Span]] | None:
    """Return what chunks are made of that change; None if one is to be compressed as a whole."""
    source, parameters = lay(items, selection), compression.to_kernel()
    changed: dict[int, list[Span]] = {}
    for number, box, position in cut(frame.layout.grid, selection.box):
        place = frame.in_file(number)
        if isinstance(place, list):
            return None
        within: list[Any] = [slice(k, k + n) for k, n in zip(position, box[1], strict=True)]
        part = source[(*within, ...)]
        spans = frame.kernel.plan_update(number, parameters, place, box, part)
        if spans is None:
            return None
        first = place[2]
        changed[number] = [
            (first + span[0], span[1]) if isinstance(span, tuple) else span for span in spans
        ]
    return changed


def _stored(descriptor: int, layout: Layout, number: int) -> Span:
    """Return where a chunk is that stays as it is."""
    start, end = layout.range_of(number)
    [head] = read_ranges(descriptor, [(start, start + HEADER)])
    size = check_size(head, number, end - start)
    return start, size
