"""Tests are where one looks for them, and where pages and lists say that they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


def test_what_other_pythons_leave_out_exists():
    """Pytest does not say that something to ignore is not there."""
    lines = (TESTS / "other-pythons.txt").read_text(encoding="utf-8").splitlines()
    left_out = [line.partition("=")[2] for line in lines if line.startswith("--")]
    assert len(left_out) > 20
    for path, _, test in (name.partition("::") for name in left_out):
        assert (ROOT / path).exists(), path
        assert not test or f"\ndef {test}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_files_that_take_time_are_shown(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_nothing():\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "conftest", "--durations=1", "--rootdir=."]
    path = os.pathsep.join(map(str, (TESTS, TESTS / "support", *filter(None, sys.path))))
    environment = {**os.environ, "PYTHONPATH": path}
    shown = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert "files that took most of 0 seconds of processors" in shown
    assert re.findall(r"^ +0\.\d s (test_\w+\.py)$", shown, re.MULTILINE) == ["test_one.py"]
