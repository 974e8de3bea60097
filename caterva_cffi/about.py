"""What this process runs with: the versions of all parts, and what they make of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from caterva_cffi._ffi import ffi, lib
from caterva_cffi._version import __version__
from caterva_cffi.threads import get_nthreads, usable_processors

__all__ = ["Versions", "versions"]

# Of those that are installed, a report names the versions.
_PACKAGES = ("numpy", "cffi", "zarr", "numcodecs", "fsspec", "s3fs", "obstore", "dask", "blosc2")


@dataclass(frozen=True, repr=False)
class Versions:
    """What a bug report needs. It prints as a line per field.

    Attributes
    ----------
    caterva_cffi, c_blosc2, caterva : str
        Versions of this package and of the two libraries it binds.
    codecs : Mapping of str to str
        Versions of the libraries that compress, by their names.
    simd : str
        The instructions that C-Blosc2 has chosen for shuffling on this processor: "avx512", "avx2",
        "sse2", "neon", "altivec" or "generic".
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
    """Return the versions of all parts, and what they make of this machine.

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
        codecs=_codecs(),
        simd=_string(lib.caterva_cffi_shuffle_name()),
        nthreads=get_nthreads(),
        processors=usable_processors(),
        python=f"{platform.python_implementation()} {platform.python_version()}{free_threaded}",
        platform=platform.platform(),
        packages=_packages(),
    )


def _string(pointer: object) -> str:
    return ffi.string(pointer).decode()  # type: ignore[no-any-return]


def _codecs() -> dict[str, str]:
    return {
        "BloscLZ": _compiled_version(b"blosclz"),
        "LZ4": _string(lib.LZ4_versionString()),
        "Zstandard": _string(lib.ZSTD_versionString()),
        "zlib-ng": _compiled_version(b"zlib"),
        # "zfp version 1.0.1 (December 15, 2023)"
        "zfp": _string(lib.zfp_version_string).removeprefix("zfp version ").partition(" ")[0],
    }


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
