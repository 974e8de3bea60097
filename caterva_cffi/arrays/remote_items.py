"""The items of an array behind a network: of a frame, only what a selection needs is read.

A selection is read in groups of chunks. First the heads of all chunks of a group are asked for at
once, then their blocks. While a group is decoded, the next one is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy.typing as npt

from caterva_cffi.arrays.items import Selection
from caterva_cffi.arrays.read_only import ReadOnlyItems
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.costs.tally import Begin, Tally, tally_frame
from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.reading import read_ahead
from caterva_cffi.errors import Cause, FormatError, UnsupportedError, named
from caterva_cffi.format.byte_chunks import decode_byte_chunk
from caterva_cffi.format.trailer import parse_trailer
from caterva_cffi.geometry import index_arrays
from caterva_cffi.planning.frame import Frame, Heads
from caterva_cffi.planning.layout import layout_steps
from caterva_cffi.planning.policy import remote_policy
from caterva_cffi.sources.source import Source, merged
from caterva_cffi.steps import Range, Steps, exactly, run

__all__ = ["RemoteItems"]

_MERGED_BYTES = 8 << 20  # longer requests are split, so that the parts arrive at the same time
_KNOWN_BYTES = 4 << 20
_TRAILER = 1024


class RemoteItems(ReadOnlyItems):
    """The items in a contiguous frame that is read by ranges of bytes.

    Parameters
    ----------
    source : Source
        Where the frame is.

    Attributes
    ----------
    source : Source
    layout : Layout
        What the frame's beginning says.

    Raises
    ------
    FormatError
        For bytes that are no frame, or a frame that is no N-d array.
    UnsupportedError
        For a sparse frame.
    StorageError, FileNotFoundError, PermissionError
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        with self._naming():
            first = remote_policy(source.meter).first
            layout = run(layout_steps(first, source.size), self._fetch)
            header = layout.header
            if header.sparse:
                raise UnsupportedError(
                    "a sparse frame, whose chunks are elsewhere; it is only read from a local path",
                    "only-local",
                )
            if source.size not in (None, header.frame_len):
                raise FormatError(
                    f"the object has {source.size} bytes; the frame's header says "
                    f"{header.frame_len}: it is cut off, or something was appended",
                    Cause("cut-off", None, source.size, header.frame_len),
                )
        self.layout = layout
        self.grid, self.dtype = layout.grid, layout.dtype
        self._kernel = Kernel(layout.grid)
        self._heads = Heads(_KNOWN_BYTES if source.identified else 0)

    def close(self) -> None:
        """Forget what was read."""
        super().close()
        self._heads.clear()

    def fill(self, out: npt.NDArray[Any], selection: Selection) -> None:
        """Read items into an array that fits."""
        policy = remote_policy(self.source.meter)
        frame = Frame(self.layout, self._kernel, policy, self._heads)
        asked = False

        def answer(ranges: list[Range], nchunks: int) -> list[memoryview]:
            nonlocal asked
            asked = True
            return self.source.read_merged(
                ranges, policy.gap, _MERGED_BYTES, policy.concurrency * nchunks
            )

        with self._naming():
            batches = index_arrays.batches(self.grid, selection, self.dtype, out)
            read_ahead(groups(frame, batches), answer)
            if asked:
                self.source.verify()

    def tally(self, tally: Tally, begin: Begin) -> None:
        """Count what reading batches costs."""
        policy = remote_policy(self.source.meter)
        frame = Frame(self.layout, self._kernel, policy, self._heads.copy())

        def requests(ranges: Sequence[Range]) -> list[Range]:
            return merged(ranges, policy.gap, _MERGED_BYTES)[0]

        with self._naming(), self.source.meter.paused():
            tally_frame(tally, frame, begin, self._fetch, requests)
            self.source.verify()

    @cached_property
    def vlmeta(self) -> dict[str, bytes]:
        """Variable-length metalayers: bytes by name."""
        self.check_open()
        with self._naming():
            trailer = run(self._trailer_steps(), self._fetch)
            self.source.verify()
            if self.layout.header.seal is not None:
                self.layout.header.seal.check_trailer(trailer)
            layers = parse_trailer(trailer)
            return {
                name: decode_byte_chunk(chunk, None, f"metalayer {name!r}").tobytes()
                for name, chunk in layers.items()
            }

    def _trailer_steps(self) -> Steps[bytes]:
        """Read the trailer, behind the offsets of the chunks."""
        end = self.layout.header.frame_len
        range_ = (max(end - _TRAILER, 0), end)
        [data] = yield [range_]
        tail = bytes(exactly(data, range_, "the trailer"))
        size = self.layout.header.trailer_length(tail)
        if size > len(tail):
            range_ = (end - size, range_[0])
            [data] = yield [range_]
            tail = bytes(exactly(data, range_, "the trailer")) + tail
        return tail[-size:]

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Name the object in errors; raise another one if the object has changed."""
        try:
            yield
        except (FormatError, UnsupportedError) as error:
            self.source.verify()
            raise named(error, self.source.name) from error

    def _fetch(self, ranges: list[Range]) -> list[memoryview]:
        policy = remote_policy(self.source.meter)
        return self.source.read_merged(ranges, policy.gap, _MERGED_BYTES, policy.concurrency)
