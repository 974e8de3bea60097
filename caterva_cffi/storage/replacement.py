"""A file that is replaced by one that has parts of it, which stay outside our memory.

As with any file that is written beside its place and renamed, a crash leaves the old one or the new
one, and readers that have the old one open read it to the end.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from uuid import uuid4

from caterva_cffi.binding.encoding import Span
from caterva_cffi.storage.stored import Version, version_of

__all__ = ["is_possible", "replace_file"]

_PIECE = 1 << 20
"""Bytes that are copied through memory at a time."""

_AT_ONCE = 512
"""Parts that are written by one call; systems take 1024 at least."""

is_possible = os.name == "posix"
"""Elsewhere a file that is open cannot be replaced."""


def replace_file(path: str, old: int, version: Version, spans: Sequence[Span]) -> bool:
    """Replace a file by a new one.

    Parameters
    ----------
    path : str
        It may be another file's by now; then nothing is done.
    old : int
        Descriptor of the old file, for reading.
    version : Version
        The version of the old file whose parts stay.
    spans : sequence of Span
        What the new file is made of: positions and numbers of bytes of the old one, and new bytes.

    Returns
    -------
    bool
        Whether it was done. If not, the old file was changed or replaced meanwhile.

    Raises
    ------
    OSError
    """
    # Named as Zarr names its partial files, so that what is left of a crash is known to be one.
    temporary = f"{os.path.splitext(path)[0]}.{uuid4().hex}.partial"
    new = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            _write(old, new, spans)
        finally:
            os.close(new)
        if version_of(os.fstat(old)) != version:  # its links count, too: they change its times
            os.unlink(temporary)
            return False
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    return True


def _write(old: int, new: int, spans: Sequence[Span]) -> None:
    size = max((sum(span) for span in spans if isinstance(span, tuple)), default=0)
    parts: list[memoryview] = []
    with _mapped(old, size) as memory:
        try:
            for span in spans:
                if not isinstance(span, tuple):
                    parts.append(memoryview(span))
                elif memory is not None:
                    parts.append(memory[span[0] : sum(span)])
                else:
                    _write_all(new, parts)
                    _copy(old, new, *span)
            _write_all(new, parts)
        finally:
            for part in parts:
                part.release()


@contextmanager
def _mapped(descriptor: int, size: int) -> Iterator[memoryview | None]:
    """Yield the first bytes of a file in memory; None where the system cannot do that at once.

    Nobody looks at them but the system, which writes them to the new file. If the file is cut
    meanwhile, that call returns an error. Copying between files inside the system
    (`os.copy_file_range`) takes 1.6 times as long on ext4: it goes page by page.
    """
    flags = getattr(mmap, "MAP_POPULATE", None)
    mapping = None
    with suppress(OSError, ValueError):  # a file system without it, or a file that is shorter now
        if flags is not None:
            mapping = mmap.mmap(descriptor, size, mmap.MAP_SHARED | flags, mmap.PROT_READ)
    if mapping is None:
        yield None
        return
    with mapping, memoryview(mapping) as memory:
        yield memory


def _write_all(new: int, parts: list[memoryview]) -> None:
    """Write parts to the end of a file, and remove them."""
    parts.reverse()  # the next one is the last
    while parts:
        count = os.writev(new, parts[: -_AT_ONCE - 1 : -1])
        while parts and count >= len(parts[-1]):
            count -= len(parts[-1])
            parts.pop().release()
        if count:
            with parts.pop() as part:
                parts.append(part[count:])


def _copy(old: int, new: int, start: int, size: int) -> None:
    """Copy a part of a file to the end of another.

    Raises
    ------
    OSError
        Also if the file has no such part.
    """
    while size:
        data = os.pread(old, min(size, _PIECE), start)
        if not data:
            raise OSError(errno.EIO, "the file ends before the part that is to be copied does")
        _write_all(new, [memoryview(data)])
        start, size = start + len(data), size - len(data)
