"""NumPy arrays and buffers as C memory: addresses, and checks before C uses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from caterva_cffi.binding.library import ffi
from caterva_cffi.errors import ArgumentError, ArgumentTypeError, Cause

__all__ = ["address", "as_bytes", "byte_view", "export", "pointer"]


def address(array: npt.NDArray[Any]) -> int:
    """Return the address of an array's first item; the caller keeps the array alive."""
    try:
        return int(ffi.cast("uintptr_t", ffi.from_buffer(array)))
    except (BufferError, ValueError):  # the slower way takes any strides and dtypes
        return int(array.__array_interface__["data"][0])


def as_bytes(buffer: Any, what: str) -> Any:
    """Return a buffer as a `uint8_t[]`; it keeps the buffer alive, and from being resized.

    Parameters
    ----------
    buffer : object with the buffer protocol
        C-contiguous.
    what : str
        What the buffer is, for the error.

    Raises
    ------
    TypeError
        For an object that is no buffer.
    ArgumentError
        For a buffer that is not C-contiguous.
    """
    if isinstance(buffer, np.ndarray):
        if not buffer.flags.c_contiguous:
            raise ArgumentError(
                f"{what} is not C-contiguous: strides {buffer.strides}",
                Cause("not-contiguous", what, buffer.strides),
            )
        # The buffer protocol has no format for dates and some structures, but bytes always work.
        buffer = byte_view(buffer)
    try:
        return pointer(buffer)
    except TypeError:
        raise ArgumentTypeError(
            f"{what} is {type(buffer).__name__}; expected an object with the buffer protocol",
            Cause("wrong-type", what, type(buffer).__name__),
        ) from None
    except (BufferError, ValueError) as error:
        raise ArgumentError(
            f"{what} is not one run of bytes: {error}", Cause("not-contiguous", what)
        ) from None


def pointer(data: Any) -> Any:
    """Return contiguous bytes as a `uint8_t[]`; it keeps them alive."""
    if isinstance(data, memoryview):
        # When Python collects a cycle that holds a memoryview and cffi's pointer to it, it clears
        # the memoryview first, and crashes when the pointer is released. An ndarray hides it.
        data = np.frombuffer(data, np.uint8)
    return ffi.from_buffer("uint8_t[]", data)


def byte_view(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes of a C-contiguous array as a 1-d view."""
    return array.reshape(-1).view(np.uint8)


def export(pointer: Any, size: int, release: Any) -> memoryview:
    """Return C memory as a read-only memoryview; `release()` runs when its last view dies.

    Parameters
    ----------
    pointer : cdata
    size : int
        Bytes.
    release : callable
        Keeps alive the owner of the memory.
    """
    owned = ffi.gc(ffi.cast("uint8_t *", pointer), lambda _: release(), size=size)
    return memoryview(ffi.buffer(owned, size)).toreadonly()
