"""Ranges of bytes of an object in one of fsspec's file systems.

If a file system does not tell with its answers of which version of the object they are, the
object's size, time and checksums are compared with those from before the first read.
"""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from caterva_cffi.errors import ArgumentError, CatervaError, StorageError, UnsupportedError
from caterva_cffi.sources.meters import meter_of_url
from caterva_cffi.sources.source import Source
from caterva_cffi.steps import Range
from caterva_cffi.storage.url_secrets import hide, without_secrets

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["FsspecSource", "Unversioned", "check_no_secrets", "file_system"]


class FsspecSource(Source):
    """An object in one of fsspec's file systems."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self._url, self._options = url, dict(options)
        self.name = without_secrets(url)
        self.meter = meter_of_url(url, options)
        self._opened = False
        self._connect()

    def _connect(self) -> None:
        self._fs, self._path = file_system(self._url, self._options)
        self._pid = os.getpid()

    @property
    def fs(self) -> Any:
        """The file system; a new one after a fork, since processes cannot share connections."""
        if self._pid != os.getpid():
            self._connect()  # perhaps in two threads; a lock might be held at another fork
        return self._fs

    def to_arguments(self) -> tuple[Any, ...]:
        """Return what `open` needs to open it again.

        Raises
        ------
        UnsupportedError
            For a URL with a user, a query or a fragment: a pickle would show them.
        """
        check_no_secrets(self._url)
        return self._url, self._options

    def _told(self, action: Callable[[], Any]) -> Any:
        """Do something with the file system; turn its errors into those of this package."""
        try:
            return action()
        except Exception as error:  # each file system has exceptions of its own
            told = self._ours(error)
        raise told

    def _ours(self, error: Exception) -> Exception:
        """Return an error of this package for one of the file system."""
        told = error if isinstance(error, CatervaError) else self._tell(error)
        # The original error may hold the URL; tracebacks and logs would show it.
        told.__cause__ = told.__context__ = None
        return told

    def _tell(self, error: Exception) -> Exception:
        if isinstance(error, FileNotFoundError):
            if self._opened:
                return self._changed("it is gone")
            if self._is_directory():
                return self._directory()
            return FileNotFoundError(errno.ENOENT, "no such object", self.name)
        reason = self._shown(str(error) or "no reason given")
        if isinstance(error, PermissionError):
            return PermissionError(errno.EACCES, f"not allowed: {reason}", self.name)
        return StorageError(f"{self.name} cannot be read: {type(error).__name__}: {reason}")

    def _shown(self, text: str) -> str:
        """Return a text of another library or the server, without secrets."""
        return hide(text, self._url)

    def _is_directory(self) -> bool:
        try:
            return bool(self.fs.isdir(self._path))
        except Exception:  # then it is not there either
            return False

    def _directory(self) -> UnsupportedError:
        return UnsupportedError(
            f"{self.name} is a directory; sparse arrays are only read from a local path. "
            "Store the array with contiguous=True",
            "only-local",
        )


class Unversioned(FsspecSource):
    """An object whose file system is asked for its properties, apart from its bytes."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        super().__init__(url, options)
        info = self._told(lambda: self.fs.info(self._path))
        if info.get("type") == "directory":
            raise self._directory()
        self.size = info.get("size")
        self._identity = _identity(info)
        self.identified = self._identity.keys() > {"size"}

    def _read(self, ranges: Sequence[Range], concurrency: int) -> Sequence[Buffer]:
        got: Sequence[Buffer] = self._told(lambda: self._fetch(ranges))
        self._opened = True
        return got

    def _fetch(self, ranges: Sequence[Range]) -> Sequence[Buffer]:
        starts, stops = map(list, zip(*ranges, strict=True))
        with self.meter.request(len(ranges)) as timed:
            got = self.fs.cat_ranges([self._path] * len(ranges), starts, stops, on_error="return")
            for data in got:
                if isinstance(data, BaseException):
                    raise data
            timed.nbytes = sum(map(len, got))
        return got  # type: ignore[no-any-return]

    def verify(self) -> None:
        """Compare the object's properties with those at its opening."""
        self.fs.invalidate_cache(self._path)
        now = _identity(self._told(lambda: self.fs.info(self._path)))
        if now != self._identity:
            differ = sorted(
                key
                for key in now.keys() | self._identity.keys()
                if now.get(key) != self._identity.get(key)
            )
            raise self._changed(f"another {', '.join(differ)}")


_VOLATILE = {"name", "url", "mode", "uid", "gid", "nlink", "islink", "atime", "accessTime"}


def _identity(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of an object that change with its bytes."""
    known = {key: value for key, value in info.items() if key not in _VOLATILE | {"type"}}
    return {key: value for key, value in known.items() if value is not None}


def check_no_secrets(url: str) -> None:
    """Refuse a URL that a pickle must not show.

    Raises
    ------
    UnsupportedError
    """
    name = without_secrets(url)
    if name != url:
        raise UnsupportedError(
            f"{name} cannot be pickled: the pickle would show what its URL hides. Either give "
            "others the URL, to call caterva_cffi.open where they use it, or give users and "
            "passwords as storage_options, which are pickled",
            "secret-url",
        )


def file_system(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the object's path in it."""
    name = without_secrets(url)
    try:
        fsspec = importlib.import_module("fsspec.core")
    except ImportError as error:
        raise ImportError(f"to open {name!r}, install fsspec: pip install fsspec") from error
    told: Exception
    try:
        fs, path = fsspec.url_to_fs(url, **options)
    except ImportError as error:
        told = ImportError(f"to open {name!r}: {hide(str(error), url)}")
    except ValueError as error:
        told = ArgumentError(f"{name!r} cannot be opened: {hide(str(error), url)}")
    except TypeError:  # the file system does not have such options
        raise
    except Exception as error:  # some file systems connect here
        told = StorageError(
            f"{name!r} cannot be opened: {type(error).__name__}: {hide(str(error), url)}"
        )
    else:
        return fs, path
    raise told  # not "from" the other error, which may hold the URL
