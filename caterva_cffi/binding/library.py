"""The C API: `ffi`, `lib`, and `check`, which turns error codes into exceptions."""

from __future__ import annotations

from caterva_cffi import errors
from caterva_cffi._libcaterva import ffi, lib
from caterva_cffi.binding.interrupts import raise_interrupt

__all__ = ["check", "ffi", "lib"]

# C-Blosc2's registries are global and have no lock: fill them here, under the import lock.
lib.blosc2_init()
# Its first call chooses a shuffle for this processor, also without a lock: make that call here.
lib.blosc2_shuffle(1, 1, ffi.new("uint8_t[1]"), ffi.new("uint8_t[1]"))

_KERNEL_MESSAGES = {
    lib.CAT_ERROR_TRUNCATED: "the chunk is longer than its bytes",
    lib.CAT_ERROR_GEOMETRY: "the sizes in the chunk header contradict the array's shapes",
    lib.CAT_ERROR_FLAGS: "a lazy, instrumented, variable-length or Blosc1 chunk",
    lib.CAT_ERROR_CODEC: "the codec is not available",
    lib.CAT_ERROR_FILTER: "a filter is not available",
    lib.CAT_ERROR_OFFSET: "a block lies outside its chunk, or where another one does",
    lib.CAT_ERROR_MISSING: "the bytes of a block are missing",
    lib.CAT_ERROR_BLOCK: "a block does not decode to its size",
    lib.CAT_ERROR_MEMORY: "out of memory",
    lib.CAT_ERROR_DIFFERENT: "the blocks of the chunk cannot stay as they are",
    lib.CAT_ERROR_CHECKSUM: "the checksum is another one: bytes were changed",
    lib.CAT_ERROR_FILE: "a file cannot be read",
    lib.CAT_ERROR_END: "its file ends before it does: it is cut off, or was changed meanwhile",
    lib.CAT_ERROR_UNCHECKED: "a chunk without the checksums that the array's chunks have",
    lib.CAT_ERROR_ENVIRONMENT: "refused while a BLOSC_* variable changes blocks, items or DELTA",
}

_KINDS: dict[int, errors.Kind] = {
    lib.CAT_ERROR_TRUNCATED: "cut-off",
    lib.CAT_ERROR_GEOMETRY: "other-geometry",
    lib.CAT_ERROR_CODEC: "codec-missing",
    lib.CAT_ERROR_FILTER: "filter-missing",
    lib.CAT_ERROR_MEMORY: "out-of-memory",
    lib.CAT_ERROR_CHECKSUM: "checksum-differs",
    lib.CAT_ERROR_END: "cut-off",
    lib.CAT_ERROR_UNCHECKED: "no-checksums",
    lib.CAT_ERROR_ENVIRONMENT: "blosc-variables",
    lib.BLOSC2_ERROR_CODEC_SUPPORT: "codec-missing",
    lib.BLOSC2_ERROR_VERSION_SUPPORT: "unknown-version",
    lib.BLOSC2_ERROR_MEMORY_ALLOC: "out-of-memory",
    lib.BLOSC2_ERROR_FILE_WRITE: "unwritable",
    lib.BLOSC2_ERROR_FILE_TRUNCATE: "unwritable",
    lib.BLOSC2_ERROR_FILE_REMOVE: "unwritable",
}
"""Others are of the kind that their class has."""

_CLASSES: dict[type[errors.CatervaError], tuple[int, ...]] = {
    errors.UnsupportedError: (
        lib.BLOSC2_ERROR_CODEC_SUPPORT,
        lib.BLOSC2_ERROR_VERSION_SUPPORT,
        lib.BLOSC2_ERROR_FRAME_TYPE,
        lib.BLOSC2_ERROR_PLUGIN_IO,
        lib.BLOSC2_ERROR_TUNER,
        lib.CAT_ERROR_FLAGS,
        lib.CAT_ERROR_CODEC,
        lib.CAT_ERROR_DIFFERENT,
        lib.CAT_ERROR_FILTER,
    ),
    errors.ArgumentError: (
        lib.BLOSC2_ERROR_CODEC_PARAM,
        lib.BLOSC2_ERROR_INVALID_PARAM,
        lib.BLOSC2_ERROR_INVALID_INDEX,
        lib.BLOSC2_ERROR_NULL_POINTER,
        lib.BLOSC2_ERROR_NOT_FOUND,
        lib.BLOSC2_ERROR_METALAYER_NOT_FOUND,
        lib.CAT_ERROR_ENVIRONMENT,
    ),
    errors.StorageError: (
        lib.BLOSC2_ERROR_FILE_READ,
        lib.BLOSC2_ERROR_FILE_WRITE,
        lib.BLOSC2_ERROR_FILE_OPEN,
        lib.BLOSC2_ERROR_FILE_TRUNCATE,
        lib.BLOSC2_ERROR_FILE_REMOVE,
        lib.BLOSC2_ERROR_LOCK,
        lib.CAT_ERROR_FILE,
    ),
    errors.CapacityError: (
        lib.BLOSC2_ERROR_MEMORY_ALLOC,
        lib.BLOSC2_ERROR_2GB_LIMIT,
        lib.BLOSC2_ERROR_MAX_BUFSIZE_EXCEEDED,
        lib.BLOSC2_ERROR_WRITE_BUFFER,
        lib.CAT_ERROR_MEMORY,
    ),
    errors.FormatError: (
        lib.BLOSC2_ERROR_STREAM,
        lib.BLOSC2_ERROR_DATA,
        lib.BLOSC2_ERROR_READ_BUFFER,
        lib.BLOSC2_ERROR_CODEC_DICT,
        lib.BLOSC2_ERROR_INVALID_HEADER,
        lib.BLOSC2_ERROR_RUN_LENGTH,
        lib.BLOSC2_ERROR_FILTER_PIPELINE,
        lib.BLOSC2_ERROR_FRAME_SPECIAL,
        lib.BLOSC2_ERROR_SCHUNK_SPECIAL,
        lib.CAT_ERROR_TRUNCATED,
        lib.CAT_ERROR_GEOMETRY,
        lib.CAT_ERROR_OFFSET,
        lib.CAT_ERROR_MISSING,
        lib.CAT_ERROR_BLOCK,
        lib.CAT_ERROR_CHECKSUM,
        lib.CAT_ERROR_UNCHECKED,
        lib.CAT_ERROR_END,
    ),
}
_CLASS_OF = {code: cls for cls, codes in _CLASSES.items() for code in codes}


def check(code: int, what: str) -> int:
    """Return a C function's result, or raise the exception for its error code.

    Parameters
    ----------
    code : int
        What the function returned; negative for an error.
    what : str
        What it was to do, as in "reading chunk 3".

    Returns
    -------
    int
        The code, where it is not negative.

    Raises
    ------
    CatervaError
        A subclass that fits; its `code` is the number.
    """
    if code >= 0:
        return code
    if code == lib.CAT_ERROR_INTERRUPTED:
        raise_interrupt()
    message = _KERNEL_MESSAGES.get(code) or ffi.string(lib.blosc2_error_string(code)).decode()
    cls = _CLASS_OF.get(code, errors.CatervaError)
    raise cls(f"{what}: {message} (code {code})", _KINDS.get(code), code=code)
