"""What is public: the names of the faces, and the members that the reference shows of classes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from checkout import ROOT

FACES = "caterva_cffi", "caterva_cffi.numcodecs", "caterva_cffi.zarr"
ENTRY = re.compile(r"^\.\. (?:auto\w+|data):: ([\w.]+)\n((?:   :.*\n)*)", re.MULTILINE)
OPTION = re.compile(r":([\w-]+): ?(.*)")


def entries() -> dict[str, dict[str, list[str]]]:
    """Return the options of each name in the reference: words by an option's name."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.rst"))
    found = ENTRY.findall("".join(page.read_text("utf-8") + "\n" for page in pages))
    return {
        name: {option: re.findall(r"\w+", words) for option, words in OPTION.findall(options)}
        for name, options in found
    }


def members(cls: type, options: dict[str, list[str]]) -> Iterator[tuple[str, Any]]:
    """Yield names and objects of the methods and properties that the reference shows."""
    if "no-members" in options:
        return
    bases = [base for base in cls.__mro__ if base.__module__.startswith("caterva_cffi.")]
    bases = bases if "inherited-members" in options else [cls]
    for name in dict.fromkeys(name for base in bases for name in vars(base)):
        found = inspect.getattr_static(cls, name)
        is_member = isinstance(found, (property, classmethod)) or inspect.isfunction(found)
        is_shown = name[0] != "_" or name in options.get("special-members", ())
        if is_member and is_shown and name not in options.get("exclude-members", ()):
            yield name, found


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield each public name, behind its module, with its object; members behind their class."""
    shown = entries()
    for face in FACES:
        module = import_module(face)
        for name in module.__all__:
            found = getattr(module, name)
            yield f"{face}.{name}", found
            if inspect.isclass(found):
                for member, each in members(found, shown.get(f"{face}.{name}", {})):
                    yield f"{face}.{name}.{member}", each
