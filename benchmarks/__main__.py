"""The benchmarks: ours and the peers on the same arrays, in turns.

python3 run.py bench                      all parts; writes docs/benchmarks-all.md and its plots
python3 run.py bench kernel               one part
python3 run.py bench --quick              smaller arrays and fewer rounds; docs stay as they are
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import (
    checksums,
    codings,
    cold,
    convert,
    crops,
    default_blocks,
    defaults,
    formula,
    growth,
    kernel,
    learning,
    machine,
    partitions,
    remote,
    report,
    small_chunks,
    writes,
    zarr_slices,
)
from benchmarks.timing import Budget

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "benchmarks-all.md"


@dataclass(frozen=True)
class Part:
    """A part of the benchmarks: what measures, and what writes."""

    run: Callable[..., Iterator[Any]]
    write: Callable[[Sequence[Any], Path], str]
    full: Any
    quick: Any
    tiny: Any


PARTS = {
    name: Part(module.run, getattr(report, name), module.Size(), module.QUICK, module.TINY)
    for name, module in (
        ("defaults", defaults),
        ("kernel", kernel),
        ("checksums", checksums),
        ("codings", codings),
        ("zarr_slices", zarr_slices),
        ("crops", crops),
        ("formula", formula),
        ("writes", writes),
        ("cold", cold),
        ("growth", growth),
        ("small_chunks", small_chunks),
        ("convert", convert),
        ("partitions", partitions),
        ("default_blocks", default_blocks),
        ("remote", remote),
        ("learning", learning),
    )
}
BUDGETS = {"full": Budget(1.0), "quick": Budget(0.3, least=3), "tiny": Budget(0.0, least=2)}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("bench", description=__doc__, formatter_class=form)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(PARTS)}; default all")
    parser.add_argument("--quick", dest="size", action="store_const", const="quick", default="full")
    parser.add_argument("--tiny", dest="size", action="store_const", const="tiny", help="for tests")
    parser.add_argument("--page", type=Path, help=f"the page to write; default: docs/{PAGE.name}")
    parser.add_argument(
        "--directory", type=Path, help="for up to 3 GB of files; default: temporary"
    )
    options = parser.parse_args(arguments)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
    if options.page is None:
        options.page = PAGE if options.size == "full" else ROOT / "results" / "bench" / PAGE.name
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    options = parse(arguments)
    if not options.page.exists():
        options.page.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PAGE, options.page)
    for name in options.parts or PARTS:
        part = PARTS[name]
        where = machine.describe()
        print(f"=== {name}\n{where}", flush=True)
        results, others = [], machine.Others()
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            size = getattr(part, options.size)
            for result in part.run(Path(directory), BUDGETS[options.size], size):
                print(report.line(result), flush=True)
                results.append(result)
        plots = options.page.with_suffix("")
        text = f"{where} {others.describe()}\n\n{part.write(results, plots)}"
        print(others.describe())
        report.insert(options.page, name, text)
    print(f"written to {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
