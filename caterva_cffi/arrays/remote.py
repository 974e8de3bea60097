"""Arrays behind a network: of a contiguous frame only what a selection needs is read.

A selection is read in groups of chunks. For all chunks of a group, what they need is asked for at
once: first where their blocks are, then the blocks. While a group is decoded the next one comes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from operator import mul
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from caterva_cffi.arrays.readable import OrthogonalReads, ReadableArray
from caterva_cffi.binding.buffers import address
from caterva_cffi.binding.interrupts import ask_often
from caterva_cffi.binding.kernel import Kernel, Piece
from caterva_cffi.engine.crowds import are_small, crowd_steps
from caterva_cffi.engine.decoding import pieces
from caterva_cffi.errors import ClosedError, FormatError, UnsupportedError
from caterva_cffi.format.frame import parse_trailer, special_of_offset
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.cutting import AT_ONCE, cut_crowd, is_crowd
from caterva_cffi.geometry.selection import Basic, Box, Fancy
from caterva_cffi.planning.cache import Cache
from caterva_cffi.planning.chunk import HEADER, chunk_steps
from caterva_cffi.planning.layout import decode_plain, layout_steps, special_header
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.sources.opening import source_of
from caterva_cffi.sources.source import RangeReader, Source
from caterva_cffi.steps import Part, Range, Steps, exactly, run, together

__all__ = ["GROUP_BYTES", "RemoteArray"]

GROUP_BYTES = 24 << 20
"""Compressed bytes that a group of chunks may need; one chunk alone may need more. There are two
groups at a time: one is decoded while the next one is fetched."""

_MERGED_BYTES = 8 << 20  # longer reads are asked for apart, so that they arrive at the same time
_KNOWN_BYTES = 4 << 20
_TRAILER = 1024
_LEAST_COST = 256  # of a chunk of one value, in bytes of a group


class RemoteArray(ReadableArray):
    """A read-only array in a contiguous frame that is read by ranges of bytes.

    Made by `open`. Opening reads the frame's beginning and where its chunks are: two requests, and
    a few kilobytes whatever the array's size. A selection costs two rounds of requests (one if it
    was near an earlier one), and the compressed blocks that it touches. Many threads may read one
    array. A process that was forked connects anew, as does a pickled array where it is loaded;
    one whose URL has a user, a query or a fragment is not pickled.

    All items that a selection returns are of the version of the object that was opened; if the
    object has changed, reading raises `StorageError`. Answers of HTTP servers and S3 are checked
    one by one, by ETag, time of change and length. Other file systems are asked, after the bytes
    came, whether the object's properties are the same. Where there is only a length to compare, a
    change that keeps it is not noticed.

    Memory: beside the result, the compressed bytes of two groups of chunks, each at most 24 MiB or
    those of one chunk, and 4 MiB in which the block offsets of chunks are kept.

    Parameters
    ----------
    source : Source
        Where the frame is.

    Raises
    ------
    FormatError
        For something that is no frame, or a frame that is no N-d array.
    UnsupportedError
        For a sparse frame.
    StorageError, FileNotFoundError, PermissionError
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._is_closed = False
        with self._naming():
            layout = run(layout_steps(get_read_policy("remote").first, source.size), self._fetch)
            header = layout.header
            if header.sparse:
                raise UnsupportedError(
                    "a sparse frame, whose chunks are elsewhere; it is only read from a local path"
                )
            if source.size not in (None, header.frame_len):
                raise FormatError(
                    f"the object has {source.size} bytes; the frame's header says "
                    f"{header.frame_len}: it is cut off, or something was appended"
                )
        self._layout = layout
        self._grid, self._dtype = layout.grid, layout.dtype
        self._kernel = Kernel(layout.grid)
        self._known = Cache(_KNOWN_BYTES if source.identified else 0)

    # --- what it is ---------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _check_current(self) -> None:
        """Notice nothing: the object is asked where it is read."""

    @property
    def _closed(self) -> bool:
        return self._is_closed

    @property
    def urlpath(self) -> str:
        """Where the array is stored, without passwords and signatures."""
        return self._source.name

    @property
    def read_only(self) -> bool:
        """Whether the array refuses changes: always."""
        return True

    @property
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""
        return self._layout.header.cbytes

    @property
    def meta(self) -> Mapping[str, bytes]:
        """Metalayers: bytes by name."""
        return MappingProxyType(self._layout.header.metalayers)

    @property
    def vlmeta(self) -> Mapping[str, bytes]:
        """Variable-length metalayers: bytes by name; read when they are first asked for."""
        return MappingProxyType(self._vlmeta)

    @cached_property
    def _vlmeta(self) -> dict[str, bytes]:
        self._check_open()
        with self._naming():
            trailer = run(self._trailer_steps(), self._fetch)
            self._source.verify()
            if self._layout.header.seal is not None:
                self._layout.header.seal.check_trailer(trailer)
            layers = parse_trailer(trailer)
            return {
                name: decode_plain(chunk, None, f"metalayer {name!r}").tobytes()
                for name, chunk in layers.items()
            }

    def _trailer_steps(self) -> Steps[bytes]:
        """Read what is behind the offsets of the chunks."""
        end = self._layout.header.frame_len
        part = (max(end - _TRAILER, 0), end)
        [data] = yield [part]
        tail = bytes(exactly(data, part, "the trailer"))
        size = self._layout.header.trailer_length(tail)
        if size > len(tail):
            part = (end - size, part[0])
            [data] = yield [part]
            tail = bytes(exactly(data, part, "the trailer")) + tail
        return tail[-size:]

    @property
    def info_items(self) -> list[tuple[str, Any]]:
        """The report's lines: name and value."""
        return [
            ("Type", type(self).__name__),
            ("Itemsize", self.itemsize),
            ("Dtype", self.dtype),
            ("Shape", self.shape),
            ("Chunks", self.chunks),
            ("Blocks", self.blocks),
            ("Comp. ratio", f"{self.cratio:.2f}"),
            ("Stored", f"{self.cbytes} of {self.size} bytes in {self.nchunks} chunks"),
            ("Checksums", "CRC-32 of each block" if self.checksum else "none"),
            ("Where", self.urlpath),
        ]

    def __repr__(self) -> str:
        if self._is_closed:
            return "<caterva_cffi.RemoteArray, closed>"
        return (
            f"<caterva_cffi.RemoteArray {self.shape} {self.dtype}, chunks {self.chunks}, "
            f"blocks {self.blocks}, {self.cratio:.2f}x, {self.urlpath}>"
        )

    def __reduce__(self) -> Any:
        self._check_open()
        return RemoteArray._open, self._source.to_arguments()

    @classmethod
    def _open(
        cls, where: str | RangeReader, options: Mapping[str, Any] | None = None
    ) -> RemoteArray:
        return cls(source_of(where, options))

    def close(self) -> None:
        """Forget what was read; a closed array raises `ClosedError`."""
        self._is_closed = True
        self._known.resize(0)

    def __enter__(self) -> RemoteArray:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the array is closed")

    # --- reading ------------------------------------------------------------------------------

    @property
    def oindex(self) -> OrthogonalReads:
        """Orthogonal selection: `a.oindex[[0, 5], :, mask]`."""
        return OrthogonalReads(self)

    def _fill(self, out: npt.NDArray[Any], selection: Basic | Fancy) -> None:
        with self._naming(), _Groups(self, index_arrays.boxes(self._grid, selection)) as groups:
            index_arrays.read(self._grid, groups.read_boxes, self._dtype, selection, out)
            if groups.have_read:
                self._source.verify()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Say in errors which object they are about, and whether it is still the same."""
        try:
            yield
        except (FormatError, UnsupportedError) as error:
            self._source.verify()
            raise type(error)(f"{self.urlpath}: {error}", error.code) from error

    def _fetch(self, ranges: list[Range], nchunks: int = 1) -> list[memoryview]:
        """Read ranges of so many chunks, those close to each other together."""
        policy = get_read_policy("remote")
        merged: list[Range] = []
        within = [0] * len(ranges)
        for number in sorted(range(len(ranges)), key=ranges.__getitem__):
            start, stop = ranges[number]
            if merged:
                first, last = merged[-1]
                if start - last <= policy.gap and max(stop, last) - first <= _MERGED_BYTES:
                    merged[-1] = (first, max(stop, last))
                    within[number] = len(merged) - 1
                    continue
            merged.append((start, stop))
            within[number] = len(merged) - 1
        got = self._source.read(merged, policy.concurrency * nchunks)
        return [
            got[at][start - merged[at][0] : stop - merged[at][0]]
            for at, (start, stop) in zip(within, ranges, strict=True)
        ]

    def _room(self, number: int) -> int:
        """Return how many bytes a chunk has at most."""
        # Where a chunk was changed, the next one may be far behind it.
        most = self._grid.chunk_nbytes + HEADER + 4 * self._grid.nblocks
        return min(self._layout.end_of(number) - int(self._layout.offsets[number]), most)

    def _blocks_in(self, box: Box) -> int:
        """Return how many blocks of a chunk a box has items in, or a few more."""
        return math.prod(
            (start + (count - 1) * step) // block - start // block + 1
            for start, count, step, block in zip(*box, self._grid.blocks, strict=True)
        )

    def _cost(self, number: int, box: Box) -> int:
        """Return how many bytes are read at most for a box of a chunk."""
        if self._layout.offsets[number] < 0:
            return _LEAST_COST
        policy, nblocks = get_read_policy("remote"), self._grid.nblocks
        blocks = self._blocks_in(box) * (self._grid.blocksize + HEADER + policy.gap)
        if policy.whole:
            most = HEADER + 4 * nblocks + int(blocks / policy.whole)
            return min(self._room(number), most) + _LEAST_COST
        return self._room(number) + _LEAST_COST

    def _is_crowd(self, box: Box) -> bool:
        """Whether a box has items in many chunks, none of which is read in parts."""
        if not is_crowd(self._grid, box):
            return False
        return are_small(self._grid) or not (self._layout.offsets >= 0).any()

    def _read_crowd(self, box: Box, dest: npt.NDArray[Any]) -> None:
        policy = get_read_policy("remote")
        steps = crowd_steps(
            self._layout, self._kernel, box, address(dest), dest.strides, policy
        )  # fmt: skip
        run(steps, lambda ranges: self._source.read(ranges, policy.concurrency * len(ranges)))

    def _fetch_parts(self, wanted: Mapping[int, list[Box]]) -> dict[int, list[Part]]:
        """Read what boxes of chunks need, by the chunks' numbers."""
        steps = {n: self._part_steps(n, boxes) for n, boxes in wanted.items()}
        return run(together(steps), partial(self._fetch, nchunks=len(steps)))

    def _part_steps(self, number: int, boxes: Sequence[Box]) -> Steps[list[Part]]:
        """Read what boxes of a chunk need."""
        layout, policy = self._layout, get_read_policy("remote")
        offset = int(layout.offsets[number])
        if offset < 0:
            return [(0, special_header(self._grid, special_of_offset(offset)))]
        end, room = layout.end_of(number), self._room(number)
        head: bytes | memoryview = layout.head[offset : offset + room]
        for known in self._known.get(number, None).values():
            head = known
        blocks = sum(map(self._blocks_in, boxes))
        if not head and (room <= policy.gap or blocks > policy.whole * self._grid.nblocks):
            [head] = yield [(offset, offset + room)]
        parts = yield from chunk_steps(
            self._kernel, number, (offset, end), memoryview(head), boxes, policy
        )
        beginning = bytes(parts[0][1])
        self._known.put(number, None, {(0, len(beginning)): beginning})
        return parts


class _Coming:
    """What a thread of its own fetches, which nobody waits for at the interpreter's end.

    Parameters
    ----------
    fetch : callable
        Gives the result.
    """

    def __init__(self, fetch: Callable[[], dict[int, list[Part]]]) -> None:
        self._fetch = fetch
        self._parts: dict[int, list[Part]] = {}
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._parts = self._fetch()
        except BaseException as error:
            self._error = error

    def result(self) -> dict[int, list[Part]]:
        """Wait for the result, and return it or raise its error."""
        ask_often(self._wait)
        if self._error is not None:
            raise self._error
        return self._parts

    def _wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


class _Groups:
    """Reads boxes of an array in their order, a group of chunks at a time.

    While a group is decoded, the next one is fetched, by a thread.

    Parameters
    ----------
    array : RemoteArray
    boxes : sequence of Box
        Those that `read` is called with.
    """

    def __init__(self, array: RemoteArray, boxes: Sequence[Box]) -> None:
        self._array = array
        self._coming = (
            (number, part)
            for box in boxes
            if all(box[1]) and not array._is_crowd(box)
            for number, part, _ in cut_crowd(array._grid, box)
        )
        self._next = next(self._coming, None)
        self._left = 0
        self._pieces: dict[int, list[Piece]] = {}
        self._ahead: tuple[int, _Coming] | None = None
        self.have_read = False

    def __enter__(self) -> _Groups:
        return self

    def __exit__(self, *exc: object) -> None:
        # What is on its way is not waited for: a signal's handler may have ended this.
        self._ahead = None

    def read_boxes(self, boxes: Sequence[tuple[Box, npt.NDArray[Any]]]) -> None:
        """Read boxes, each into an array of its shape."""
        for box, dest in boxes:
            self._read_box(box, dest)

    def _read_box(self, box: Box, dest: npt.NDArray[Any]) -> None:
        if not dest.size:
            return
        array = self._array
        if array._is_crowd(box):
            array._read_crowd(box, dest)
            self.have_read = True
            return
        for number, part, position in cut_crowd(array._grid, box):
            if not self._left:
                self._read_group()
            self._left -= 1
            place = address(dest) + sum(map(mul, position, dest.strides))
            array._kernel.decode([(number, self._pieces[number], part, place, dest.strides)])

    def _read_group(self) -> None:
        """Take what the next boxes of chunks need, and let the group behind it be fetched."""
        self._pieces = {}  # those of the group before, to have the memory for this one
        if self._ahead is None:
            self._left, wanted = self._next_group()
            parts = self._array._fetch_parts(wanted)
        else:
            self._left, coming = self._ahead
            self._ahead = None
            parts = coming.result()
        self._pieces = {number: pieces(given) for number, given in parts.items()}
        self.have_read = True
        if self._next is not None:
            count, wanted = self._next_group()
            self._ahead = count, _Coming(partial(self._array._fetch_parts, wanted))

    def _next_group(self) -> tuple[int, dict[int, list[Box]]]:
        """Return how many boxes of chunks the next group has, and which, by the chunks' numbers."""
        wanted: dict[int, list[Box]] = {}
        costs: dict[int, int] = {}
        count = total = 0
        while self._next is not None:
            number, part = self._next
            before = costs.get(number, 0)
            cost = before + self._array._cost(number, part)
            if before:
                cost = min(cost, self._array._room(number) + _LEAST_COST)
            if wanted and (total + cost - before > GROUP_BYTES or count >= AT_ONCE):
                break
            total += cost - before
            costs[number] = cost
            wanted.setdefault(number, []).append(part)
            count += 1
            self._next = next(self._coming, None)
        return count, wanted
