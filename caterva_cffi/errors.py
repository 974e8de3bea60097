"""Exceptions: one hierarchy, in which every error says of what kind it is, with its numbers."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Literal, NamedTuple, TypeAlias, TypeVar

__all__ = [
    "ArgumentError",
    "ArgumentTypeError",
    "BusyError",
    "CapacityError",
    "CatervaError",
    "Cause",
    "ClosedError",
    "DifferenceError",
    "FormatError",
    "Kind",
    "MissingMetalayerError",
    "ReadOnlyError",
    "SelectionError",
    "StorageError",
    "UnsupportedError",
    "named",
    "wrong_type",
    "wrong_value",
]

Kind: TypeAlias = Literal[
    "failed",
    # ArgumentError
    "wrong-value", "unknown-name", "contradiction", "block-shape-too-large", "wrong-ndim",
    "wrong-shape", "not-contiguous", "wrong-dtype", "not-finite", "wrong-place", "is-a-group",
    "no-such-array", "other-codecs", "other-request", "memory-too-small", "own-metalayer",
    "blosc-variables",
    # ArgumentTypeError
    "wrong-type", "unknown-argument", "missing-argument",
    # SelectionError
    "wrong-index", "out-of-bounds",
    "no-metalayer",
    # FormatError
    "damaged", "not-a-frame", "cut-off", "checksum-differs", "no-checksums", "other-geometry",
    "wrong-metadata", "wrong-journal",
    # UnsupportedError
    "unsupported", "codec-missing", "filter-missing", "unknown-version", "only-zarr",
    "only-local", "secret-url", "cost-unknown",
    # StorageError
    "unreadable", "unwritable", "changed-meanwhile", "changed-elsewhere", "in-use",
    "change-cut-off", "gone", "hard-links", "wrong-answer", "ranges-ignored",
    # CapacityError
    "too-large", "chunk-too-large", "block-too-large", "out-of-memory",
    # the other classes
    "read-only", "closed", "busy", "items-differ",
]  # fmt: skip
"""One for each cause that has a cure of its own; they stay the same, while messages may change."""


class Cause(NamedTuple):
    """What went wrong: an error's kind, and what has which value instead of which one."""

    kind: Kind
    parameter: str | None = None
    found: object = None
    expected: object = None


_PLAIN = (bool, float, str, bytes, type(None))


class CatervaError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message : str
        What was found, what was expected, and where.
    cause : Kind or Cause, optional
        By default the kind that the class has.
    code : int, optional
        The negative code of the C function that failed.

    Attributes
    ----------
    kind : str
        What went wrong, in a few words that stay the same, such as `block-shape-too-large`.
    parameter : str or None
        The argument that is wrong, or what else has the value.
    found, expected : object
        The value, and the one that is possible: numbers, texts, tuples of these; else None.
    code : int or None
        The C error code, or None where Python found the error itself.
    """

    kind: Kind = "failed"

    def __init__(
        self, message: str, cause: Kind | Cause | None = None, *, code: int | None = None
    ) -> None:
        super().__init__(message)
        known = cause if isinstance(cause, Cause) else Cause(cause or self.kind)
        self.kind, self.parameter = known.kind, known.parameter
        self.found, self.expected = _plain(known.found), _plain(known.expected)
        self.code = code

    def __reduce__(self) -> tuple[type[CatervaError], tuple[object, ...], dict[str, object]]:
        # What distributed registers for classes without this fails with `MemoryError`.
        return type(self), self.args, vars(self)


class ArgumentError(CatervaError, ValueError):
    """An argument that makes no sense, alone or with the others."""

    kind: Kind = "wrong-value"


class ArgumentTypeError(CatervaError, TypeError):
    """An argument of a wrong type, or one that is not known."""

    kind: Kind = "wrong-type"


class SelectionError(CatervaError, IndexError):
    """An index, a box or an axis that an array does not have."""

    kind: Kind = "wrong-index"


class MissingMetalayerError(CatervaError, KeyError):
    """A metalayer that an array does not have."""

    kind: Kind = "no-metalayer"
    __str__ = Exception.__str__  # that of `KeyError` puts quotes around the message


class FormatError(CatervaError, ValueError):
    """Bytes that are not a valid frame, chunk or metalayer."""

    kind: Kind = "damaged"


class DifferenceError(CatervaError):
    """Items that were written and are not what the source has."""

    kind: Kind = "items-differ"


class UnsupportedError(CatervaError):
    """A codec, a filter or a format version that is not available here."""

    kind: Kind = "unsupported"


class StorageError(CatervaError, OSError):
    """A file or directory that cannot be read or written."""

    kind: Kind = "unreadable"


class ReadOnlyError(CatervaError, ValueError):
    """A change to something that was opened for reading."""

    kind: Kind = "read-only"


class ClosedError(CatervaError, ValueError):
    """An array that was closed."""

    kind: Kind = "closed"


class BusyError(CatervaError, RuntimeError):
    """A use of an array inside another one by the same thread, as by a signal's handler."""

    kind: Kind = "busy"


class CapacityError(CatervaError, MemoryError):
    """A size beyond a limit of the format, or more memory than there is."""

    kind: Kind = "too-large"


_Error = TypeVar("_Error", bound=CatervaError)


def named(error: _Error, where: str) -> _Error:
    """Return an error anew, with a name in front of its message; kind and numbers stay."""
    again = copy.copy(error)
    again.args = (f"{where}: {error}",)
    return again


def wrong_value(
    parameter: str, found: object, expected: str, kind: Kind = "wrong-value", hint: str = ""
) -> ArgumentError:
    """Return an error that says: "PARAMETER is FOUND; expected EXPECTED"."""
    message = f"{parameter} is {found!r}; expected {expected}{hint}"
    return ArgumentError(message, Cause(kind, parameter, found, expected))


def wrong_type(parameter: str, found: object, expected: str) -> ArgumentTypeError:
    """Return the same for a value of another type."""
    message = f"{parameter} is {found!r}; expected {expected}"
    return ArgumentTypeError(message, Cause("wrong-type", parameter, found, expected))


def _plain(value: object) -> object:
    """Return what an error keeps of a value: all errors can be pickled, and hold no memory."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    return value if isinstance(value, _PLAIN) else repr(value)
