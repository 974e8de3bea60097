"""Versions of all parts of this process, and what they found out about the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from caterva_cffi._version import __version__
from caterva_cffi.binding.library import ffi, lib
from caterva_cffi.binding.threads import get_nthreads, usable_processors

__all__ = ["Versions", "versions"]

# A report names the versions of those that are installed.
_PACKAGES = ("numpy", "cffi", "zarr", "numcodecs", "fsspec", "s3fs", "obstore", "dask", "blosc2")


@dataclass(frozen=True, repr=False)
class Versions:
    """What a bug report needs. It prints as a line per field.

    Attributes
    ----------
    caterva_cffi, c_blosc2, caterva : str
        Versions of this package and of the two libraries it binds.
    vendored : bool
        Whether C-Blosc2 and its codecs were compiled with this package. Otherwise they are the
        system's.
    codecs : Mapping of str to str
        Versions of the libraries that compress, by their names. If the system's C-Blosc2 has
        another LZ4 or Zstandard than this package, the text names both; zfp is then left out.
    simd : str
        The instructions that C-Blosc2 has chosen for shuffling on this processor: "avx512", "avx2",
        "sse2", "neon", "altivec" or "generic"; "unknown" with the system's C-Blosc2.
    nthreads : int
        Threads that all calls share, see `set_nthreads`.
    processors : int
        Processors that this process may use.
    python : str
        The interpreter and its version, such as "CPython 3.12.1".
    platform : str
        The system, its architecture and C library.
    packages : Mapping of str to str
        Versions of installed packages that this one needs or works with. They are not imported.
    """

    caterva_cffi: str
    c_blosc2: str
    caterva: str
    vendored: bool
    codecs: Mapping[str, str]
    simd: str
    nthreads: int
    processors: int
    python: str
    platform: str
    packages: Mapping[str, str]

    def __repr__(self) -> str:
        width = max(len(field.name) for field in fields(self))
        return "\n".join(
            f"{field.name.ljust(width)} : {_text(getattr(self, field.name))}"
            for field in fields(self)
        )


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    return str(value)


def versions() -> Versions:
    """Return the versions of all parts, and what they found out about this machine.

    `python -m caterva_cffi` prints them.

    Returns
    -------
    Versions
    """
    import platform
    import sys

    free_threaded = " free-threaded" if "free-threading" in sys.version else ""
    return Versions(
        caterva_cffi=__version__,
        c_blosc2=_string(lib.blosc2_get_version_string()),
        caterva=_string(lib.CATERVA_VERSION_STRING),
        vendored=bool(lib.CAT_VENDORED),
        codecs=_codecs(),
        simd=_string(lib.cat_shuffle_name()) or "unknown",
        nthreads=get_nthreads(),
        processors=usable_processors(),
        python=f"{platform.python_implementation()} {platform.python_version()}{free_threaded}",
        platform=platform.platform(),
        packages=_packages(),
    )


def _string(pointer: Any) -> str:
    return str(ffi.string(pointer).decode()) if pointer else ""


def _codecs() -> dict[str, str]:
    codecs = {
        "BloscLZ": _compiled_version(b"blosclz"),
        "LZ4": _string(lib.LZ4_versionString()),
        "Zstandard": _string(lib.ZSTD_versionString()),
        # A system's C-Blosc2 may have either.
        "zlib-ng" if lib.CAT_VENDORED else "zlib": _compiled_version(b"zlib"),
    }
    for name, codec in ("LZ4", b"lz4"), ("Zstandard", b"zstd"):
        if (theirs := _compiled_version(codec)) != codecs[name]:
            codecs[name] += f" (C-Blosc2: {theirs})"
    if zfp := _string(lib.cat_zfp_version()):  # "zfp version 1.0.1 (December 15, 2023)"
        codecs["zfp"] = zfp.removeprefix("zfp version ").partition(" ")[0]
    return codecs


def _compiled_version(codec: bytes) -> str:
    """Return the version of a codec's library that C-Blosc2 was compiled with."""
    library, version = ffi.new("char **"), ffi.new("char **")
    lib.blosc2_get_complib_info(codec, library, version)
    try:
        return _string(version[0])
    finally:
        lib.free(library[0])
        lib.free(version[0])


def _packages() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
