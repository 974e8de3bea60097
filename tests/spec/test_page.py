"""The page on the format: its example, and its links between rules and sections."""

from __future__ import annotations

import json
import re

import numpy as np
from reference_reader import SPEC, reader

from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

PAGE = (SPEC / "caterva.md").read_text("utf-8")


def rules(text):
    """Return the rules that a text defines."""
    return re.findall(r"^(?:- )?\*\*(R-\d+)[.*]", text, re.M)


def test_the_example_is_what_is_written():
    lines = re.search(r"^```text\n(.*?)^```", PAGE, re.S | re.M)[1].splitlines()
    found = b""
    for line in lines:
        at, octets = re.match(r" *(\d+)  ((?:[0-9a-f]{2} ?)+)", line).groups()
        assert int(at) == len(found)
        found += bytes.fromhex(octets)
    items = np.arange(64, dtype="<i2").reshape(4, 16)
    assert found == Caterva(block_shape=(4, 8)).encode(items)
    assert (reader.Frame(found).read() == items).all()


def test_rules_are_unique_and_the_reader_names_them():
    defined = rules(PAGE)
    assert len(defined) == len(set(defined)) > 70
    assert set(re.findall(r"R-\d+", PAGE)) == set(defined)
    named = set(re.findall(r'"(R-\d+)"', (SPEC / "reader.py").read_text("utf-8")))
    assert named <= set(defined)


def test_sections_that_are_named_exist():
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", PAGE, re.M))
    text = (SPEC / "README.md").read_text("utf-8") + (SPEC / "reader.py").read_text("utf-8")
    named = set(re.findall(r"\((\d+\.\d+)\)", text)) | set(re.findall(r"--- (\d+)\.", text))
    assert named <= sections


def test_configurations_on_the_pages_are_valid():
    text = PAGE + (SPEC / "README.md").read_text("utf-8")
    examples = re.findall(r"^```json\n(.*?)^```", text, re.S | re.M)
    assert len(examples) == 2
    for example in examples:
        CatervaCodec.from_dict(json.loads(example)["codecs"][0])
