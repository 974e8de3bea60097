"""Ranges of bytes of an object of an HTTP server."""

from __future__ import annotations

import sys
from typing import Any

from caterva_cffi.errors import StorageError
from caterva_cffi.fsspec_ranges import Answer, Versioned
from caterva_cffi.plan import Range

__all__ = ["WAITS", "Http"]

WAITS = (0.1, 0.2, 0.4, 0.8)
"""Seconds before a request that failed is repeated, each time; s3fs takes about as many."""

_UNAVAILABLE = {408, 425, 429, 500, 502, 503, 504}
"""Statuses of servers that may answer later."""


class _UnavailableError(StorageError):
    """The server may answer later."""


class Http(Versioned):
    """An object of an HTTP server, through fsspec and aiohttp."""

    async def _fetch_one(self, fs: Any, part: Range) -> bytes:
        import asyncio

        for wait in WAITS:
            try:
                return await self._ask(fs, part)
            except Exception as error:
                if not _may_pass(error):
                    raise
            await asyncio.sleep(wait)
        return await self._ask(fs, part)

    async def _ask(self, fs: Any, part: Range) -> bytes:
        session = await fs.set_session()
        headers = {
            **fs.kwargs.get("headers", {}),
            "Range": f"bytes={part[0]}-{part[1] - 1}",
            "Accept-Encoding": "identity",
        }
        arguments = {**fs.kwargs, "headers": headers}
        async with session.get(fs.encode_url(self._path), **arguments) as response:
            if response.status in (404, 410):
                raise FileNotFoundError(self.name)
            if response.status in (401, 403):
                raise PermissionError(f"HTTP status {response.status} {response.reason}")
            if response.status == 416 and not self._opened:
                return b""  # nothing is there
            if response.status not in (200, 206):
                kind = _UnavailableError if response.status in _UNAVAILABLE else StorageError
                raise kind(
                    f"{self.name} cannot be read: HTTP status {response.status} {response.reason}"
                )
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise StorageError(f"{self.name}: the server encodes it as {encoding!r}")

            async def read(limit: int) -> bytes:
                if response.content_length is not None and response.content_length <= limit:
                    return bytes(await response.read())
                data = bytearray()
                while len(data) <= limit and (piece := await response.content.readany()):
                    data += piece
                return bytes(data)

            tag = response.headers.get("ETag", "")
            # A weak tag is the same for versions that mean the same.
            strong = tag and not tag.startswith("W/")
            version = (tag, "" if strong else response.headers.get("Last-Modified", ""))
            content_range = response.headers.get("Content-Range", "")
            return await self._accept(
                part, Answer(content_range if response.status == 206 else "", version, read)
            )


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    aiohttp = sys.modules["aiohttp"]
    broken = aiohttp.ClientConnectionError, aiohttp.ClientPayloadError
    # Certificates stay wrong; timeouts have taken minutes already.
    lasting = aiohttp.ClientSSLError, TimeoutError
    return isinstance(error, (_UnavailableError, *broken)) and not isinstance(error, lasting)
