"""Fetch the vendored C sources that `manifest.toml` names and unpack them into `src/`.

    python vendor/fetch.py             fetch and unpack what is missing
    python vendor/fetch.py --check     verify every unpacked file; exit with 1 if anything is missing

An archive is unpacked only after its SHA-256 has been verified, into a work directory beside the
destination; a finished part then moves into place with one rename. Killing this program at any moment
therefore leaves each part whole or absent, and the next run removes what was left behind.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
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
        return [
            Part(
                name=name,
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in entry.items()
                    if key != "archive"
                },
                archive=archives[entry["archive"]],
            )
            for name, entry in manifest["parts"].items()
        ]
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
    return files is not None and all((dest / part.name / name).is_file() for name in files)


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
    return (
        f"Or get {archive.file} (project {archive.project}, version {archive.version}, SHA-256\n"
        f"{archive.sha256}) in another way, put it into a directory, and name that directory\n"
        "with --sdists DIR or in the environment variable CATERVA_CFFI_SDISTS."
    )


def get_archive(archive: Archive, sdists: Path | None, work: Path) -> Path:
    """Return the path of an archive whose hash has been verified."""
    if sdists is not None:
        path = sdists / archive.file
        if not path.is_file():
            raise FetchError(
                f"{archive.file} is not in {sdists.absolute()}",
                "Put it there (project {0.project}, version {0.version}, SHA-256 {0.sha256}),\n"
                "or leave out --sdists and CATERVA_CFFI_SDISTS to download it.".format(archive),
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
            "A broken download: run this again. If it stays so, do not trust the source of the file:\n"
            "use another index (PIP_INDEX_URL).\n" + by_hand(archive),
        )
    return path


class IndexSettings(NamedTuple):
    """Where pip is configured to find distributions."""

    index_urls: list[str]
    find_links: list[str]
    trusted_hosts: list[str]
    cert: str | None


def read_pip_settings() -> IndexSettings:
    """Read the environment variables and the configuration files of pip."""
    values = {}
    for section in ("global", "download"):
        values.update(_read_pip_configuration(section))
    for key in ("index-url", "extra-index-url", "find-links", "trusted-host", "no-index", "cert"):
        if value := os.environ.get("PIP_" + key.upper().replace("-", "_")):
            values[key] = value

    def listed(key: str) -> list[str]:
        return values.get(key, "").split()

    indexes = listed("index-url") or ["https://pypi.org/simple/"]
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    else:
        indexes += listed("extra-index-url")
    return IndexSettings(
        indexes, listed("find-links"), listed("trusted-host"), values.get("cert") or None
    )


def _read_pip_configuration(section: str) -> dict[str, str]:
    import ast
    import subprocess

    try:
        # pip alone knows where its files are on each platform. An isolated build may lack it.
        listing = subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"],
            capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return {}
    values = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        if key.startswith(f"{section}.") and value:
            try:
                values[key.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
            except (ValueError, SyntaxError):
                continue
    return values


def download(archive: Archive, work: Path) -> Path:
    """Download an archive from the first configured index that gives it."""
    import logging

    try:
        import unearth
    except ImportError:
        raise FetchError(
            f"the C sources are missing, and downloading {archive.file} needs `unearth`",
            f"Run: {sys.executable} -m pip install unearth\n" + by_hand(archive),
        ) from None

    settings = read_pip_settings()
    session = _open_session(settings)
    failures: list[str] = []
    # unearth logs, rather than raises, why it skips a source.
    logger = logging.getLogger("unearth")
    logger.propagate = False
    logger.addHandler(_Collector(failures))

    sources: list[tuple[str, dict[str, list[str]]]] = [
        *((url, {"find_links": [url]}) for url in settings.find_links),
        *((url, {"index_urls": [url]}) for url in settings.index_urls),
    ]
    for url, source in sources:
        try:
            # Any Python may build us; it need not be one that the project itself supports.
            finder = unearth.PackageFinder(session=session, ignore_compatibility=True, **source)
            for package in finder.find_all_packages(archive.project, allow_yanked=True):
                if package.link.filename == archive.file:
                    say(f"downloading {archive.file} from {package.link.parsed.hostname or 'a file'}")
                    return finder.download(package.link, work, {}, Progress(archive))
            failures.append(f"{redact(url)}: has no {archive.file}")
        except FetchError:
            raise
        except Exception as error:  # unearth passes on whatever its HTTP client raises
            failures.append(f"{redact(url)}: {type(error).__name__}: {error}")
    raise FetchError(
        f"cannot download {archive.file}:\n" + "\n".join(f"  {failure}" for failure in failures),
        "Check the network connection, the proxy (HTTPS_PROXY) and the index (PIP_INDEX_URL,\n"
        "PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS or pip's configuration), and run this again.\n"
        + by_hand(archive),
    )


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


def redact(url: str) -> str:
    """Return a URL without the credentials it may hold."""
    scheme, separator, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


class Progress:
    """Prints how much was downloaded, and ends a download that takes forever."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.start = self.last = time.monotonic()

    def __call__(self, link: object, completed: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self.start > DOWNLOAD_TIMEOUT:
            raise TimeoutError(f"not finished after {DOWNLOAD_TIMEOUT:.0f} s ({completed} bytes)")
        if now - self.last > 2:
            self.last = now
            of = f" of {total / 1e6:.0f}" if total else ""
            say(f"  {self.archive.file}: {completed / 1e6:.0f}{of} MB")


def _collector_class() -> type:
    import logging

    class Collector(logging.Handler):
        def __init__(self, messages: list[str]) -> None:
            super().__init__(logging.WARNING)
            self.messages = messages

        def emit(self, record: logging.LogRecord) -> None:
            self.messages.append(record.getMessage())

    return Collector


def _Collector(messages: list[str]) -> Any:
    return _collector_class()(messages)


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
                if not member.isreg():
                    continue
                inner = member.name.removeprefix("./").partition("/")[2]
                for part in parts:
                    relative = inner.removeprefix(part.subtree + "/")
                    is_license = inner in wanted[part]
                    is_source = relative != inner and selectors[part](relative)
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
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise FetchError(
            f"{archive.file} cannot be unpacked: {type(error).__name__}: {error}",
            "The archive is damaged although its SHA-256 is the manifest's: correct its entry there.",
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


def fetch(manifest: Path, dest: Path, sdists: Path | None = None) -> list[Part]:
    """Fetch and unpack the parts that `dest` lacks; return them."""
    parts = read_manifest(manifest)
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
        raise FetchError(
            "the vendored sources are not complete:\n" + "\n".join(f"  {f}" for f in faults),
            "Run `python vendor/fetch.py`; remove the directory of a changed part first.",
        )


def update_licenses(manifest: Path, dest: Path) -> None:
    """Copy the licence texts of the unpacked parts to `licenses/` beside the manifest."""
    directory = manifest.parent / "licenses"
    directory.mkdir(exist_ok=True)
    for part in read_manifest(manifest):
        (directory / f"{part.name}.txt").write_bytes((dest / part.name / LICENSES).read_bytes())


def say(message: str) -> None:
    print(message, flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Fetch the vendored C sources that are missing.")
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
            fetch(options.manifest, options.dest, options.sdists)
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
