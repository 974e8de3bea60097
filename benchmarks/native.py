"""The C libraries' own functions, through `lib`: what the kernel is measured against.

A slice costs what it must cost any caller from Python: a key is turned into the arrays that the
function takes, and a destination is made for the items.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.data import Key
from caterva_cffi import check, ffi, lib
from caterva_cffi.binding.compression import Compression

Read = Callable[[Key], npt.NDArray[Any]]


def decompressor(chunk: Any, out: npt.NDArray[Any]) -> Callable[[], int]:
    """Return a call of `blosc2_decompress_ctx`, one thread, which leaves items in block order."""
    parameters = ffi.new("blosc2_dparams *", {"nthreads": 1})
    context = ffi.gc(lib.blosc2_create_dctx(parameters[0]), lib.blosc2_free_ctx)
    data = ffi.from_buffer("uint8_t[]", chunk)
    dest = ffi.from_buffer("uint8_t[]", out.reshape(-1).view(np.uint8), require_writable=True)

    def decompress() -> int:
        size = lib.blosc2_decompress_ctx(context, data, len(data), dest, len(dest))
        return int(check(size, "blosc2_decompress_ctx"))

    return decompress


def compressor(
    items: npt.NDArray[Any], blocksize: int, compression: Compression
) -> Callable[[], Any]:
    """Return a call of `blosc2_compress_ctx`, one thread, of items in block order."""
    parameters = compression.to_cparams(items.itemsize, blocksize)
    context = ffi.gc(lib.blosc2_create_cctx(parameters[0]), lib.blosc2_free_ctx)
    source = ffi.from_buffer("uint8_t[]", items.reshape(-1).view(np.uint8))
    chunk = np.zeros(items.nbytes + lib.BLOSC2_MAX_OVERHEAD, np.uint8)
    dest = ffi.from_buffer("uint8_t[]", chunk)

    def compress() -> Any:
        size = lib.blosc2_compress_ctx(context, source, len(source), dest, len(dest))
        return chunk[: check(size, "blosc2_compress_ctx")]

    return compress


def bounds(key: Key, shape: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Return where a selection begins and ends, and its shape with all dimensions."""
    start, stop, count = [], [], []
    for part, length in zip(key, shape, strict=True):
        if isinstance(part, slice):
            first, end, _ = part.indices(length)
        else:
            first, end = part, part + 1
        start.append(first)
        stop.append(end)
        count.append(end - first)
    return start, stop, count


def caterva_reader(frame: bytes | memoryview, like: npt.NDArray[Any]) -> Read:
    """Return `caterva_get_slice_buffer` of a frame in memory.

    Parameters
    ----------
    frame : bytes
    like : ndarray
        Of the array's shape and dtype.
    """
    shape, dtype, itemsize = like.shape, like.dtype, like.itemsize
    context, array = ffi.new("caterva_ctx_t **"), ffi.new("caterva_array_t **")
    config = ffi.new("caterva_config_t *", lib.CATERVA_CONFIG_DEFAULTS)
    check(lib.caterva_ctx_new(config, context), "caterva_ctx_new")
    data = ffi.from_buffer("uint8_t[]", frame)
    check(lib.caterva_from_cframe(context[0], data, len(data), False, array), "from_cframe")

    def free(_: Any) -> None:
        lib.caterva_free(context[0], array)
        lib.caterva_ctx_free(context)

    owner = ffi.gc(array[0], free)

    def read(key: Key) -> npt.NDArray[Any]:
        start, stop, count = bounds(key, shape)
        out = np.empty(count, dtype)
        code = lib.caterva_get_slice_buffer(
            context[0], owner, start, stop, ffi.from_buffer(out), count, out.size * itemsize
        )
        check(code, "caterva_get_slice_buffer")
        return out

    read.__dict__["keep"] = (config, data)
    return read


def b2nd_reader(frame: bytes | memoryview, like: npt.NDArray[Any]) -> Read:
    """Return `b2nd_get_slice_cbuffer` of a frame in memory; see `caterva_reader`."""
    shape, dtype, itemsize = like.shape, like.dtype, like.itemsize
    array = ffi.new("b2nd_array_t **")
    data = ffi.from_buffer("uint8_t[]", frame)
    check(lib.b2nd_from_cframe(data, len(data), False, array), "b2nd_from_cframe")
    owner = ffi.gc(array[0], lib.b2nd_free)

    def read(key: Key) -> npt.NDArray[Any]:
        start, stop, count = bounds(key, shape)
        out = np.empty(count, dtype)
        code = lib.b2nd_get_slice_cbuffer(
            owner, start, stop, ffi.from_buffer(out), count, out.size * itemsize
        )
        check(code, "b2nd_get_slice_cbuffer")
        return out

    read.__dict__["keep"] = data
    return read
