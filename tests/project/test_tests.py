"""Each module of the package has a test file of its name, or is on the page for developers."""

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
