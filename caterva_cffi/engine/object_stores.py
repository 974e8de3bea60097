"""Frames in objects of a store behind a network, such as Zarr chunks: many are read together.

The first reads of all objects are asked for at once, and then the blocks of all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, cast

from caterva_cffi.engine.objects import Find, ObjectRead
from caterva_cffi.engine.wanted_chunks import WantedChunk
from caterva_cffi.errors import CatervaError, named
from caterva_cffi.geometry.grid import Grid
from caterva_cffi.planning.layout import layout_steps
from caterva_cffi.planning.policy import ReadPolicy
from caterva_cffi.steps import Asked, MissingError, Range, Work, run, together

__all__ = ["Answer", "Request", "read_objects", "run_objects"]

_T = TypeVar("_T")

Request: TypeAlias = tuple[str, Range]
"""The key of an object, and a range of it."""

Answer: TypeAlias = Callable[[Sequence[Request]], Sequence[Any]]
"""Gives the bytes for each request, or the exception that tells why there are none."""


def read_objects(
    answer: Answer,
    chunks: Sequence[WantedChunk],
    usual: Grid,
    policy: ReadPolicy,
    find: Find = layout_steps,
) -> list[WantedChunk]:
    """Read what is wanted of some objects.

    Parameters
    ----------
    answer : Answer
    chunks : sequence of WantedChunk
        Their paths are the keys of the objects.
    usual : Grid
        The partition that the frames probably have.
    policy : ReadPolicy
    find : callable
        See `ObjectRead`.

    Returns
    -------
    list of WantedChunk
        Those whose objects are not there.

    Raises
    ------
    FormatError, UnsupportedError
        They name the object.
    """
    reads = {
        chunk.path: ObjectRead(chunk, usual, policy, chunk.check, find, beside=len(chunks)).steps(
            chunk.key, None
        )
        for chunk in chunks
    }
    found = run_objects(answer, reads)
    return [chunk for chunk in chunks if chunk.path not in found]


def run_objects(answer: Answer, reads: Mapping[str, Generator[Asked, Any, _T]]) -> dict[str, _T]:
    """Run the steps of some objects side by side; return their results, by the objects' keys.

    Objects that are not there have none.

    Raises
    ------
    FormatError, UnsupportedError
        They name the object.
    """
    found: dict[str, _T] = {}
    many = {key: _steps(key, steps, found) for key, steps in reads.items()}
    run(cast("Any", together(cast("Any", many))), answer)
    return found


def _steps(
    key: str, steps: Generator[Asked, Any, _T], results: dict[str, _T]
) -> Generator[list[Request], Sequence[Any], None]:
    """Ask for ranges by the object's key, and decode; keep the result if the object is there."""
    asked: Asked
    try:
        asked = next(steps)
        while True:
            if isinstance(asked, Work):
                asked = steps.send(asked.action())
                continue
            found = yield [(key, part) for part in asked]
            wrong = next((each for each in found if isinstance(each, Exception)), None)
            asked = steps.send(found) if wrong is None else steps.throw(wrong)
    except StopIteration as stop:
        results[key] = stop.value
    except MissingError:
        return
    except CatervaError as error:
        raise named(error, repr(key)) from error
