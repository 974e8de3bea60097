"""Cheap slices of big compressed arrays: Caterva and C-Blosc2 for Python.

A drop-in for python-caterva, which could not give the encoded bytes of an array: `to_cframe`,
`schunk_to_buffer` and `from_cframe` do. `lib` and `ffi` give the whole C API of Caterva, b2nd and
C-Blosc2. Codecs for numcodecs and Zarr are in `caterva_cffi.numcodecs` and `caterva_cffi.zarr`.
"""

from caterva_cffi._version import __version__
from caterva_cffi.advice.accesses import Access
from caterva_cffi.advice.advise import advise
from caterva_cffi.advice.table import Advice, Predicted
from caterva_cffi.arrays.constructors import (
    asarray,
    copy,
    empty,
    from_buffer,
    from_cframe,
    full,
    schunk_to_buffer,
    zeros,
)
from caterva_cffi.arrays.ndarray import NDArray
from caterva_cffi.arrays.opening import open
from caterva_cffi.arrays.remote import RemoteArray
from caterva_cffi.arrays.zarr_array import ZarrArray
from caterva_cffi.binding.compression import Codec, Compression, Filter, SplitMode
from caterva_cffi.binding.library import check, ffi, lib
from caterva_cffi.binding.threads import get_nthreads, set_nthreads
from caterva_cffi.binding.versions import Versions, versions
from caterva_cffi.conversion.convert import convert
from caterva_cffi.conversion.progress import Progress
from caterva_cffi.conversion.report import Conversion
from caterva_cffi.costs.explanation import Explanation
from caterva_cffi.costs.recording import recorded_accesses
from caterva_cffi.errors import (
    ArgumentError,
    ArgumentTypeError,
    BusyError,
    CapacityError,
    CatervaError,
    ClosedError,
    DifferenceError,
    FormatError,
    MissingMetalayerError,
    ReadOnlyError,
    SelectionError,
    StorageError,
    UnsupportedError,
)
from caterva_cffi.planning.cache import get_cache_size, set_cache_size
from caterva_cffi.planning.policy import ReadPolicy, get_read_policy, set_read_policy
from caterva_cffi.sources.object_stores import RangeStore
from caterva_cffi.sources.source import RangeReader
from caterva_cffi.sources.store_costs import StoreCosts
from caterva_cffi.storage.atomic import remove
from caterva_cffi.verification.report import Counts, Damage, Unchecked, Verification
from caterva_cffi.verification.verify import verify

__all__ = [
    "Access",
    "Advice",
    "ArgumentError",
    "ArgumentTypeError",
    "BusyError",
    "CapacityError",
    "CatervaError",
    "ClosedError",
    "Codec",
    "Compression",
    "Conversion",
    "Counts",
    "Damage",
    "DifferenceError",
    "Explanation",
    "Filter",
    "FormatError",
    "MissingMetalayerError",
    "NDArray",
    "Predicted",
    "Progress",
    "RangeReader",
    "RangeStore",
    "ReadOnlyError",
    "ReadPolicy",
    "RemoteArray",
    "SelectionError",
    "SplitMode",
    "StorageError",
    "StoreCosts",
    "Unchecked",
    "UnsupportedError",
    "Verification",
    "Versions",
    "ZarrArray",
    "__version__",
    "advise",
    "asarray",
    "check",
    "convert",
    "copy",
    "empty",
    "ffi",
    "from_buffer",
    "from_cframe",
    "full",
    "get_cache_size",
    "get_nthreads",
    "get_read_policy",
    "lib",
    "open",
    "recorded_accesses",
    "remove",
    "schunk_to_buffer",
    "set_cache_size",
    "set_nthreads",
    "set_read_policy",
    "verify",
    "versions",
    "zeros",
]


def __dir__() -> list[str]:
    """Return the public names, without the modules that they come from."""
    return sorted(__all__)
