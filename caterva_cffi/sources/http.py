"""Ranges of bytes of an object of an HTTP server."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from caterva_cffi.errors import StorageError
from caterva_cffi.sources.versioned import Answer, Versioned
from caterva_cffi.steps import Range

__all__ = ["WAITS", "Http"]

WAITS = (0.1, 0.2, 0.4, 0.8)
"""Seconds to wait before each repetition of a request that failed; about as in s3fs."""

_UNAVAILABLE = {408, 425, 429, 500, 502, 503, 504}
"""Statuses after which the server may answer later."""


_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 10

_FOR_ANY_HOST = {
    *("ssl", "verify_ssl", "ssl_context", "proxy", "proxy_auth", "proxy_headers", "timeout"),
    *("raise_for_status", "read_bufsize", "max_line_size", "max_field_size", "max_headers"),
}
"""Options of requests that tell a server nothing about the user."""


class _UnavailableError(StorageError):
    """The server may answer later."""


class Http(Versioned):
    """An object of an HTTP server, through fsspec and aiohttp."""

    async def _fetch_one(self, fs: Any, range_: Range) -> bytes:
        import asyncio

        for wait in WAITS:
            try:
                return await self._measured(fs, range_)
            except Exception as error:
                if not _may_pass(error):
                    raise
            await asyncio.sleep(wait)
        return await self._measured(fs, range_)

    async def _ask(self, fs: Any, range_: Range) -> bytes:
        async with self._get(fs, range_) as response:
            if response.status in (404, 410):
                raise FileNotFoundError(self.name)
            if response.status in (401, 403):
                raise PermissionError(f"HTTP status {response.status} {response.reason}")
            if response.status == 416 and not self._opened:
                return b""  # the object is empty
            if response.status not in (200, 206):
                kind = _UnavailableError if response.status in _UNAVAILABLE else StorageError
                reason = self._shown(str(response.reason))
                raise kind(f"{self.name} cannot be read: HTTP status {response.status} {reason}")
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                encoding = self._shown(encoding)
                raise StorageError(
                    f"{self.name}: the server encodes it as {encoding!r}", "wrong-answer"
                )

            async def read(limit: int) -> bytes:
                if response.content_length is not None and response.content_length <= limit:
                    return bytes(await response.read())
                data = bytearray()
                while len(data) <= limit and (piece := await response.content.readany()):
                    data += piece
                return bytes(data)

            tag = response.headers.get("ETag", "")
            # A weak tag may be the same for two versions with different bytes.
            strong = tag and not tag.startswith("W/")
            version = (tag, "" if strong else response.headers.get("Last-Modified", ""))
            content_range = response.headers.get("Content-Range", "")
            return await self._accept(
                range_, Answer(content_range if response.status == 206 else "", version, read)
            )

    @asynccontextmanager
    async def _get(self, fs: Any, range_: Range) -> AsyncIterator[Any]:
        """Ask for a range, and follow redirects.

        aiohttp would send the user's headers and cookies to any host that it is redirected to.
        """
        session = await fs.set_session()
        options = dict(fs.kwargs)
        follows = options.pop("allow_redirects", True)
        most = options.pop("max_redirects", _MOST_REDIRECTS)
        first = target = fs.encode_url(self._path)
        headers = {"Range": f"bytes={range_[0]}-{range_[1] - 1}", "Accept-Encoding": "identity"}
        options["headers"] = {**options.get("headers", {}), **headers}
        elsewhere = {key: value for key, value in options.items() if key in _FOR_ANY_HOST}
        elsewhere["headers"] = headers
        for _ in range(most + 1):
            is_first = _is_same_host(first, target)
            async with (
                _with_session(session, is_first) as used,
                used.get(
                    target, allow_redirects=False, **(options if is_first else elsewhere)
                ) as response,
            ):
                location = response.headers.get("Location", "")
                if not (follows and response.status in _REDIRECTS and location):
                    yield response
                    return
            target = self._join(target, location)
            if _is_same_host(first, target) and target.user is None:
                target = target.with_user(first.user).with_password(first.password)
            options.pop("params", None)
        raise StorageError(f"{self.name} cannot be read: more than {most} redirects")

    def _join(self, url: Any, location: str) -> Any:
        """Return where a redirect leads."""
        try:
            target = url.join(type(url)(location))
            if target.scheme in ("http", "https") and target.host:
                return target
        except ValueError:
            pass
        raise StorageError(f"{self.name} cannot be read: a redirect to what is no HTTP URL")

    def _is_directory(self) -> bool:
        return False  # to ask would get the same page again


def _is_same_host(first: Any, other: Any) -> bool:
    """Whether headers for the first URL's server may be sent to the server of the other."""
    origins = [(url.scheme, url.host, url.port) for url in (first, other)]
    becomes_secure = [("http", first.host, 80), ("https", first.host, 443)]
    return origins[0] == origins[1] or origins == becomes_secure


@asynccontextmanager
async def _with_session(session: Any, is_first: bool) -> AsyncIterator[Any]:
    """Yield a session; for another host than the first one it has none of the user's headers."""
    if is_first:
        yield session
        return
    async with sys.modules["aiohttp"].ClientSession(
        connector=session.connector,
        connector_owner=False,
        trust_env=session.trust_env,
        timeout=session.timeout,
    ) as bare:
        yield bare


def _may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    aiohttp = sys.modules["aiohttp"]
    broken = aiohttp.ClientConnectionError, aiohttp.ClientPayloadError
    # A wrong certificate stays wrong, and a timeout has already taken minutes.
    lasting = aiohttp.ClientSSLError, TimeoutError
    return isinstance(error, (_UnavailableError, *broken)) and not isinstance(error, lasting)
