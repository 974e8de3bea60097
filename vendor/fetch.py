"""Fetch the vendored C sources that `manifest.toml` names and unpack them into `src/`.

    python vendor/fetch.py             fetch and unpack what is missing
    python vendor/fetch.py caterva     only this part
    python vendor/fetch.py --check     verify every unpacked file; exit with 1 if one is missing

An archive is unpacked only after its SHA-256 has been verified, into a work directory beside the
destination; a finished part then moves into place with one rename. Killing this program at any
moment therefore leaves each part whole or absent; the next run removes what was left behind.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import tarfile

HERE = Path(__file__).resolve().parent
STAMP = ".vendor-stamp.json"
LICENSES = "VENDORED_LICENSES.txt"
# Part of every stamp: raise it when the same manifest starts to unpack to something else.
LAYOUT = 1

ATTEMPTS = 2  # at each index
CONNECT_TIMEOUT = 20.0  # seconds without a byte
DOWNLOAD_TIMEOUT = 1800.0  # seconds for one archive
LOCK_TIMEOUT = 1800.0  # seconds to wait for another run


class FetchError(Exception):
    """What went wrong, and what to do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}\n{self.remedy}"


class Archive(NamedTuple):
    """A source distribution on a package index."""

    project: str
    version: str
    file: str
    sha256: str


class Part(NamedTuple):
    """A library inside an archive."""

    name: str
    version: str
    archive: Archive
    subtree: str
    license: str
    license_files: tuple[str, ...]
    license_comments: tuple[str, ...] = ()
    keep: tuple[str, ...] = ("*",)
    leave_out: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides what is unpacked."""
        return hashlib.sha256(json.dumps([LAYOUT, self]).encode()).hexdigest()


def read_manifest(path: Path) -> list[Part]:
    """Read the parts, and the archives they come from, out of a manifest."""
    import tomllib

    try:
        manifest = tomllib.loads(path.read_text("utf-8"))
        archives = {
            project: Archive(project=project, **entry)
            for project, entry in manifest["archives"].items()
        }
        parts = []
        for name, entry in manifest["parts"].items():
            fields: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value
                for key, value in entry.items()
            }
            fields["archive"] = archives[entry["archive"]]
            parts.append(Part(name=name, **fields))
        return parts
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FetchError(
            f"cannot read the manifest {path}: {type(error).__name__}: {error}",
            "Compare it with the description at the top of vendor/manifest.toml.",
        ) from None


# What is there already


def read_stamp(part: Part, dest: Path) -> dict[str, str] | None:
    """Return the SHA-256 of each file of an unpacked part, or None if it is absent or outdated."""
    try:
        stamp = json.loads((dest / part.name / STAMP).read_text("utf-8"))
        return dict(stamp["files"]) if stamp["digest"] == part.digest else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_unpacked(part: Part, dest: Path) -> bool:
    """Tell whether a part is there with all of its files; their contents are not read."""
    files = read_stamp(part, dest)
    root = os.path.join(dest, part.name)
    return files is not None and all(os.path.isfile(os.path.join(root, name)) for name in files)


def find_faults(part: Part, dest: Path) -> list[str]:
    """Say what is missing from an unpacked part or differs from what was unpacked."""
    files = read_stamp(part, dest)
    if files is None:
        state = "outdated" if (dest / part.name).exists() else "missing"
        return [f"{part.name} {part.version} is {state}: {dest / part.name}"]
    faults = []
    for name, sha256 in files.items():
        path = dest / part.name / name
        if not path.is_file():
            faults.append(f"{part.name} lacks a file: {path}")
        elif hash_file(path) != sha256:
            faults.append(f"{part.name} has a file that was changed: {path}")
    return faults


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# One run at a time


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it even if this process is killed."""
    with path.open("a+b") as file:
        deadline = time.monotonic() + LOCK_TIMEOUT
        announced = False
        while not _try_lock(file.fileno()):
            if not announced:
                say("waiting for another fetch to finish")
                announced = True
            if time.monotonic() > deadline:
                raise FetchError(
                    f"another run has held {path} for {LOCK_TIMEOUT:.0f} s",
                    "End it, or wait for it, and run this again.",
                )
            time.sleep(0.1)
        yield


if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> bool:
        os.lseek(fd, 0, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# Getting archives


def by_hand(archive: Archive) -> str:
    """Say how to provide an archive without downloading it here."""
    return (
        "Or get this file in another way, put it into a directory, and name that directory with\n"
        "--sdists DIR or in the environment variable CATERVA_CFFI_SDISTS:\n"
        f"  {archive.file}, version {archive.version} of {archive.project},\n"
        f"  SHA-256 {archive.sha256}"
    )


def get_archive(archive: Archive, sdists: Path | None, work: Path) -> Path:
    """Return the path of an archive whose hash has been verified."""
    if sdists is not None:
        path = sdists / archive.file
        if not path.is_file():
            raise FetchError(
                f"{archive.file} is not in {sdists.absolute()}",
                "Put it there, or leave out --sdists and CATERVA_CFFI_SDISTS to download it:\n"
                f"  version {archive.version} of {archive.project}, SHA-256 {archive.sha256}",
            )
    else:
        path = download(archive, work)
    found = hash_file(path)
    if found != archive.sha256:
        raise FetchError(
            f"{archive.file} is not the file that the manifest names: its SHA-256\n"
            f"  is          {found}\n"
            f"  instead of  {archive.sha256}\n"
            f"It came from {path if sdists is not None else 'the package index'} "
            f"({path.stat().st_size} bytes); nothing was unpacked.",
            "The download may be broken: run this again. If it stays so, do not trust where the\n"
            "file comes from: use another index (PIP_INDEX_URL).\n" + by_hand(archive),
        )
    return path


class IndexSettings(NamedTuple):
    """Where pip is configured to find distributions."""

    index_urls: list[str]
    find_links: list[str]
    trusted_hosts: list[str]
    cert: str | None


def read_pip_settings() -> IndexSettings:
    """Read the configuration files and, above them, the environment variables of pip."""
    values = _read_pip_configuration()
    for key in ("index-url", "extra-index-url", "find-links", "trusted-host", "no-index", "cert"):
        if value := os.environ.get("PIP_" + key.upper().replace("-", "_")):
            values[key] = value

    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        index_urls = []
    else:
        index_urls = values.get("index-url", "https://pypi.org/simple/").split()
        index_urls += values.get("extra-index-url", "").split()
    return IndexSettings(
        index_urls,
        find_links=values.get("find-links", "").split(),
        trusted_hosts=values.get("trusted-host", "").split(),
        cert=values.get("cert"),
    )


def _read_pip_configuration() -> dict[str, str]:
    import ast
    import subprocess

    # Only pip knows where its files are on each platform. An isolated build may lack it.
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    try:
        listing = subprocess.run(
            command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return {}
    sections: dict[str, dict[str, str]] = {"global": {}, "download": {}}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, option = key.partition(".")
        if section in sections:
            sections[section][option] = str(ast.literal_eval(value))
    return sections["global"] | sections["download"]


def download(archive: Archive, work: Path) -> Path:
    """Download an archive from the first configured index that gives it."""
    try:
        import unearth
    except ImportError:
        raise FetchError(
            f"the C sources are missing, and downloading {archive.file} needs `unearth`",
            f"Run: {sys.executable} -m pip install unearth\n" + by_hand(archive),
        ) from None

    settings = read_pip_settings()
    session = _open_session(settings)
    sources = [(url, True) for url in settings.find_links]
    sources += [(url, False) for url in settings.index_urls]
    failures: dict[str, str] = {}
    for _ in range(ATTEMPTS):
        for url, is_page in sources:
            with _warnings_of_unearth() as warnings:
                try:
                    # No Python version is wrong for a source distribution that is only unpacked.
                    finder = unearth.PackageFinder(
                        session=session,
                        ignore_compatibility=True,
                        index_urls=[] if is_page else [url],
                        find_links=[url] if is_page else [],
                    )
                    for package in finder.find_all_packages(archive.project, allow_yanked=True):
                        if package.link.filename == archive.file:
                            where = redact(package.link.url_without_fragment)
                            say(f"downloading {where}")
                            target = work / f"download-{len(os.listdir(work))}"
                            return finder.download(package.link, target, {}, Progress(archive))
                    failures[url] = "; ".join(warnings) or f"has no {archive.file}"
                except Exception as error:  # whatever unearth's HTTP client raises
                    failures[url] = f"{type(error).__name__}: {error}"
    listing = redact("".join(f"\n  {url}: {reason}" for url, reason in failures.items()))
    raise FetchError(
        f"cannot download {archive.file}:{listing or ' pip is configured to use no index'}",
        "Check the network connection, the proxy (HTTPS_PROXY) and the index (PIP_INDEX_URL,\n"
        "PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS or pip's configuration), and run this again.\n"
        + by_hand(archive),
    )


@contextmanager
def _warnings_of_unearth() -> Iterator[list[str]]:
    """Collect what unearth logs, rather than raises, about a source that it skips."""
    import logging

    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger = logging.getLogger("unearth")
    handler = Collector(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)


def _open_session(settings: IndexSettings) -> Any:
    import ssl

    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    try:
        verify = ssl.create_default_context(cafile=settings.cert) if settings.cert else True
    except OSError as error:
        raise FetchError(
            f"cannot read the certificates {settings.cert}: {error}",
            "Correct PIP_CERT, or `cert` in pip's configuration.",
        ) from None
    session = PyPIClient(
        trusted_hosts=settings.trusted_hosts, verify=verify, timeout=CONNECT_TIMEOUT
    )
    session.auth = MultiDomainBasicAuth(prompting=False, index_urls=settings.index_urls)
    return session


def redact(text: str) -> str:
    """Remove credentials from the URLs in a text."""
    import re

    return re.sub(r"://[^/@\s]*@", "://", text)


class Progress:
    """Prints how much was downloaded, and ends a download that takes forever."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.start = self.last = time.monotonic()

    def __call__(self, link: object, completed: int, total: int | None) -> None:
        """Take note of the bytes downloaded so far."""
        now = time.monotonic()
        if now - self.start > DOWNLOAD_TIMEOUT:
            raise TimeoutError(f"not finished after {DOWNLOAD_TIMEOUT:.0f} s ({completed} bytes)")
        if now - self.last > 2:
            self.last = now
            of = f" of {total / 1e6:.0f}" if total else ""
            say(f"  {self.archive.file}: {completed / 1e6:.0f}{of} MB")


# Unpacking


def check_member(member: tarfile.TarInfo, archive: Archive) -> None:
    """Refuse an archive member that is not a plain file or directory inside the archive's tree."""
    name = member.name
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or (len(name) > 1 and name[1] == ":"):
        problem = "has an absolute path"
    elif ".." in parts:
        problem = "has `..` in its path"
    elif "\\" in name or "\0" in name:
        problem = "has a path that means something else on another system"
    elif member.issym() or member.islnk():
        # Not even links that stay inside: none of our archives has any, and without links
        # no path can lead anywhere but where it says.
        problem = f"is a link to {member.linkname!r}"
    elif not (member.isreg() or member.isdir()):
        problem = "is a device or another special file"
    else:
        return
    raise FetchError(
        f"{archive.file} is refused: its member {name!r} {problem}",
        "Nothing was unpacked. A source distribution holds plain files and directories only;\n"
        "do not use this one, and correct the archive's entry in the manifest.",
    )


class Selector:
    """Decides which files of a part's subtree are unpacked, and which patterns matched nothing."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.unused = set(part.keep) | set(part.leave_out)

    def __call__(self, path: str) -> bool:
        """Tell whether a file, named relative to the subtree, is unpacked."""
        kept = self._match(path, self.part.keep)
        left_out = self._match(path, self.part.leave_out)
        return kept and not left_out

    def _match(self, path: str, patterns: tuple[str, ...]) -> bool:
        # A pattern that names a directory covers what is in it.
        found = [
            pattern
            for pattern in patterns
            if fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern + "/*")
        ]
        self.unused.difference_update(found)
        return bool(found)


def unpack(archive: Archive, path: Path, parts: list[Part], work: Path) -> None:
    """Unpack `parts`, all from one verified archive, into `work / <part>`."""
    import tarfile
    import zlib

    selectors = {part: Selector(part) for part in parts}
    files: dict[Part, dict[str, str]] = {part: {} for part in parts}
    wanted = {part: _license_paths(part) for part in parts}
    texts: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                check_member(member, archive)
                if hasattr(tarfile, "data_filter"):  # Python 3.11.4: a second opinion
                    tarfile.data_filter(member, str(work))
                if not member.isreg():
                    continue
                inner = member.name.removeprefix("./").partition("/")[2]
                for part in parts:
                    prefix = f"{part.subtree}/" if part.subtree else ""
                    relative = inner.removeprefix(prefix)
                    is_license = inner in wanted[part]
                    is_source = inner.startswith(prefix) and selectors[part](relative)
                    if not (is_license or is_source):
                        continue
                    stream = tar.extractfile(member)
                    assert stream is not None  # a regular file has contents
                    content = stream.read()
                    if is_license:
                        texts[inner] = content
                    if is_source:
                        target = work / part.name / relative
                        target.parent.mkdir(parents=True, exist_ok=True)
                        # Written by hand: no owner, mode or time of the archive's is wanted.
                        target.write_bytes(content)
                        files[part][relative] = hashlib.sha256(content).hexdigest()
            # gzip verifies its checksum at its end, which lies behind that of the tar file.
            assert tar.fileobj is not None
            while tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise FetchError(
            f"{archive.file} cannot be unpacked: {type(error).__name__}: {error}",
            "Its SHA-256 is the manifest's, so the file was broken when the manifest was written:\n"
            "correct the archive's entry there.",
        ) from None
    for part in parts:
        _require_complete(part, files[part], selectors[part], texts)
        seal(part, files[part], texts, work / part.name)


def _license_paths(part: Part) -> list[str]:
    return [
        name[1:] if name.startswith("/") else f"{part.subtree}/{name}"
        for name in (*part.license_files, *part.license_comments)
    ]


def _require_complete(
    part: Part, files: dict[str, str], selector: Selector, texts: dict[str, bytes]
) -> None:
    if not files:
        problem = f"has no files of the subtree {part.subtree!r}"
    elif selector.unused:
        problem = f"has nothing in {part.subtree!r} that matches {sorted(selector.unused)}"
    elif missing := [path for path in _license_paths(part) if path not in texts]:
        problem = f"lacks the licence texts {missing}"
    else:
        return
    raise FetchError(
        f"{part.archive.file} {problem}",
        f"Correct `parts.{part.name}` in the manifest: list the archive with `tar tzf` to see\n"
        "where this version keeps its files.",
    )


def seal(part: Part, files: dict[str, str], texts: dict[str, bytes], directory: Path) -> None:
    """Write the licences and the stamp of a part."""
    licenses = compose_licenses(part, texts).encode()
    (directory / LICENSES).write_bytes(licenses)
    files[LICENSES] = hashlib.sha256(licenses).hexdigest()
    stamp = {"digest": part.digest, "files": dict(sorted(files.items()))}
    (directory / STAMP).write_text(json.dumps(stamp, indent=0) + "\n", "utf-8")


def compose_licenses(part: Part, texts: dict[str, bytes]) -> str:
    """Join the licence texts of a part, each under the name of the file it is from."""
    sections = [f"{part.name} {part.version}\nSPDX-License-Identifier: {part.license}\n"]
    names = (*part.license_files, *part.license_comments)
    for name, path in zip(names, _license_paths(part), strict=True):
        text = texts[path].decode("utf-8").replace("\r\n", "\n")
        if name in part.license_comments:
            text = text[text.index("/*") : text.index("*/") + 2]
        sections.append(f"{'-' * 80}\n{name.lstrip('/')}\n{'-' * 80}\n\n{text.strip()}\n")
    return "\n".join(sections)


# Putting it together


def fetch(
    manifest: Path, dest: Path, sdists: Path | None = None, only: Sequence[str] = ()
) -> list[Part]:
    """Fetch and unpack the parts that `dest` lacks, of all or of those named; return them."""
    parts = read_manifest(manifest)
    if only:
        if unknown := set(only) - {part.name for part in parts}:
            raise FetchError(
                f"{manifest} has no parts {sorted(unknown)}",
                f"Its parts are {', '.join(part.name for part in parts)}.",
            )
        parts = [part for part in parts if part.name in only]
    if all(is_unpacked(part, dest) for part in parts):
        return []
    import shutil

    dest = dest.resolve()
    dest.mkdir(parents=True, exist_ok=True)
    # Beside the destination, so that a rename can move a part from one to the other.
    work = dest.with_name(f".{dest.name}-work")
    with locked(dest.with_name(f".{dest.name}-lock")):
        shutil.rmtree(work, ignore_errors=True)  # a killed run leaves it
        missing = [part for part in parts if not is_unpacked(part, dest)]
        try:
            for archive in dict.fromkeys(part.archive for part in missing):
                work.mkdir()
                path = get_archive(archive, sdists, work)
                mine = [part for part in missing if part.archive == archive]
                unpack(archive, path, mine, work / "unpacked")
                for part in mine:
                    place(work / "unpacked" / part.name, dest / part.name, work / "replaced")
                    say(f"unpacked {part.name} {part.version}")
                shutil.rmtree(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return missing


def place(source: Path, target: Path, attic: Path) -> None:
    """Move a finished part into place; an older one goes to the attic first."""
    if os.path.lexists(target):
        attic.mkdir(exist_ok=True)
        os.rename(target, attic / target.name)
    os.rename(source, target)


def check(manifest: Path, dest: Path) -> None:
    """Raise FetchError if a part is missing or one of its files was changed."""
    faults = [fault for part in read_manifest(manifest) for fault in find_faults(part, dest)]
    if faults:
        shown = faults[:10] + ([f"and {len(faults) - 10} more"] if len(faults) > 10 else [])
        raise FetchError(
            "the vendored sources are not complete:" + "".join(f"\n  {line}" for line in shown),
            "Run `python vendor/fetch.py`; remove the directory of a changed part first.",
        )


def update_licenses(manifest: Path, dest: Path) -> None:
    """Copy the licence texts of the unpacked parts to `licenses/` beside the manifest."""
    directory = manifest.parent / "licenses"
    directory.mkdir(exist_ok=True)
    for part in read_manifest(manifest):
        (directory / f"{part.name}.txt").write_bytes((dest / part.name / LICENSES).read_bytes())


def say(message: str) -> None:
    """Print a line of progress."""
    print(message, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Fetch the vendored C sources that are missing.")
    parser.add_argument("parts", nargs="*", metavar="PART", help="fetch only these; default: all")
    parser.add_argument("--check", action="store_true", help="verify what is there, fetch nothing")
    parser.add_argument(
        "--licenses", action="store_true", help="fetch, then rewrite licenses/ (after an update)"
    )
    parser.add_argument(
        "--sdists",
        type=Path,
        default=os.environ.get("CATERVA_CFFI_SDISTS") or None,
        metavar="DIR",
        help="take the archives from here instead of downloading (or CATERVA_CFFI_SDISTS)",
    )
    parser.add_argument("--manifest", type=Path, default=HERE / "manifest.toml", metavar="FILE")
    parser.add_argument("--dest", type=Path, default=HERE / "src", metavar="DIR")
    options = parser.parse_args(argv)
    try:
        if options.check:
            check(options.manifest, options.dest)
        else:
            fetch(options.manifest, options.dest, options.sdists, options.parts)
        if options.licenses:
            update_licenses(options.manifest, options.dest)
    except FetchError as error:
        print(f"vendor/fetch.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"vendor/fetch.py: {error}\n"
            f"Check that {options.dest} can be written and that the disk has 100 MB free, "
            "then run this again.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("vendor/fetch.py: interrupted; run it again to finish", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
