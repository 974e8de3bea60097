"""Groups of a selection, read and decoded one after the other, or the next one read ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from caterva_cffi.binding.interrupts import ask_often
from caterva_cffi.binding.kernel import Kernel
from caterva_cffi.engine.batches import groups
from caterva_cffi.engine.groups import Groups
from caterva_cffi.geometry.selection import Batch
from caterva_cffi.planning.frame import Frame
from caterva_cffi.planning.layout import Chunks, slices
from caterva_cffi.planning.policy import get_read_policy
from caterva_cffi.steps import Asked, Range, Work, run

__all__ = ["read", "read_ahead", "read_memory", "read_steps"]


def read(parts: Iterable[Groups], answer: Callable[[list[Range]], Any]) -> None:
    """Read and decode the parts of a selection.

    Parameters
    ----------
    parts : iterable of Groups
    answer : callable
        Gives the bytes of ranges.

    Raises
    ------
    FormatError, UnsupportedError
    """
    for part in parts:
        if part.asks:
            run(part.steps(), answer)
        part.decode()


def read_steps(parts: Iterable[Groups]) -> Generator[Asked, Any, None]:
    """Ask for the bytes of each part of a selection, then for the work that decodes it."""
    for part in parts:
        if part.asks:
            yield from part.steps()
        yield Work(part.nbytes, part.decode)


def read_ahead(
    parts: Iterator[Groups], answer: Callable[[list[Range], int], Sequence[Any]]
) -> None:
    """Read and decode the parts of a selection; while one is decoded the next one is read.

    Parameters
    ----------
    parts : iterator of Groups
    answer : callable
        Gives the bytes of ranges; the second argument says of how many chunks they are. It is
        called in a thread. If something else fails, or the interpreter ends, nobody waits for it.

    Raises
    ------
    FormatError, UnsupportedError
    """

    def coming(part: Groups) -> Callable[[], None]:
        return partial(run, part.steps(), lambda ranges: answer(ranges, part.nchunks))

    part = next(parts, None)
    if part is not None:
        coming(part)()
    while part is not None:
        following = next(parts, None)
        fetched = None if following is None else _Coming(coming(following))
        part.decode()
        if fetched is not None:
            fetched.wait()
        part = following


class _Coming:
    """Something that a thread does; nobody waits for it at the interpreter's end.

    Parameters
    ----------
    action : callable
    """

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._action()
        except BaseException as error:
            self._error = error

    def wait(self) -> None:
        """Wait until it is done, and raise its error, if any."""
        ask_often(self._join)
        if self._error is not None:
            raise self._error

    def _join(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()


def read_memory(
    data: bytes | memoryview, layout: Chunks, kernel: Kernel, parts: Iterable[Batch]
) -> None:
    """Read and decode boxes of a frame in memory.

    Parameters
    ----------
    data : bytes
        The object.
    layout : Chunks
        Of this object.
    kernel : Kernel
        Of the layout's grid.
    parts : iterable of Batch

    Raises
    ------
    FormatError, UnsupportedError
    """
    frame = Frame(layout, kernel, get_read_policy("local"))
    read(groups(frame, parts), partial(slices, memoryview(data)))
