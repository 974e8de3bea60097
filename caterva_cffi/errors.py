"""Exceptions: one hierarchy, in which every error of the C libraries keeps its code."""

from __future__ import annotations

__all__ = [
    "ArgumentError",
    "BusyError",
    "CapacityError",
    "CatervaError",
    "ClosedError",
    "DifferenceError",
    "FormatError",
    "ReadOnlyError",
    "StorageError",
    "UnsupportedError",
]


class CatervaError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        What was found, what was expected, and where.
    code : int, optional
        The negative code of the C function that failed.

    Attributes
    ----------
    code : int or None
        The C error code, or None where Python found the error itself.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[CatervaError], tuple[str, int | None]]:
        return type(self), (str(self), self.code)


class ArgumentError(CatervaError, ValueError):
    """An argument that makes no sense, alone or with the others."""


class FormatError(CatervaError, ValueError):
    """Bytes that are not a valid frame, chunk or metalayer."""


class DifferenceError(CatervaError):
    """Items that were written and are not what the source has."""


class UnsupportedError(CatervaError):
    """A codec, a filter or a format version that is not available here."""


class StorageError(CatervaError, OSError):
    """A file or directory that cannot be read or written."""


class ReadOnlyError(CatervaError, ValueError):
    """A change to something that was opened for reading."""


class ClosedError(CatervaError, ValueError):
    """An array that was closed."""


class BusyError(CatervaError, RuntimeError):
    """A use of an array inside another one by the same thread, as by a signal's handler."""


class CapacityError(CatervaError, MemoryError):
    """A size beyond a limit of the format, or more memory than there is."""
