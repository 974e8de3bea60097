"""Ranges of bytes of an object of S3."""

from __future__ import annotations

import sys
from typing import Any

from caterva_cffi.sources.fsspec_files import Answer, Versioned
from caterva_cffi.steps import Range

__all__ = ["S3"]


class S3(Versioned):
    """An object of S3, through s3fs."""

    async def _fetch_one(self, fs: Any, part: Range) -> bytes:
        bucket, key, version_id = fs.split_path(self._path)
        condition = {"IfMatch": self._version[0]} if self._opened and self._version[0] else {}
        if fs.version_aware and self._opened:
            version_id = version_id or self._version[1]
        if version_id:
            condition["VersionId"] = version_id

        async def fetch() -> bytes:
            response = await fs._call_s3(
                "get_object",
                Bucket=bucket,
                Key=key,
                Range=f"bytes={part[0]}-{part[1] - 1}",
                **condition,
            )
            async with response["Body"] as body:

                async def read(limit: int) -> bytes:
                    if response["ContentLength"] > limit:
                        return bytes(limit + 1)
                    return bytes(await body.read())

                version = (response.get("ETag", ""), response.get("VersionId", ""))
                content_range = response.get("ContentRange", "")
                return await self._accept(part, Answer(content_range, version, read))

        try:
            # s3fs repeats its own reads in this way, too.
            return await sys.modules["s3fs.core"]._error_wrapper(  # type: ignore[no-any-return]
                fetch, retries=fs.retries
            )
        except OSError as error:
            status = _status(error)
            if status == 412:
                raise self._changed() from error
            if status == 416 and not self._opened:
                return b""  # the object is empty
            raise


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of S3."""
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
