"""Zarr arrays whose codecs check the frames that they decode."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import zarr
from zarr.core.buffer import NDBuffer

from caterva_cffi.errors import CatervaError, UnsupportedError
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.steps import WHOLE, MissingError
from caterva_cffi.verification.frames import check_frame
from caterva_cffi.verification.report import Damage, Unchecked, Verification
from caterva_cffi.zarr import CatervaCodec
from caterva_cffi.zarr_chunks import stores
from caterva_cffi.zarr_chunks.chunk import ZarrChunk

__all__ = ["FramesSeen", "checking_array"]


class FramesSeen:
    """What our codecs find while an array is read.

    Parameters
    ----------
    found : Verification
    """

    def __init__(self, found: Verification) -> None:
        self.found = found
        self.place = ""
        self.seen = 0
        self.all_sealed = True
        self._lock = threading.Lock()  # Zarr decodes in several threads

    @property
    def noted(self) -> int:
        """The number of problems that were found."""
        return len(self.found.damages) + len(self.found.unreadable)

    def check(self, frame: Any, where: str, error: CatervaError | None) -> None:
        """Check a frame, and note what is found.

        Parameters
        ----------
        frame : buffer
        where : str
        error : CatervaError, optional
            The codec's error, if it could not decode the frame.
        """
        with self._lock:
            self.seen += 1
            before, header = self.noted, None
            try:
                header = check_frame(self.found, frame, where, decoded=error is None)
            except UnsupportedError as unsupported:
                self.found.unreadable.append(Unchecked(where, str(unsupported)))
            if header is None:
                self.found.checked.chunks += 1
            self.all_sealed &= header is not None and header.is_sealed
            if error is not None and self.noted == before:
                self.found.damages.append(Damage(where, None, None, str(error)))


@dataclass(frozen=True, kw_only=True)
class _CheckingCodec(CatervaCodec):
    """The codec of Zarr format 3; it checks what it decodes, and goes on after damage."""

    must_see_frames: ClassVar[bool] = True
    frames: FramesSeen = field(compare=False, repr=False)

    def _check(self, stored: Any, spec: Any, coordinates: Any = None) -> NDBuffer:
        inside = "" if coordinates is None else f", chunk {tuple(coordinates)} of the shard"
        chunk, error = ZarrChunk(self, spec), None
        try:
            items = chunk.decode(spec.prototype.buffer.from_bytes(stored))
        except CatervaError as wrong:
            error = wrong
            items = spec.prototype.nd_buffer.create(
                shape=spec.shape, dtype=chunk.dtype, order="C", fill_value=spec.fill_value
            )
        self.frames.check(stored, f"{self.frames.place}{inside}", error)
        return items

    def _look_for_neighbours(self, frame: Any) -> None:
        """Warn of nothing."""

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> NDBuffer:
        return self._check(stores.as_bytes(chunk_data), chunk_spec)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> NDBuffer:
        return self._check(stores.as_bytes(chunk_data), chunk_spec)

    def _decode_partial_sync(
        self, byte_getter: Any, selection: Any, chunk_spec: Any
    ) -> NDBuffer | None:
        try:
            [stored] = stores.read(byte_getter, chunk_spec.prototype, [WHOLE])
        except MissingError:
            return None
        return self._check_part(byte_getter, stored, selection, chunk_spec)

    async def _decode_partial_single(
        self, byte_getter: Any, selection: Any, chunk_spec: Any
    ) -> NDBuffer | None:
        try:
            [stored] = await stores.read_async(byte_getter, chunk_spec.prototype, [WHOLE], 1)
        except MissingError:
            return None
        return self._check_part(byte_getter, stored, selection, chunk_spec)

    def _check_part(self, byte_getter: Any, stored: Any, selection: Any, spec: Any) -> NDBuffer:
        return self._check(stored, spec, getattr(byte_getter, "chunk_coords", None))[selection]


@dataclass(frozen=True, kw_only=True)
class _CheckingCodecOfFormat2(Caterva):
    """The codec of Zarr format 2; it checks what it decodes."""

    frames: FramesSeen = field(compare=False, repr=False)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode all items, and check the frame."""
        try:
            items = super().decode(buf, out)
        except CatervaError as error:
            self.frames.check(buf, self.frames.place, error)
            raise
        self.frames.check(buf, self.frames.place, None)
        return items


def _checking(codec: Any, frames: FramesSeen) -> Any:
    """Return a codec that checks what it decodes, if it is ours or has ours inside."""
    for ours, kind in ((CatervaCodec, _CheckingCodec), (Caterva, _CheckingCodecOfFormat2)):
        if isinstance(codec, ours):
            same: dict[str, Any] = {each.name: getattr(codec, each.name) for each in fields(ours)}
            return kind(**same, frames=frames)
    inner = getattr(codec, "codecs", None)
    if inner is None:
        return codec
    return replace(codec, codecs=tuple(_checking(each, frames) for each in inner))


def checking_array(array: zarr.Array[Any], frames: FramesSeen) -> zarr.Array[Any]:
    """Return an array whose codecs check what they decode."""
    metadata: Any = array.metadata
    if metadata.zarr_format == 2:
        filters = metadata.filters and tuple(_checking(each, frames) for each in metadata.filters)
        metadata = replace(
            metadata, filters=filters, compressor=_checking(metadata.compressor, frames)
        )
    else:
        codecs = tuple(_checking(each, frames) for each in metadata.codecs)
        metadata = replace(metadata, codecs=codecs)
    return zarr.Array(zarr.AsyncArray(metadata, array.store_path))
