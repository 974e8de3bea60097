"""What an unfinished conversion to Zarr has written, kept in the destination.

The journal is a document of its own in the store. Zarr's metadata are written last, so that nobody
takes an incomplete destination for an array.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Mapping
from typing import Any

from caterva_cffi.errors import ArgumentError, Cause, FormatError

__all__ = ["Journal", "check_request"]

_VERSION = 1
_SECONDS = 1.0  # between two saves


def check_request(noted: Any, request: Mapping[str, Any], where: str) -> None:
    """Compare what an earlier run was asked for with what this one is.

    Raises
    ------
    ArgumentError
        Where they differ.
    """
    now = json.loads(json.dumps(request))
    if not isinstance(noted, dict) or noted.keys() != now.keys():
        raise FormatError(
            f"{where}: its journal makes no sense, or is of another version", "wrong-journal"
        )
    different = [name for name in now if noted[name] != now[name]]
    if different:
        raise ArgumentError(
            f"{where} was begun with other {', '.join(different)}; give the same as before to "
            "resume, or overwrite it",
            Cause("other-request", different[0], different),
        )


class Journal:
    """Which regions were written.

    Parameters
    ----------
    request : mapping
        What must be the same in a later run.
    save : callable
        Stores the journal's bytes.
    """

    def __init__(self, request: Mapping[str, Any], save: Callable[[bytes], None]) -> None:
        self._request, self._save = request, save
        self._done: dict[str, list[list[int]]] = {}  # runs of regions: first, and last + 1
        self._lock, self._saved = threading.Lock(), time.monotonic()

    def load(self, data: bytes, where: str) -> None:
        """Take over what an earlier run wrote.

        Raises
        ------
        ArgumentError, FormatError
        """
        try:
            document = json.loads(data)
            noted, done = document["request"], document["done"]
            self._done = {path: [[int(a), int(b)] for a, b in runs] for path, runs in done.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormatError(
                f"{where}: its journal makes no sense: {error}", "wrong-journal"
            ) from None
        check_request(noted, self._request, where)

    def __contains__(self, region: tuple[str, int]) -> bool:
        path, number = region
        runs = self._done.get(path, [])
        at = bisect_right(runs, [number, 1 << 62])
        return at > 0 and number < runs[at - 1][1]

    def add(self, path: str, number: int) -> None:
        """Note a region; save if the last time was a while ago."""
        with self._lock:
            runs = self._done.setdefault(path, [])
            insort(runs, [number, number + 1])
            at = bisect_right(runs, [number, 1 << 62]) - 1
            if at + 1 < len(runs) and runs[at + 1][0] <= runs[at][1]:
                runs[at][1] = runs.pop(at + 1)[1]
            if at and runs[at][0] <= runs[at - 1][1]:
                runs[at - 1][1] = max(runs.pop(at)[1], runs[at - 1][1])
            if time.monotonic() - self._saved > _SECONDS:
                self._write()

    def save(self) -> None:
        """Store the journal."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        document = {"version": _VERSION, "request": self._request, "done": self._done}
        self._save(json.dumps(document).encode())
        self._saved = time.monotonic()
