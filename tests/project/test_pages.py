"""The documentation site: code on its pages runs, and its reference names all that is public."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module

import pytest
from checkout import ROOT

DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
FACES = "caterva_cffi", "caterva_cffi.numcodecs", "caterva_cffi.zarr"
ENTRY = re.compile(r"^\.\. (?:auto\w+|data):: ([\w.]+)$", re.MULTILINE)


def public(name):
    """Return the object that a name of a face stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def test_the_reference_names_all_that_is_public():
    text = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.rst"))
    entries = ENTRY.findall(text)
    assert len(entries) == len(set(entries))
    assert all(name.rpartition(".")[0] in FACES for name in entries)
    described = [public(name) for name in entries]
    names = [f"{face}.{name}" for face in FACES for name in import_module(face).__all__]
    assert [n for n in names if not any(public(n) is each for each in described)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page, tmp_path):
    """All of a page's code in order, in one folder, by one Python to which warnings are errors."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    code = tmp_path / "page.py"
    code.write_text("\n".join(blocks), "utf-8")
    command = [sys.executable, "-W", "error", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
