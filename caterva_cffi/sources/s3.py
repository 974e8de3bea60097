"""Ranges of bytes of an object of S3."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from caterva_cffi.sources.versioned import Answer, Versioned
from caterva_cffi.steps import Range

__all__ = ["S3"]

_BUSY = ("SlowDown", "reduce your request rate")
"""What errors say of a server that may answer later."""


class S3(Versioned):
    """An object of S3, through s3fs.

    s3fs gives the client, with its credentials and options, and says how often a request is
    repeated and after which errors. It has no public coroutine that reads a range of one version.
    """

    async def _fetch_one(self, fs: Any, range_: Range) -> bytes:
        import asyncio

        failures = 0
        while True:
            try:
                return await self._measured(fs, range_)
            except Exception as error:
                failures += 1
                if failures >= fs.retries or not _may_pass(error):
                    translated = sys.modules["s3fs.errors"].translate_boto_error(error)
                    return self._if_empty(translated)
            await asyncio.sleep(min(0.1 * 1.7 ** (failures - 1), 15))  # as s3fs does

    async def _ask(self, fs: Any, range_: Range) -> bytes:
        bucket, key, version_id = fs.split_path(self._path)
        condition = {"IfMatch": self._version[0]} if self._opened and self._version[0] else {}
        if fs.version_aware and self._opened:
            version_id = version_id or self._version[1]
        if version_id:
            condition["VersionId"] = version_id
        await fs.set_session()
        client = await fs.get_s3(bucket)
        response = await client.get_object(
            **_options(fs, client),
            Bucket=bucket,
            Key=key,
            Range=f"bytes={range_[0]}-{range_[1] - 1}",
            **condition,
        )
        async with response["Body"] as body:

            async def read(limit: int) -> bytes:
                if response["ContentLength"] > limit:
                    return bytes(limit + 1)
                return bytes(await body.read())

            version = (response.get("ETag", ""), response.get("VersionId", ""))
            content_range = response.get("ContentRange", "")
            return await self._accept(range_, Answer(content_range, version, read))

    def _if_empty(self, error: Exception) -> bytes:
        """Return the range of an object that is empty; raise any other error."""
        status = _status(error)
        if status == 412:
            raise self._changed() from error
        if status == 416 and not self._opened:
            return b""  # the object is empty
        raise error


def _options(fs: Any, client: Any) -> Mapping[str, Any]:
    """Return the user's options for all requests, as far as this kind of request has them."""
    known = client.meta.service_model.operation_model("GetObject").input_shape.members
    options = {**fs.s3_additional_kwargs, **fs.req_kw}
    return {name: value for name, value in options.items() if name in known}


def _may_pass(error: Exception) -> bool:
    """Whether a request that failed may succeed when it is repeated."""
    core = sys.modules["s3fs.core"]
    if isinstance(error, core.S3_RETRYABLE_ERRORS):
        return True
    if isinstance(error, sys.modules["botocore.exceptions"].ClientError) and any(
        busy in str(error) for busy in _BUSY
    ):
        return True
    return bool(core.CUSTOM_ERROR_HANDLER(error))  # set by its `set_custom_error_handler`


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of S3."""
    response = getattr(error.__cause__, "response", None) or {}
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else None
