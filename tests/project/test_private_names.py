"""No module uses names with a leading underscore of another one, of ours or of others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import caterva_cffi as cat

PACKAGE = Path(cat.__file__).parent
OF_PYTHON = {
    "_asdict",
    "_fields",
    "_make",
    "_replace",
    "sys._current_frames",
    "sys._is_gil_enabled",
}
EXCEPTIONS = {
    # A ManifestStore shows its group in no other way.
    "virtual/references.py": {"store._group"},
    # zarr's page about WrapperStore names it as the way to the store that is wrapped.
    "zarr_chunks/stores.py": {"store._store"},
    "sources/meters.py": {"store._store"},
}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def defined_names(tree):
    """Return what a module defines: functions, classes, variables, attributes of `self`."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def is_own(owner):
    match owner:
        case ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super")):
            return True
    return False


def foreign_names(source):
    """Yield private names that a module uses and does not define, as they are written."""
    tree = ast.parse(source)
    known = set(defined_names(tree)) | OF_PYTHON
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name) if not is_own(owner):
                written = ast.unparse(node)
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" | "setattr" | "delattr"),
                args=[owner, ast.Constant(value=str(name)), *_],
            ) if not is_own(owner):
                written = f"{ast.unparse(owner)}.{name}"
            case ast.ImportFrom(module=module, names=names):
                yield from (f"{module}.{each.name}" for each in names if is_private(each.name))
                continue
            case _:
                continue
        if is_private(name) and not {name, written} & known:
            yield written


MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}


@pytest.mark.parametrize("module", MODULES)
def test_modules_use_their_own_private_names_only(module):
    found = set(foreign_names(MODULES[module].read_text(encoding="utf-8")))
    assert found == EXCEPTIONS.get(module, set())


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("array._grid.shape", {"array._grid"}),
        ("self.array._grid", {"self.array._grid"}),
        ("getattr(fs, '_call')()", {"fs._call"}),
        ("from a import _b, c", {"a._b"}),
        ("os._exit(0)", {"os._exit"}),
        ("self._a, cls._b, super()._c, a.__name__, a._replace(b=1)", set()),
        ("sys._getframe(1)", {"sys._getframe"}),
        ("class A:\n  def b(self, other):\n    self._c = other._c", set()),
        ("class A:\n  def b(self, other):\n    self._c = other._d", {"other._d"}),
    ],
)
def test_what_is_found(source, found):
    assert set(foreign_names(source)) == found
