"""`convert`: arrays and groups written with other codecs, chunks or formats."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from typing import Any

from caterva_cffi.codecs.coding import SHUFFLES
from caterva_cffi.codecs.compressors import CNAMES
from caterva_cffi.commands.advise import parse_access
from caterva_cffi.commands.output import (
    DIFFERENT,
    add_source,
    json_object,
    print_error,
    print_json,
    print_text,
)
from caterva_cffi.conversion.convert import convert
from caterva_cffi.conversion.options import FORMATS
from caterva_cffi.conversion.progress import Progress
from caterva_cffi.errors import DifferenceError

__all__ = ["add", "run"]

_EVERY = 0.2  # seconds between two lines of progress
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}

_EPILOG = """\
examples:
  caterva convert model.nc model.zarr --cname zstd     a whole NetCDF 4 file
  caterva convert data.h5:group/field field.b2nd       one dataset
  caterva convert big.zarr s3://bucket/big.zarr --chunks time=1,y=512,x=512
  caterva convert big.zarr out.zarr --advise 'planes along 0' --advise items@50
  caterva convert field.b2nd field.zarr --dry-run      what would be done

exit codes: 0 it is done; 1 --verify found other items than the source's; 2 it could not be done;
130 it was interrupted. After 1 and 130, and most often after 2, the destination is incomplete:
--resume goes on, --overwrite begins again, or remove it.
"""


def _memory(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?|[KMG]i)B?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; expected such as 500MB or 2GiB")
    return int(float(found[1]) * _UNITS[found[2]])


def _shape(text: str) -> Any:
    try:
        if "=" in text:
            pairs = (part.split("=") for part in text.split(","))
            return {name.strip(): int(length) for name, length in pairs}
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape; expected such as 1,512,512 or time=1,y=512"
        ) from None


def _parameter(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    try:
        return name, json.loads(value if found else "")
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no parameter; expected such as precision=12 or use_dict=true"
        ) from None


def add(commands: Any) -> None:
    """Add the command to a parser's."""
    parser = commands.add_parser(
        "convert",
        help="write an array or a group with other codecs, chunks or formats",
        description="Convert an array, or a group with all that is in it, from Zarr 2 and 3, HDF5, "
        "NetCDF 4, .b2nd and .npy to Zarr with the codec 'caterva', to plain Zarr, or to a "
        ".b2nd file. Compressed chunks are copied as they are where their shape allows.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument("destination", metavar="DST", help="a path or URL")
    parser.add_argument("--destination-options", type=json_object, metavar="JSON")
    _add_how(parser)
    _add_what(parser)
    parser.set_defaults(run=run)


def _add_how(parser: argparse.ArgumentParser) -> None:
    how = parser.add_argument_group("how it is stored")
    how.add_argument(
        "--format", choices=FORMATS, help="by default b2nd if DST ends with .b2nd, else zarr"
    )
    how.add_argument("--zarr-format", type=int, choices=(2, 3), help="default 3")
    shape: dict[str, Any] = {"type": _shape, "metavar": "N,N,..."}
    how.add_argument("--chunks", **shape, help="or NAME=N,...; by default as in the source")
    how.add_argument("--shards", **shape, help="of Zarr: shards of whole chunks")
    how.add_argument("--blocks", **shape, help="by default chosen for each chunk shape")
    how.add_argument(
        "--advise", action="append", default=[], metavar="ACCESS",
        help="choose chunks and blocks for what is read, such as 'planes along 0' or 'items@100'; "
        "see `caterva advise`; may be repeated",
    )  # fmt: skip
    how.add_argument("--cname", choices=list(CNAMES), help="codec of the blocks; default lz4")
    how.add_argument("--clevel", type=int, choices=range(10), metavar="0-9", help="default 5")
    how.add_argument("--shuffle", choices=list(SHUFFLES), help="default shuffle")
    how.add_argument(
        "--codec", action="append", default=[], type=_parameter, metavar="NAME=JSON",
        help="another parameter of the codec; may be repeated",
    )  # fmt: skip
    how.add_argument(
        "--checksum", action="store_const", const=True, help="store a checksum with each block"
    )


def _add_what(parser: argparse.ArgumentParser) -> None:
    what = parser.add_argument_group("what is done")
    what.add_argument(
        "--exclude", action="append", default=[], metavar="PATTERN",
        help="leave out arrays and groups, such as 'quality/*'; may be repeated",
    )  # fmt: skip
    what.add_argument(
        "--memory", type=_memory, default=1 << 30, metavar="SIZE", help="default 1GiB"
    )
    what.add_argument("--threads", type=int, metavar="N", help="default all processors")
    what.add_argument("--overwrite", action="store_true", help="replace what exists")
    what.add_argument("--resume", action="store_true", help="go on with what was not completed")
    what.add_argument("--verify", action="store_true", help="compare with the source afterwards")
    what.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    what.add_argument("--quiet", action="store_true", help="show no progress")
    what.add_argument("--json", action="store_true", help="print JSON, for programs")


class _Line:
    """A line of progress on a terminal."""

    def __init__(self) -> None:
        self._next, self._shown = 0.0, False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next or progress.done == progress.total:
            self._next, self._shown = now + _EVERY, True
            text = f"{progress}  /{progress.array}"[:100]
            print_text(f"\r\033[K{text}", sys.stderr, end="")

    def end(self) -> None:
        """Make room for what is printed next."""
        if self._shown:
            print_text("\r\033[K", sys.stderr, end="")


def run(options: argparse.Namespace) -> int:
    """Convert."""
    line = _Line() if sys.stderr.isatty() and not options.quiet else None
    names = (
        "format", "zarr_format", "chunks", "shards", "blocks", "cname", "clevel", "shuffle",
        "checksum", "exclude", "memory", "overwrite", "resume", "verify", "dry_run",
    )  # fmt: skip
    given = {name: getattr(options, name) for name in names}
    try:
        done = convert(
            options.source,
            options.destination,
            nthreads=options.threads,
            progress=line,
            codec=dict(options.codec),
            advise=list(map(parse_access, options.advise)),
            storage_options=options.source_options,
            destination_options=options.destination_options,
            **given,
        )
    except DifferenceError as error:
        print_error(error)
        return DIFFERENT
    finally:
        if line is not None:
            line.end()
    if options.json:
        print_json(done.to_dict())
    else:
        print_text(str(done))
    return 0
