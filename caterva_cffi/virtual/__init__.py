"""Blosc2 data that exists, read as Zarr arrays without a copy.

`HDF5Parser` and `B2ndParser` are for VirtualiZarr, `open_hdf5` needs h5py. Each package is imported
only where it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from caterva_cffi.virtual.b2nd_parser import B2ndParser
    from caterva_cffi.virtual.codecs import Blosc2ChunkCodec, HDF5ChunkCodec
    from caterva_cffi.virtual.hdf5_array import HDF5Array, open_hdf5
    from caterva_cffi.virtual.hdf5_parser import HDF5Parser
    from caterva_cffi.virtual.references import to_references

__all__ = [
    "B2ndParser",
    "Blosc2ChunkCodec",
    "HDF5Array",
    "HDF5ChunkCodec",
    "HDF5Parser",
    "open_hdf5",
    "to_references",
]

_MODULES = {
    "B2ndParser": "b2nd_parser",
    "Blosc2ChunkCodec": "codecs",
    "HDF5Array": "hdf5_array",
    "HDF5ChunkCodec": "codecs",
    "HDF5Parser": "hdf5_parser",
    "open_hdf5": "hdf5_array",
    "to_references": "references",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: each name needs other packages."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
