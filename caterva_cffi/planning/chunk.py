"""Which bytes of a chunk to read, in which order. Nothing here reads: see `steps`."""

from __future__ import annotations

from collections.abc import Sequence

from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.errors import FormatError
from caterva_cffi.format.chunk_header import HEADER, cbytes_of, is_plain
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import ChunkBytes, Range, Steps, exactly

__all__ = ["chunk_steps"]


def chunk_steps(
    kernel: Kernel,
    number: int,
    where: Range,
    head: bytes | memoryview,
    boxes: Sequence[Box],
    policy: ReadPolicy,
    *,
    may_change: bool = False,
) -> Steps[list[ChunkBytes]]:
    """Read what boxes of a chunk need: first where its blocks are, then the blocks.

    Parameters
    ----------
    kernel : Kernel
    number : int
        Which chunk it is, for errors.
    where : Range
        Where the chunk begins, and a byte that it does not go beyond.
    head : bytes
        The chunk's first bytes, as many as are known.
    boxes : sequence of Box
        In items of the chunk.
    policy : ReadPolicy
    may_change : bool
        Whether the chunk may be replaced while it is read. Compressed blocks of another chunk are
        noticed, because a block must end where its streams do. Blocks that are stored as they are
        show nothing; so the chunk's head is read once more beside them.

    Returns
    -------
    list of ChunkBytes
        The first one holds header, block offsets and dictionary.

    Raises
    ------
    FormatError
        For a chunk that is damaged, or that goes beyond its end.
    """
    base, end = where
    what = f"chunk {number}"
    head, need, ranges = yield from _plan_steps(kernel, number, where, head, boxes, policy.gap)
    if not ranges:
        return [(0, head[:need])]
    cbytes = cbytes_of(head)
    if sum(stop - start for start, stop in ranges) > policy.whole * (cbytes - need):
        ranges = [(need, min(cbytes, end - base))]
    pieces: list[ChunkBytes] = [(0, head[:need])]
    known = len(head)
    pieces += [(start, head[start:stop]) for start, stop in ranges if stop <= known]
    ranges = [range_ for range_ in ranges if range_[1] > known]
    if ranges:
        # To read a few known bytes again costs less than to join them with new ones.
        again = known + sum(stop - start for start, stop in ranges) <= cbytes
        asked = [(start if again else max(start, known), stop) for start, stop in ranges]
        # What is before the object's first byte was never stored.
        unsure = may_change and is_plain(head) and base >= 0
        in_object = [(base + start, base + stop) for start, stop in asked]
        got = yield [*in_object, (base, base + need)] if unsure else in_object
        if unsure and bytes(got[-1]) != head[:need]:
            raise FormatError(f"{what} was changed meanwhile", "changed-meanwhile")
        for (start, _), (first, stop), data in zip(ranges, asked, got, strict=False):
            data = exactly(data, (base + first, base + stop), what)
            pieces.append((start, data if first == start else bytes(head[start:]) + data))
    return pieces


def _plan_steps(
    kernel: Kernel,
    number: int,
    where: Range,
    head: bytes | memoryview,
    boxes: Sequence[Box],
    gap: int,
) -> Steps[tuple[bytes | memoryview, int, list[Range]]]:
    """Read the head of a chunk, as far as it is not known, and plan.

    Returns
    -------
    head : bytes
        The chunk's first bytes, as many as are known now.
    need, ranges
        As from `Kernel.plan`.

    Raises
    ------
    FormatError
    """
    base, end = where
    what = f"chunk {number}"
    usual = min(kernel.head, end - base)
    wanted = usual if len(head) < min(HEADER, usual) else 0
    while True:
        if wanted > len(head):
            range_ = (base + len(head), base + wanted)
            [more] = yield [range_]
            head = bytes(head) + exactly(more, range_, what)
        need, ranges = kernel.plan(number, head, boxes, gap)
        if base + need > end or (ranges and base + ranges[-1][1] > end):
            reach = max(need, ranges[-1][1] if ranges else 0)
            raise FormatError(f"{what} reaches byte {base + reach}; its place ends at {end}")
        if need <= len(head):
            return head, need, ranges
        wanted = need
