"""Arrays behind a network: of a contiguous frame, only what a selection needs is read.

A selection is read in groups of chunks. First the heads of all chunks of a group are asked for at
once, then their blocks. While a group is decoded, the next one is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from caterva_cffi.arrays.readable import OrthogonalReads, ReadableArray
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.groups import groups
from caterva_cffi.engine.reading import read_ahead
from caterva_cffi.errors import ClosedError, FormatError, UnsupportedError
from caterva_cffi.format.byte_chunks import decode_byte_chunk
from caterva_cffi.format.trailer import parse_trailer
from caterva_cffi.geometry import index_arrays
from caterva_cffi.geometry.selection import Basic, Fancy
from caterva_cffi.planning.frame import Beginnings, Frame
from caterva_cffi.planning.layout import layout_steps
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.sources.opening import source_of
from caterva_cffi.sources.source import RangeReader, Source
from caterva_cffi.steps import Range, Steps, exactly, run

__all__ = ["RemoteArray"]

_MERGED_BYTES = 8 << 20  # longer requests are split, so that the parts arrive at the same time
_KNOWN_BYTES = 4 << 20
_TRAILER = 1024


class RemoteArray(ReadableArray):
    """A read-only array in a contiguous frame that is read by ranges of bytes.

    Made by `open`. To open reads the frame's beginning and the offsets of its chunks: two requests,
    and a few kilobytes whatever the array's size. A selection costs two rounds of requests (one if
    an earlier one was nearby), and the compressed blocks that it touches. Many threads may read one
    array. It connects anew after a fork, and where it is unpickled. An array whose URL has a user,
    a query or a fragment is not pickled.

    All items that a selection returns are of the version of the object that was opened. If the
    object has changed, reading raises `StorageError`. Answers of HTTP servers and S3 are checked
    one by one, by ETag, time of change and length. Other file systems are asked, after the bytes
    came, whether the object's properties are the same. If there is only a length to compare, a
    change that keeps the length is not noticed.

    Memory: beside the result, the compressed bytes of two groups of chunks, and 4 MiB in which the
    block offsets of chunks are kept. A group has at most 16 MiB, or one chunk.

    Parameters
    ----------
    source : Source
        Where the frame is.

    Raises
    ------
    FormatError
        For bytes that are no frame, or a frame that is no N-d array.
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
        self._beginnings = Beginnings(_KNOWN_BYTES if source.identified else 0)

    # --- what it is ---------------------------------------------------------------------------

    def _reading(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _check_current(self) -> None:
        """Do nothing: each read notices a change."""

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
        """Variable-length metalayers: bytes by name; read at the first use."""
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
                name: decode_byte_chunk(chunk, None, f"metalayer {name!r}").tobytes()
                for name, chunk in layers.items()
            }

    def _trailer_steps(self) -> Steps[bytes]:
        """Read the trailer, behind the offsets of the chunks."""
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
        self._beginnings.clear()

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
        policy = get_read_policy("remote")
        frame = Frame(self._layout, self._kernel, policy, self._beginnings)
        asked = False

        def answer(ranges: list[Range], nchunks: int) -> list[memoryview]:
            nonlocal asked
            asked = True
            return self._source.read_merged(
                ranges, policy.gap, _MERGED_BYTES, policy.concurrency * nchunks
            )

        with self._naming():
            batches = index_arrays.batches(self._grid, selection, self._dtype, out)
            read_ahead(groups(frame, batches), answer)
            if asked:
                self._source.verify()

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Name the object in errors; raise another one if the object has changed."""
        try:
            yield
        except (FormatError, UnsupportedError) as error:
            self._source.verify()
            raise type(error)(f"{self.urlpath}: {error}", error.code) from error

    def _fetch(self, ranges: list[Range]) -> list[memoryview]:
        policy = get_read_policy("remote")
        return self._source.read_merged(ranges, policy.gap, _MERGED_BYTES, policy.concurrency)
