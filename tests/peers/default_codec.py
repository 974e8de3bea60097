"""A pytest plugin that runs another package's tests with our codecs as Zarr's defaults.

`tools/peers.py` starts pytest with it and says in a variable what is wanted. The plugin writes how
each test ended, and how often our codecs were called: a suite that passes proves nothing where it
did not reach them.
"""

from __future__ import annotations

import atexit
import collections
import json
import os
import re
import sys
from pathlib import Path

import pytest

import caterva_cffi

WANTED = json.loads(os.environ["CATERVA_CFFI_PEERS"])
SOURCES = str(Path(caterva_cffi.__file__).parent)
CALLS: collections.Counter[str] = collections.Counter()
OUTCOMES: dict[str, str] = {}
MESSAGES: dict[str, str] = {}
DURATIONS: collections.Counter[str] = collections.Counter()


def fixed_size(dtype):
    """Tell whether items of a dtype of Zarr's have a size: others have a codec of their own."""
    from zarr.core.dtype.common import HasObjectCodec

    return not isinstance(dtype, HasObjectCodec)


def be_default_of_format_3():
    """Make `CatervaCodec` the serializer of new arrays, and one that shards are drawn with."""
    import hypothesis.strategies as st
    import zarr.core.array
    import zarr.testing.strategies
    from zarr.codecs import BytesCodec

    from caterva_cffi.zarr import CatervaCodec, PartialReadsOffWarning

    serializer = zarr.core.array.default_serializer_v3
    compressors = zarr.core.array.default_compressors_v3
    zarr.core.array.default_serializer_v3 = lambda dtype: (
        CatervaCodec() if fixed_size(dtype) else serializer(dtype)
    )
    zarr.core.array.default_compressors_v3 = lambda dtype: (
        () if fixed_size(dtype) else compressors(dtype)
    )
    zarr.testing.strategies.sharding_inner_codecs = st.sampled_from(
        [[CatervaCodec()], [BytesCodec()]]
    )
    return PartialReadsOffWarning


def be_default_of_format_2():
    """Make `Caterva` the compressor of new arrays; groups have a default of their own."""
    import zarr.core.array
    import zarr.core.group

    from caterva_cffi.numcodecs import Caterva

    compressor = zarr.core.array.default_compressor_v2
    zarr.core.array.default_compressor_v2 = lambda dtype: (
        Caterva() if fixed_size(dtype) else compressor(dtype)
    )
    parse = zarr.core.group._parse_deprecated_compressor

    def parse_deprecated_compressor(compressor, compressors, **options):
        if compressor == compressors == "auto":
            return "auto"
        return parse(compressor, compressors, **options)

    zarr.core.group._parse_deprecated_compressor = parse_deprecated_compressor


def take_small_blocks():
    """Cut blocks of two items a side and read 64 bytes at first: small arrays have many of both."""
    import caterva_cffi.zarr  # noqa: F401 - all modules that cut blocks
    from caterva_cffi import ReadPolicy, set_read_policy
    from caterva_cffi.codecs.parameters import Parameters
    from caterva_cffi.geometry import grid

    replaced = grid.default_blocks
    for name, module in list(sys.modules.items()):
        if name.startswith("caterva_cffi.") and getattr(module, "default_blocks", 0) is replaced:
            module.default_blocks = lambda chunks, itemsize: tuple(min(2, side) for side in chunks)
    assert Parameters().partition((5, 7, 1), 4)[1] == (2, 2, 1)
    for kind in ("local", "remote"):
        set_read_policy(kind, ReadPolicy(first=64, gap=0, whole=1.0, concurrency=4))


def draw_regular_grids():
    """Draw regular chunk grids in the place of rectilinear ones; tests still make those."""
    from zarr.core.metadata.v3 import RegularChunkGridMetadata
    from zarr.testing import strategies

    def regular(*, shape):
        sides = strategies.chunk_shapes(shape=shape)
        return sides.map(lambda side: RegularChunkGridMetadata(chunk_shape=side))

    strategies.rectilinear_chunk_grids = regular


def count_calls():
    """Count how often each function of ours starts whose name is asked for."""
    monitoring = sys.monitoring
    tool = next(number for number in range(6) if monitoring.get_tool(number) is None)

    def started(code, offset):
        if code.co_filename.startswith(SOURCES) and re.fullmatch(WANTED["calls"], code.co_qualname):
            CALLS[code.co_qualname] += 1
            return None
        return monitoring.DISABLE

    monitoring.use_tool_id(tool, "caterva_cffi.peers")
    monitoring.register_callback(tool, monitoring.events.PY_START, started)
    monitoring.set_events(tool, monitoring.events.PY_START)
    atexit.register(monitoring.set_events, tool, 0)  # else also while modules are torn down


def matches(pattern, name):
    """Tell whether a test's name is meant: `*` stands for any characters."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name, re.DOTALL) is not None


def pytest_configure(config):
    ignored = be_default_of_format_3() if "3" in WANTED["formats"] else None
    if ignored:
        # The tests set other codecs beside ours on purpose, and take warnings for errors.
        category = f"{ignored.__module__}.{ignored.__qualname__}"
        config.addinivalue_line("filterwarnings", f"ignore::{category}")
    if "2" in WANTED["formats"]:
        be_default_of_format_2()
    if WANTED["examples"]:
        from hypothesis import settings

        settings.register_profile("fewer", settings(), max_examples=WANTED["examples"])
        settings.load_profile("fewer")
    if WANTED["small"]:
        take_small_blocks()
    if not WANTED["rectilinear"]:
        draw_regular_grids()
    count_calls()


def pytest_report_header():
    return f"caterva_cffi from {SOURCES}: {WANTED}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    def left_out(item):
        return any(matches(pattern, item.nodeid) for pattern in WANTED["left_out"])

    out = list(filter(left_out, items))
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]


def note(report, outcome):
    OUTCOMES[report.nodeid] = outcome
    if outcome == "failed":
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash else str(report.longrepr)
        MESSAGES[report.nodeid] = text.strip().splitlines()[0][:300] if text.strip() else ""


def pytest_collectreport(report):
    if report.failed:
        note(report, "failed")


def pytest_runtest_logreport(report):
    DURATIONS[report.nodeid] += report.duration
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "xpassed"
    if OUTCOMES.get(report.nodeid) != "failed" and (report.when == "call" or outcome != "passed"):
        note(report, outcome)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    CALLS.update(node.workeroutput["caterva_cffi_calls"])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # one of pytest-xdist's processes
        session.config.workeroutput["caterva_cffi_calls"] = dict(CALLS)
        return
    slowest = dict(DURATIONS.most_common(20))
    report = {
        "outcomes": OUTCOMES,
        "messages": MESSAGES,
        "calls": dict(CALLS),
        "slowest": slowest,
    }
    Path(WANTED["report"]).write_text(json.dumps(report, indent=0), encoding="utf-8")
