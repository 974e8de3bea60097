"""What `run.py peers` takes for right and wrong; the suites themselves run there."""

from __future__ import annotations

import re
import tomllib

import pytest
from checkout import ROOT

from tools import peers

EXPECTED = tomllib.loads((ROOT / "tests/peers/expected.toml").read_text(encoding="utf-8"))
LISTED = peers.Expected(("t.py::codec[*]",), ("t.py::server",), ())
OUTCOMES = {"t.py::codec[1]": "failed", "t.py::server": "failed", "t.py::right": "passed"}


def judge(changes=(), calls=5, whole=True, without=False):
    outcomes = {name: how for name, how in {**OUTCOMES, **dict(changes)}.items() if how}
    report = {"outcomes": outcomes, "messages": {"t.py::right": "no"}, "calls": {"encode": calls}}
    return peers.judge(report, LISTED, peers.Least(1, 5), without=without, whole=whole)


@pytest.mark.parametrize(
    ("changes", "options", "faults"),
    [
        ({}, {}, []),
        (
            {"t.py::right": "failed", "t.py::b": "passed"},
            {},
            ["unexpected failure: t.py::right: no"],
        ),
        ({"t.py::codec[2]": "passed"}, {}, ["listed, but passed: t.py::codec[2]"]),
        ({"t.py::server": "skipped"}, {}, ["listed, but skipped: t.py::server"]),
        ({"t.py::codec[1]": None}, {}, ["listed, but not among the tests: t.py::codec[*]"]),
        ({"t.py::codec[1]": None}, {"whole": False}, []),
        ({"t.py::right": None}, {}, ["0 tests passed; expected at least 1"]),
        ({}, {"calls": 4}, ["ours were called 4 times; expected at least 5"]),
        ({"t.py::codec[1]": "passed"}, {"without": True, "calls": 0}, []),
        ({}, {"without": True}, ["unexpected failure: t.py::codec[1]: None"]),
    ],
)
def test_verdicts(changes, options, faults):
    assert judge(changes, **options) == faults


def test_command_line():
    options = peers.parse(["zarr", "--without", "dask", "zarr", "-k", "zarr"])
    assert options == (("zarr", "dask"), False, True, ("-k", "zarr"))
    assert peers.parse([]).names == tuple(peers.SUITES)
    fast = peers.parse(["--fast"]).names
    assert fast and set(fast) < set(peers.SUITES)
    with pytest.raises(peers.Failure, match="no suite is named 'zar'; there are zarr, "):
        peers.parse(["zar"])
    with pytest.raises(peers.Failure, match="dask: no part is fast"):
        peers.parse(["--fast", "dask"])


def test_each_entry_names_suites_and_a_reason():
    assert EXPECTED.keys() <= set(peers.Expected._fields)
    for entry in [entry for entries in EXPECTED.values() for entry in entries]:
        assert entry.keys() == {"suites", "reason", "tests"}
        assert entry["tests"] and len(entry["reason"]) > 10
        assert set(entry["suites"]) <= set(peers.SUITES)
    for suite in peers.SUITES:
        listed = [test for tests in peers.read_expected(suite) for test in tests]
        assert len(listed) == len(set(listed))


def test_tests_are_of_the_versions_that_are_installed():
    names = {suite.environment for suite in peers.SUITES.values()}
    text = "".join((ROOT / f"requirements/{name}.txt").read_text() for name in names)
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", text, flags=re.M))
    manifest = tomllib.loads((ROOT / "tests/peers/manifest.toml").read_text(encoding="utf-8"))
    versions = {name: archive["version"] for name, archive in manifest["archives"].items()}
    assert versions.pop("caterva") == "0.7.3"  # not installed: its tests run with this package
    assert versions == {name: pins[name] for name in versions}
    sources = {suite.source for suite in peers.SUITES.values()} - {""}  # tests of ours have none
    assert sources == manifest["parts"].keys()
