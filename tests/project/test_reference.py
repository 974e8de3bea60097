"""The reference: every public name has an example, and all examples do what they say."""

from __future__ import annotations

import doctest
import inspect
import re
from importlib import import_module
from importlib.util import find_spec

import pytest
from checkout import ROOT
from public_names import entries, public_names

REFERENCE = ROOT / "docs" / "reference"
PAGES = {page.name: page.read_text("utf-8") for page in sorted(REFERENCE.glob("*.rst"))}
INDEX = (REFERENCE / "index.md").read_text("utf-8")
BEFORE = re.search("```python\n(.*?)```", INDEX, re.DOTALL)[1]  # the page says so
VIRTUAL = import_module("caterva_cffi.virtual")
NEED_VIRTUALIZARR = {"B2ndParser", "HDF5Parser", "to_references"}
HERE = set(VIRTUAL.__all__) - (set() if find_spec("virtualizarr") else NEED_VIRTUALIZARR)
NAMES = dict(public_names())
NAMES |= {f"caterva_cffi.virtual.{name}": getattr(VIRTUAL, name) for name in sorted(HERE)}
EXAMPLES = {name: text for name, text in PAGES.items() if ">>>" in text}
for name, found in NAMES.items():
    text = inspect.getdoc(found) or ""
    if ">>>" in text and text not in EXAMPLES.values():
        EXAMPLES[name] = text


def shown(text):
    """Return the words in the examples of a text."""
    lines = re.findall(r"^\s*(?:>>>|\.\.\.) (.+)$", text, re.MULTILINE)
    return set(re.findall(r"\w+", "\n".join(lines)))


def page_of(name):
    """Return the page that lists a name, another one of the same thing, or its class."""
    same = [other for other, found in NAMES.items() if found is NAMES[name]]
    listed = "|".join(map(re.escape, [*same, name.rpartition(".")[0]]))
    entry = re.compile(rf"^\.\. \S+:: (?:{listed})$", re.MULTILINE)
    return next((page for page in PAGES.values() if entry.search(page)), "")


def lacks_example(name):
    owner = NAMES.get(name.rpartition(".")[0])
    word = name.rpartition(".")[2]
    if word.startswith("__") and word != "__version__":
        return ">>>" not in (inspect.getdoc(NAMES[name]) or "")
    texts = [inspect.getdoc(each) or "" for each in (NAMES[name], owner) if each is not None]
    return word not in set().union(*map(shown, [*texts, page_of(name)]))


def test_every_public_name_has_an_example():
    assert len(NAMES) > 150
    assert [name for name in NAMES if lacks_example(name)] == []


def test_the_reference_names_all_that_is_virtual():
    """These need packages that are not always there, so their sources are looked at."""
    listed = {name.rpartition(".")[2] for name in entries() if ".virtual." in name}
    assert listed == set(VIRTUAL.__all__)
    folder = ROOT / "caterva_cffi" / "virtual"
    sources = {path.stem: path.read_text("utf-8") for path in folder.glob("*.py")}
    for name in NEED_VIRTUALIZARR:
        assert name in shown(sources[VIRTUAL._MODULES[name]])


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(BEFORE, names)
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], names, name, None, 0)
    assert test.examples and "+SKIP" not in EXAMPLES[name]
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    assert (runner.run(test, out=said.append).failed, "".join(said)) == (0, "")
