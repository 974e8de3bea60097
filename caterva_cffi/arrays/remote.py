"""Arrays behind a network."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from caterva_cffi.arrays.read_only import ReadOnlyArray
from caterva_cffi.arrays.remote_items import RemoteItems
from caterva_cffi.sources.opening import source_of
from caterva_cffi.sources.source import RangeReader, Source

__all__ = ["RemoteArray"]


class RemoteArray(ReadOnlyArray):
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
    block offsets of chunks are kept. A group has at most 64 MiB,
    behind a fast and distant store 128, or one chunk.

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

    _items: RemoteItems

    def __init__(self, source: Source) -> None:
        self._items = RemoteItems(source)

    # --- what it is ---------------------------------------------------------------------------

    @property
    def urlpath(self) -> str:
        """Where the array is stored, without passwords and signatures."""
        return self._items.source.name

    @property
    def cbytes(self) -> int:
        """Bytes of the compressed chunks."""
        return self._items.layout.header.cbytes

    @property
    def meta(self) -> Mapping[str, bytes]:
        """Metalayers: bytes by name."""
        return MappingProxyType(self._items.layout.header.metalayers)

    @property
    def vlmeta(self) -> Mapping[str, bytes]:
        """Variable-length metalayers: bytes by name; read at the first use."""
        return MappingProxyType(self._items.vlmeta)

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
        if self._items.closed:
            return "<caterva_cffi.RemoteArray, closed>"
        return (
            f"<caterva_cffi.RemoteArray {self.shape} {self.dtype}, chunks {self.chunks}, "
            f"blocks {self.blocks}, {self.cratio:.2f}x, {self.urlpath}>"
        )

    def __reduce__(self) -> Any:
        self._items.check_open()
        return RemoteArray._open, self._items.source.to_arguments()

    @classmethod
    def _open(
        cls, where: str | RangeReader, options: Mapping[str, Any] | None = None
    ) -> RemoteArray:
        return cls(source_of(where, options))
