"""The documentation site: code on its pages runs, and its reference names all that is public."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from typing import get_args

import numcodecs
import numpy as np
import pytest
import zarr
from checkout import ROOT

import caterva_cffi as cat
from caterva_cffi import errors
from caterva_cffi.binding import library
from caterva_cffi.zarr import CatervaCodec

DOCS = ROOT / "docs"
MODULES = sorted((ROOT / "caterva_cffi").rglob("*.py"))
OBJECT_STORES = DOCS / "howto" / "object-stores.md"
PAGES = [DOCS / "tutorial.md", DOCS / "errors.md", *sorted((DOCS / "howto").glob("*.md"))]
PAGES = [page for page in PAGES if page.stem != "index" and page != OBJECT_STORES]
WARNINGS = "PartialReadsOffWarning", "PartitionWarning", "DeprecationWarning"
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
    virtual = [name for name in entries if name.startswith("caterva_cffi.virtual.")]
    entries = [name for name in entries if name not in virtual]
    assert all(name.rpartition(".")[0] in FACES for name in entries)
    described = [public(name) for name in entries]
    names = [f"{face}.{name}" for face in FACES for name in import_module(face).__all__]
    assert [n for n in names if not any(public(n) is each for each in described)] == []


def test_the_page_of_commands_names_all():
    command = [sys.executable, "-m", "caterva_cffi", "--help"]
    said = subprocess.check_output(command, text=True, env={**os.environ, "COLUMNS": "80"})
    page = (DOCS / "reference" / "commands.md").read_text("utf-8")
    commands = re.findall(r"^    (\w+) ", said, re.MULTILINE)
    assert len(commands) >= 7
    assert [name for name in commands if f"`caterva {name}" not in page] == []


def raised_kinds():
    """Yield class and kind of each error that the package's source makes."""
    classes = {name: getattr(errors, name) for name in errors.__all__ if name.endswith("Error")}
    makers = {"wrong_value": errors.ArgumentError, "wrong_type": errors.ArgumentTypeError}
    trees = (ast.parse(path.read_text("utf-8")) for path in MODULES if path.name != "errors.py")
    for call in (node for tree in trees for node in ast.walk(tree)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        if call.func.id == "ReplacedError":
            cls = errors.StorageError
        else:
            cls = classes.get(call.func.id) or makers.get(call.func.id)
        if cls is not None:
            cause = call.args[3:4] if call.func.id in makers else call.args[1:2]
            cause = [each.args[0] if isinstance(each, ast.Call) else each for each in cause]
            nodes = [node for each in cause for node in ast.walk(each)]
            texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
            kinds = [text for text in texts if isinstance(text, str)] or [cls.kind]
            yield from ((cls.__name__, kind) for kind in kinds)
    yield "ArgumentError", "unknown-name"
    for code, cls in library._CLASS_OF.items():
        yield cls.__name__, library._KINDS.get(code, cls.kind)
    yield "CatervaError", errors.CatervaError.kind


def test_the_page_of_errors_lists_all_kinds():
    """With the exceptions that have them, and messages as the package has them."""
    page = (DOCS / "errors.md").read_text("utf-8")
    names = [name for name in cat.__all__ if name.endswith("Error")]
    assert [name for name in (*names, *WARNINGS) if f"`{name}`" not in page] == []
    rows = re.findall(r"^\| `([a-z-]+)` \| ((?:`\w+Error`(?:, )?)+) \| (.+) \| .+ \|$", page, re.M)
    listed = [(name.strip("`"), kind) for kind, cls, _ in rows for name in cls.split(", ")]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(raised_kinds())
    assert {kind for _, kind in listed} == set(get_args(errors.Kind))
    source = "".join(path.read_text("utf-8") for path in MODULES)
    source = re.sub(r'"\s*\n\s*f?"', "", source)  # a message in several lines
    shown = [part for *_, cause in rows for part in re.findall("`([^`]+)`", cause)]
    shown = [part for part in shown if " " in part]
    assert len(shown) > 12
    assert [part for part in shown if part not in source] == []


@pytest.mark.build
def test_the_page_of_the_unknown_codec_has_what_programs_say(tmp_path):
    page = (DOCS / "howto" / "unknown-codec.md").read_text("utf-8")
    zarr.create_array(
        tmp_path / "a.zarr", data=np.zeros(2), serializer=CatervaCodec(), compressors=None
    )
    metadata = tmp_path / "a.zarr" / "zarr.json"
    metadata.write_text(metadata.read_text("utf-8").replace('"caterva"', '"cavetra"'), "utf-8")
    calls = {
        "zarr.errors": lambda: zarr.open_array(tmp_path / "a.zarr", mode="r"),
        "numcodecs.errors": lambda: numcodecs.get_codec({"id": "cavetra"}),
    }
    for module, call in calls.items():
        with pytest.raises(Exception, match="cavetra") as caught:
            call()
        assert (caught.type.__module__, caught.type.__name__) == (module, "UnknownCodecError")
        assert str(caught.value).replace("cavetra", "caterva") in page


def run_code(page, directory, replaced=("", ""), more="", **variables):
    """Run all of a page's code in order, in one folder, and more; warnings are errors."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert blocks
    code = directory / "page.py"
    code.write_text("\n".join([*blocks, more]).replace(*replaced), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", code],
        env={**os.environ, **variables},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_code_about_the_codec_runs(tmp_path):
    """With each release of zarr that is tested; and an array in a ZIP file has the same items."""
    more = """
from pathlib import Path
with zipfile.ZipFile("data.zip", "w") as file:
    for path in Path("data.zarr").rglob("*"):
        file.write(path, path.relative_to("data.zarr"))
assert (cat.open(Zipped("data.zip"))[99] == z[99]).all()
assert v2.metadata.zarr_format == 2
"""
    run_code(DOCS / "zarr.md", tmp_path, more=more)


@pytest.mark.build
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs(page, tmp_path):
    run_code(page, tmp_path)


@pytest.mark.build
def test_code_about_object_stores_runs(s3, nginx, web_directory):
    """With the buckets of our S3, and in the folder that our server of HTTP shows."""
    s3.create_bucket("maps")
    run_code(
        OBJECT_STORES,
        web_directory,
        replaced=("https://example.org", f"{nginx.url}/{web_directory.name}"),
        AWS_ENDPOINT_URL=s3.url,
        AWS_ALLOW_HTTP="true",
        AWS_ACCESS_KEY_ID=s3.KEY,
        AWS_SECRET_ACCESS_KEY=s3.KEY,
        AWS_DEFAULT_REGION=s3.REGION,
    )
