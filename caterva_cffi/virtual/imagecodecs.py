"""Arrays of Zarr whose codec is `imagecodecs_b2nd`, read in part.

imagecodecs reads and writes whole chunks. Its chunks are frames like ours, so that our codec reads
them. Zarr finds it under that name, too; where both packages are installed, its configuration says
which one is taken: `codecs.imagecodecs_b2nd` is this class's name with its module's in front.
"""

from __future__ import annotations

from typing import Any

from caterva_cffi.codecs.imagecodecs import IMAGECODECS, configuration_of_imagecodecs
from caterva_cffi.errors import ArgumentError, Cause
from caterva_cffi.zarr import CatervaCodec

__all__ = ["ImagecodecsB2nd"]


class ImagecodecsB2nd(CatervaCodec):
    """Codec of such arrays. Metadata that are written anew name our codec."""

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CatervaCodec:  # type: ignore[override]
        """Return our codec for what a Zarr array's metadata describes.

        Raises
        ------
        ValueError
            For another codec's name.
        ArgumentError
            For a configuration that is unknown.
        """
        if data.get("name") != IMAGECODECS:
            raise ArgumentError(
                f"the codec's name is {data.get('name')!r}; expected {IMAGECODECS!r}",
                Cause("wrong-value", "name", data.get("name"), IMAGECODECS),
            )
        return CatervaCodec(**configuration_of_imagecodecs(data.get("configuration", {})))
