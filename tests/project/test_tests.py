"""Tests are where one looks for them, and where pages and lists say that they are."""

from __future__ import annotations

import re
from pathlib import Path

from checkout import ROOT, TESTS

import caterva_cffi as cat

PACKAGE = Path(cat.__file__).parent


def test_each_module_has_a_test_file():
    text = (ROOT / "docs/development.md").read_text(encoding="utf-8")
    elsewhere = dict(re.findall(r"^\| `(\w\S*\.py)` \| `tests/(\S+)` \|$", text, re.M))
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    without = {
        module.as_posix()
        for module in modules
        if module.name != "__init__.py"
        and not (TESTS / module.with_name(f"test_{module.stem.strip('_')}.py")).exists()
    }
    assert without == set(elsewhere)
    assert all((TESTS / name).is_file() for name in elsewhere.values())


def test_tests_that_are_named_exist():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "vendor").glob("*.md")]
    lists = [ROOT / "wheels/tests.txt", ROOT / "wheels/cibuildwheel.toml"]
    text = "".join(path.read_text(encoding="utf-8") for path in (*pages, *lists))
    named = set(re.findall(r"\btests/[\w/]+\.py", text))
    assert len(named) > 20
    assert not {name for name in named if not (ROOT / name).is_file()}
