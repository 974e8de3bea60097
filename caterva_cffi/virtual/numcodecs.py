"""The numcodecs codec `blosc2`, which others ask for where HDF5's filter 32026 was used."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn

from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

from caterva_cffi.codecs.any_blosc2 import decode_any
from caterva_cffi.errors import ReadOnlyError

__all__ = ["Blosc2"]


class Blosc2(Codec):  # type: ignore[misc]
    """Codec that decodes bytes which Blosc2 compressed somehow; it only reads.

    It takes frames, as HDF5's filter stores them, and chunks without a frame, as ocf-blosc2 makes
    them. Anything else is refused: what it is cannot be known.

    Parameters
    ----------
    **configuration
        How somebody else writes; it is kept, and has no effect.
    """

    codec_id: ClassVar[str] = "blosc2"

    def __init__(self, **configuration: Any) -> None:
        self._configuration = configuration

    def get_config(self) -> dict[str, Any]:
        """Return the configuration as JSON has it."""
        return {"id": self.codec_id, **self._configuration}

    def encode(self, buf: Any) -> NoReturn:
        """Refuse.

        Raises
        ------
        ReadOnlyError
        """
        raise ReadOnlyError(
            f"codec {self.codec_id!r} only reads what is in other files; 'caterva' also writes"
        )

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode all bytes.

        Parameters
        ----------
        buf : object with the buffer protocol
            A frame or a chunk.
        out : writable buffer, optional
            Has as many bytes. Then it may also be filled with as many that nobody compressed.

        Returns
        -------
        ndarray of uint8, or `out`

        Raises
        ------
        FormatError, UnsupportedError
        """
        data = memoryview(ensure_contiguous_ndarray(buf)).cast("B")
        nbytes = None if out is None else ensure_contiguous_ndarray(out).nbytes
        return ndarray_copy(decode_any(data, nbytes), out)
