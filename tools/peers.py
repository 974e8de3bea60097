"""Run the tests of other packages with this package's codecs as Zarr's defaults.

    python3 run.py peers                   every suite, as a whole: more than an hour
    python3 run.py peers --fast            the part that CI runs, in two minutes
    python3 run.py peers zarr xarray       only these suites (--list: all names)
    python3 run.py peers zarr -k stateful  what follows the names goes to pytest
    python3 run.py peers zarr --without    the same tests with Zarr's own codecs

The tests come from the peers' releases (tests/peers/manifest.toml). Which of them must fail, and
why, is listed in tests/peers/expected.toml. A failure that is not listed is an error, as is a
listed test that passes, or a suite of which too little ran. Output goes to build/peers/SUITE.log,
or to the terminal where one suite is named.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))

# Environments and wheels are made by what is beside this file.
from tools.environments import find_python, make_environment, only_one, version  # noqa: E402
from tools.processes import Failure, call, step  # noqa: E402
from tools.wheel_making import make_portable_wheel  # noqa: E402

HERE = ROOT / "tests" / "peers"
WORK = ROOT / "build" / "peers"
SOURCES = WORK / "src"
ZARR_PYTHON = ("3.12", "3.13")
"""What the environments may be made of: this zarr needs 3.12."""

ZARR_CALLS = r"CatervaCodec\._?(?:en|de)code(?!_sync).*|CatervaCodec\._(?:en|de)code_sync"
NUMCODECS_CALLS = r"Caterva\.(?:en|de)code.*"
ARRAY_CALLS = r"empty|full|zeros|from_buffer|asarray|open|NDArray\.(?:__getitem__|copy|resize)"
OURS = {"ZARR_CODEC_PIPELINE__PATH": "caterva_cffi.zarr.CatervaPipeline"}
FUSED = {"ZARR_CODEC_PIPELINE__PATH": "zarr.core.codec_pipeline.FusedCodecPipeline"}


class Least(NamedTuple):
    """What must have happened at least for a run to prove anything."""

    passed: int
    calls: int


class Suite(NamedTuple):
    """Tests of a peer, and how they are run here; without a source, tests of ours beside the peer.

    `{site}` in `arguments` is where the environment's packages are, `{here}` is tests/peers. An S3
    server with the bucket `bucket` is started where the tests look for one. Without `rectilinear`
    no chunk grids of that kind are drawn.
    """

    about: str
    source: str
    environment: str
    arguments: tuple[str, ...]
    least: Least
    fast: tuple[str, ...] = ()
    fast_least: Least = Least(0, 0)
    directory: str = ""
    formats: str = "23"
    small: bool = False
    calls: str = f"{ZARR_CALLS}|{NUMCODECS_CALLS}"
    variables: Mapping[str, str] = {}
    bucket: str = ""
    rectilinear: bool = True


ZARR = ("tests", "--ignore=tests/benchmarks", "--run-slow-hypothesis")
ZARR_FAST = (
    *("tests/test_array_stateful.py", "tests/test_properties.py", "--run-slow-hypothesis"),
    *("tests/test_codecs/test_sharding.py", "tests/test_codecs/test_codecs.py"),
    *("tests/test_codecs/test_numcodecs.py", "tests/test_codecs/test_transpose.py"),
    "tests/test_indexing.py",
)
ZARR_2_FAST = ("tests/test_v2.py", "tests/test_properties.py")
# These have no configuration of pytest's that can be taken.
PLAIN = ("-c", os.devnull, "--rootdir", ".", "-p", "no:asyncio")
OF_PACKAGE = ("-c", "pyproject.toml", "--rootdir", "{site}")
NUMCODECS = (*PLAIN, "--noconftest", "{here}/numcodecs_checks.py", "tests/test_registry.py")
PYTHON_CATERVA = (*PLAIN, "tests")
VIRTUAL = (*PLAIN, "-W", "error", "--noconftest", "{here}/virtual_stores.py")
VIRTUAL_CALLS = r"(PartReads|_ReadOnlyCodec|Blosc2BytesCodec|Blosc2)\._?decode_?.*"

SUITES = {
    "zarr": Suite(
        "zarr-python's tests with CatervaCodec as the serializer of format 3",
        # No part is fast: zarr-small has this pipeline, and the next two have these blocks.
        *("zarr", "peer-zarr", ZARR, Least(12_000, 300_000)),
        formats="3",
    ),
    "zarr-fused": Suite(
        "the same with zarr's fused pipeline",
        *("zarr", "peer-zarr", ZARR, Least(12_000, 300_000), ZARR_FAST, Least(1_150, 30_000)),
        formats="3",
        variables=FUSED,
    ),
    "zarr-pipeline": Suite(
        "the same with our own pipeline",
        # It decodes chunks in files and memory by calls that are not counted.
        *("zarr", "peer-zarr", ZARR, Least(12_000, 250_000), ZARR_FAST, Least(1_150, 25_000)),
        formats="3",
        variables=OURS,
    ),
    "zarr-small": Suite(
        "the same with blocks of two items and first reads of 64 bytes",
        *("zarr", "peer-zarr", ZARR, Least(12_000, 300_000), ZARR_FAST, Least(1_150, 30_000)),
        formats="3",
        small=True,
    ),
    "zarr-2": Suite(
        "the same with Caterva as the compressor of format 2, and nothing of ours in format 3",
        *("zarr", "peer-zarr", ZARR, Least(12_000, 60_000), ZARR_2_FAST, Least(50, 1_000)),
        formats="2",
    ),
    "numcodecs": Suite(
        "numcodecs' checks of a codec",
        *("numcodecs", "peer-zarr", NUMCODECS, Least(800, 8000), NUMCODECS, Least(800, 8000)),
        formats="",
        variables={"PYTHONPATH": str(SOURCES / "numcodecs")},
    ),
    "python-caterva": Suite(
        "python-caterva's tests, with this package for `caterva`",
        *("caterva", "peer-zarr", PYTHON_CATERVA, Least(34, 70), PYTHON_CATERVA, Least(34, 70)),
        formats="",
        calls=ARRAY_CALLS,
        variables={"PYTHONPATH": str(HERE / "shim")},
    ),
    "xarray": Suite(
        "xarray's tests of its Zarr backend",
        *("xarray", "peer-users"),
        # The package lacks the configuration that stands at its sources' top.
        (*OF_PACKAGE, "-p", "conftest", "{site}/xarray/tests/test_backends.py", "-k", "zarr"),
        Least(1_500, 15_000),
        variables={"PYTHONPATH": str(SOURCES / "xarray")},
    ),
    "dask": Suite(
        "dask's tests that name Zarr",
        *("dask", "peer-users"),
        (
            *(*OF_PACKAGE, "-p", "no:asyncio", "-k", "zarr or xarray"),
            *(f"{{site}}/dask/array/tests/test_{name}.py" for name in ("array_core", "xarray")),
            *(f"{{site}}/dask/tests/test_{name}.py" for name in ("distributed", "order", "sizeof")),
        ),
        Least(55, 5_000),
    ),
    "icechunk": Suite(
        "icechunk's tests",
        *("icechunk", "peer-users", ("tests",), Least(680, 50_000)),
        directory="icechunk-python",
        bucket="http://localhost:4200/testbucket",
        rectilinear=False,  # this icechunk cannot read what this zarr writes of them
    ),
    "anndata": Suite(
        "anndata's tests that write or read Zarr",
        *("anndata", "peer-users"),
        ("--import-mode=importlib", "-p", "testing.anndata._pytest", "tests", "-k", "zarr"),
        Least(1_400, 50_000),
        variables={"PYTHONPATH": str(SOURCES / "anndata" / "src")},
    ),
    "virtual": Suite(
        "HDF5 and .b2nd files through VirtualiZarr, icechunk and kerchunk's references",
        *("", "peer-virtual", VIRTUAL, Least(28, 1_000), VIRTUAL, Least(28, 1_000)),
        formats="",
        calls=VIRTUAL_CALLS,
        variables={"PYTHONPATH": str(ROOT / "tests" / "support")},
    ),
    "ome-zarr": Suite(
        "ome-zarr's tests",
        *("ome-zarr", "peer-users", (*PLAIN, "tests"), Least(460, 15_000)),
    ),
}


# --- what is expected -----------------------------------------------------------------------------


class Expected(NamedTuple):
    """The tests of one suite that are listed, each list as patterns."""

    differs: tuple[str, ...]
    fails_anyway: tuple[str, ...]
    left_out: tuple[str, ...]


def read_expected(suite: str, path: Path = HERE / "expected.toml") -> Expected:
    """Read what is listed of a suite."""
    lists = tomllib.loads(path.read_text(encoding="utf-8"))
    return Expected(
        *(
            tuple(
                test
                for entry in lists.get(kind, ())
                if suite in entry["suites"]
                for test in entry["tests"]
            )
            for kind in Expected._fields
        )
    )


def matching(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """Return the names that a pattern means; `*` in one stands for any characters."""
    texts = [re.escape(pattern).replace(r"\*", ".*") for pattern in patterns]
    meant = re.compile("|".join(texts) or "(?!)", re.DOTALL)
    return {name for name in names if meant.fullmatch(name)}


def judge(
    report: Mapping[str, Any], expected: Expected, least: Least, *, without: bool, whole: bool
) -> list[str]:
    """Say what is wrong with how a suite's tests ended; nothing is an empty list.

    Parameters
    ----------
    report : mapping
        What the plugin wrote.
    expected : Expected
        What is listed.
    least : Least
        How many tests must have passed, and how often ours must have been called.
    without : bool
        Whether Zarr had its own codecs: then those that differ must pass.
    whole : bool
        Whether all tests ran, so that each that is listed must be there.
    """
    outcomes = report["outcomes"]
    messages = report["messages"]
    listed = [*expected.fails_anyway, *(() if without else expected.differs)]
    meant = matching(listed, outcomes)
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    faults = [f"unexpected failure: {test}: {messages.get(test)}" for test in failed - meant]
    faults += [f"listed, but {outcomes[test]}: {test}" for test in meant - failed]
    if whole:
        lost = [pattern for pattern in listed if not matching([pattern], outcomes)]
        faults += [f"listed, but not among the tests: {pattern}" for pattern in lost]
    passed = sum(outcome == "passed" for outcome in outcomes.values())
    if passed < least.passed:
        faults.append(f"{passed} tests passed; expected at least {least.passed}")
    calls = sum(report["calls"].values())
    if calls < least.calls and not without:
        faults.append(f"ours were called {calls} times; expected at least {least.calls}")
    return sorted(faults)


# --- running --------------------------------------------------------------------------------------


class Options(NamedTuple):
    """What the command line asks for."""

    names: tuple[str, ...]
    fast: bool
    without: bool
    pytest: tuple[str, ...]


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line: our options and names, then what is pytest's."""
    own = ("--fast", "--without")
    mine = 0
    while mine < len(arguments) and (arguments[mine] in own or arguments[mine] in SUITES):
        mine += 1
    rest = tuple(arguments[mine:])
    if rest and not rest[0].startswith("-"):
        raise Failure(f"no suite is named {rest[0]!r}; there are {', '.join(SUITES)}.")
    named = tuple(dict.fromkeys(word for word in arguments[:mine] if word in SUITES))
    fast, without = (option in arguments[:mine] for option in own)
    names = named or tuple(name for name, suite in SUITES.items() if suite.fast or not fast)
    lacking = [name for name in names if fast and not SUITES[name].fast]
    if lacking:
        raise Failure(f"{', '.join(lacking)}: no part is fast. Leave out --fast.")
    return Options(names, fast, without, rest)


def make_python(environment: str) -> Path:
    """Make an environment that peers' tests run in; return its Python."""
    python = next(filter(None, map(find_python, ZARR_PYTHON)), None)
    if not python:
        raise Failure(f"the peers' tests need Python {' or '.join(ZARR_PYTHON)}.")
    name = f"{environment}-{version(python)}"
    return make_environment(name, python, (environment,), make_portable_wheel)


def fetch_sources(python: Path, names: Iterable[str]) -> None:
    """Download and unpack the releases whose tests are run."""
    parts = sorted(filter(None, {SUITES[name].source for name in names}))
    if not parts:
        SOURCES.mkdir(parents=True, exist_ok=True)
        return
    command: list[str | Path] = [python, ROOT / "vendor" / "fetch.py", *parts]
    command += ["--manifest", HERE / "manifest.toml", "--dest", SOURCES]
    with step(f"tests of {', '.join(parts)}"):
        call(command, WORK / "fetch.log")


@contextlib.contextmanager
def serving(bucket: str, python: Path) -> Iterator[None]:
    """Let an S3 server answer where a URL says, with an empty bucket; no URL, no server."""
    if not bucket:
        yield
        return
    address = urllib.parse.urlsplit(bucket)
    with (WORK / "s3.log").open("wb") as log:
        command = [str(python), "-m", "moto.server", "-H", address.hostname or "localhost"]
        server = subprocess.Popen([*command, "-p", str(address.port)], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(urllib.error.URLError):
                    urllib.request.urlopen(urllib.request.Request(bucket, method="PUT")).close()
                    break
                if server.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"no S3 server at {bucket}: see build/peers/s3.log")
                time.sleep(0.2)
            yield
        finally:
            server.kill()
            server.wait()


def start(name: str, options: Options, python: Path, output: Any) -> tuple[dict[str, Any], int]:
    """Run a suite; return what the plugin wrote and pytest's exit code."""
    suite = SUITES[name]
    report = WORK / f"{name}.json"
    report.unlink(missing_ok=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.check_output([python, "-c", code], text=True).strip()
    wanted = {
        "report": str(report),
        "calls": suite.calls,
        "formats": "" if options.without else suite.formats,
        "small": suite.small and not options.without,
        "rectilinear": suite.rectilinear,
        "examples": 40 if options.fast else None,
        "left_out": read_expected(name).left_out,
    }
    paths = [str(HERE), suite.variables.get("PYTHONPATH"), os.environ.get("PYTHONPATH")]
    variables = {
        "HYPOTHESIS_PROFILE": "ci",
        **os.environ,
        **suite.variables,
        "CATERVA_CFFI_PEERS": json.dumps(wanted),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(WORK / "hypothesis" / name),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        # Else the working directory is searched first, where some have their sources.
        "PYTHONSAFEPATH": "1",
    }
    arguments = [
        argument.replace("{site}", site).replace("{here}", str(HERE))
        for argument in (suite.fast if options.fast else suite.arguments)
    ]
    # Of their own options none is taken: they ask for coverage, doctests and more processes.
    common = ["-o", "addopts=", "-p", "default_codec", "-p", "no:cacheprovider", "-q", "-rfE"]
    common += ["--hypothesis-seed=0"]
    with serving(suite.bucket, python):
        status = subprocess.run(
            [python, "-m", "pytest", *common, *arguments, *options.pytest],
            cwd=SOURCES / suite.source / suite.directory,
            env=variables,
            stdout=output,
            stderr=output and subprocess.STDOUT,
        ).returncode
    if not report.exists():
        return {"outcomes": {}, "messages": {}, "calls": {}, "slowest": {}}, status
    return json.loads(report.read_text(encoding="utf-8")), status


def run_suite(name: str, options: Options, python: Path, shown: bool) -> list[str]:
    """Run a suite and print how it went; return what is wrong."""
    suite = SUITES[name]
    begin = time.monotonic()
    if shown:
        report, status = start(name, options, python, None)
    else:
        with (WORK / f"{name}.log").open("wb") as log:
            report, status = start(name, options, python, log)
    narrowed = bool(options.pytest)
    least = suite.fast_least if options.fast else suite.least
    faults = judge(
        report,
        read_expected(name),
        Least(0, 0) if narrowed else least,
        without=options.without,
        whole=not narrowed and not options.fast,
    )
    if status not in (0, 1) or (status == 1 and "failed" not in report["outcomes"].values()):
        faults.append(f"pytest ended with {status}; see build/peers/{name}.log")
    counts = Counter(report["outcomes"].values())
    ended = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    calls = sum(report["calls"].values())
    seconds = time.monotonic() - begin
    lines = [f"{name}: {ended or 'no test'}; {calls} calls of ours; {seconds:.0f} s"]
    print("\n    ".join([*lines, *faults]), flush=True)
    return faults


def main(arguments: Sequence[str]) -> int:
    """Run the suites that are asked for; return the exit code."""
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    if "--list" in arguments:
        for name, suite in SUITES.items():
            print(f"{name:15} {suite.about}{' (also --fast)' if suite.fast else ''}")
        return 0
    try:
        options = parse(arguments)
        wanted = dict.fromkeys(SUITES[name].environment for name in options.names)
        pythons = {environment: make_python(environment) for environment in wanted}
        with only_one("peers"):
            fetch_sources(next(iter(pythons.values())), options.names)
    except Failure as failure:
        print(f"run.py: {failure}", file=sys.stderr)
        return 1
    alone = len(options.names) == 1
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(
            lambda name: run_suite(name, options, pythons[SUITES[name].environment], alone),
            options.names,
        )
        faults = sum(map(len, found))
    print(f"{len(options.names)} suites, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
