"""A frame that is read: what is known of it, and which bytes boxes of its chunks need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from caterva_cffi.binding.decoding import Place
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.format.chunk_header import HEADER
from caterva_cffi.format.offsets import special_of_offset
from caterva_cffi.geometry.selection import Box
from caterva_cffi.planning.chunk import chunk_steps
from caterva_cffi.planning.layout import Chunks, Files
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import ChunkBytes, Range, Steps, exactly, together

__all__ = ["Frame", "Heads"]

_LEAST_COST = 256  # bytes that a chunk of one value counts in a group


class Heads:
    """The heads of chunks, which planning needs, kept for the next selection.

    Parameters
    ----------
    most : int
        Bytes to keep. If there would be more, all are forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[int, bytes] = {}
        self.nbytes = 0

    def get(self, number: int) -> bytes:
        """Return the first bytes of a chunk; none if they are not known."""
        return self._kept.get(number, b"")

    def put(self, number: int, head: bytes | memoryview) -> None:
        """Keep the first bytes of a chunk."""
        if self.nbytes + len(head) > self._most:
            self.clear()
        if len(head) <= self._most:
            self.nbytes += len(head) - len(self.get(number))
            self._kept[number] = bytes(head)

    def copy(self) -> Heads:
        """Return heads that know the same."""
        copied = Heads(self._most)
        copied._kept, copied.nbytes = dict(self._kept), self.nbytes
        return copied

    def clear(self) -> None:
        """Forget all."""
        self._kept, self.nbytes = {}, 0


@dataclass(slots=True)
class Frame:
    """A frame that is read.

    Parameters
    ----------
    layout : Chunks
    kernel : Kernel
        Of the layout's grid.
    policy : ReadPolicy
    heads : Heads, optional
        The heads of chunks that are known; those that are read are added.
    unsure : dict of Range to bytes, optional
        Gets the bytes of `heads` that are used, if the caller must compare them with what is
        stored now.
    may_change : bool
        Whether the frame may be replaced while it is read; see `chunk_steps`.
    files : Files, optional
        Local files, from which the kernel reads what it decodes.
    """

    layout: Chunks
    kernel: Kernel
    policy: ReadPolicy
    heads: Heads | None = None
    unsure: dict[Range, bytes] | None = None
    may_change: bool = False
    files: Files | None = None

    def in_file(self, number: int) -> list[ChunkBytes] | Place:
        """Return where a chunk is in a local file, or the chunk itself if it is one of one value.

        Raises
        ------
        FormatError
        """
        return self.layout.in_file(number, cast("Files", self.files), self.policy.gap)

    def piece_steps(
        self, wanted: Mapping[int, Sequence[Box]]
    ) -> Steps[dict[int, list[ChunkBytes]]]:
        """Read what boxes of chunks of a contiguous frame need.

        Parameters
        ----------
        wanted : mapping of int to sequence of Box
            In items of the chunks, by the chunks' numbers.

        Returns
        -------
        dict of int to list of ChunkBytes
            By the chunks' numbers; see `chunk_steps`.

        Raises
        ------
        FormatError
        """
        beside = len(wanted)
        return together(
            {number: self._chunk_steps(number, boxes, beside) for number, boxes in wanted.items()}
        )

    def _chunk_steps(
        self, number: int, boxes: Sequence[Box], beside: int
    ) -> Steps[list[ChunkBytes]]:
        layout, policy = self.layout, self.policy
        offset = int(layout.offsets[number])
        if offset < 0:
            return [(0, layout.special_chunk(special_of_offset(offset)))]
        start, end = layout.range_of(number)
        # The frame's first read often brought some bytes of its first chunk.
        head = layout.head_of(number)
        known = self.heads.get(number) if self.heads is not None else b""
        is_sure = len(known) <= len(head)
        if not is_sure:
            head = known
            if self.unsure is not None:
                self.unsure[start, start + len(known)] = known
        before = len(head)
        if not head and self._is_read_whole(number, boxes, beside):
            range_ = (start, start + layout.room(number))
            [data] = yield [range_]
            head = memoryview(exactly(data, range_, f"chunk {number}"))
        pieces = yield from chunk_steps(
            self.kernel, number, (start, end), head, boxes, policy,
            # Bytes in `unsure` are read again anyhow.
            may_change=self.may_change and (is_sure or self.unsure is None),
        )  # fmt: skip
        if self.heads is not None and len(pieces[0][1]) > before:
            self.heads.put(number, pieces[0][1])
        return pieces

    def head_steps(self, numbers: Iterable[int]) -> Steps[dict[int, bytes | memoryview]]:
        """Read the heads of chunks of a contiguous frame; of one value, the chunk.

        Raises
        ------
        FormatError
        """
        return together({number: self._head_steps(number) for number in numbers})

    def _head_steps(self, number: int) -> Steps[bytes | memoryview]:
        layout, offset = self.layout, int(self.layout.offsets[number])
        if offset < 0:
            return layout.special_chunk(special_of_offset(offset))
        where, known = layout.range_of(number), layout.head_of(number)
        [(_, head)] = yield from chunk_steps(self.kernel, number, where, known, [], self.policy)
        return head

    def _is_read_whole(self, number: int, boxes: Sequence[Box], beside: int) -> bool:
        """Whether all of a chunk is read at once, if nothing is known of it.

        One round of requests is saved if all chunks that are read beside each other are read so.
        """
        room, policy = self.layout.room(number), self.policy
        if room <= policy.gap:
            return True
        share = sum(map(self._blocks_in, boxes)) / self.layout.grid.nblocks
        if share > policy.whole:
            return True
        return policy.round > 0 and (1 - share) * room * beside <= policy.round

    def _blocks_in(self, box: Box) -> int:
        """Return in how many blocks of a chunk a box has items, or a few more."""
        return math.prod(
            (start + (count - 1) * step) // block - start // block + 1
            for start, count, step, block in zip(*box, self.layout.grid.blocks, strict=True)
        )

    def cost(self, number: int, box: Box) -> int:
        """Return about how many bytes are read for a box of a chunk, gaps included."""
        most, nblocks = self.most(number), self.layout.grid.nblocks
        expected = int(self._blocks_in(box) * (most / nblocks + self.policy.gap))
        if expected > self.policy.whole * most:
            return most
        return min(most, HEADER + 4 * nblocks + expected + _LEAST_COST)

    def most(self, number: int) -> int:
        """Return the most bytes that are read of a chunk, for any boxes."""
        is_stored = self.layout.offsets[number] >= 0
        return _LEAST_COST + (self.layout.room(number) if is_stored else 0)
