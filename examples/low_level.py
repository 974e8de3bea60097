"""The C API from Python: a compression context, a chunk's header, one item, a metalayer."""

import numpy as np

import caterva_cffi as cat
from caterva_cffi import check, ffi, lib

data = np.arange(100_000, dtype="i4")

# A context with parameters of its own: Zstandard after bitshuffle.
cparams = ffi.new("blosc2_cparams *", lib.BLOSC2_CPARAMS_DEFAULTS)
cparams.typesize = data.itemsize
cparams.compcode = lib.BLOSC_ZSTD
cparams.filters[lib.BLOSC2_MAX_FILTERS - 1] = lib.BLOSC_BITSHUFFLE
context = ffi.gc(lib.blosc2_create_cctx(cparams[0]), lib.blosc2_free_ctx)

chunk = bytearray(data.nbytes + lib.BLOSC2_MAX_OVERHEAD)
source, destination = ffi.from_buffer(data), ffi.from_buffer(chunk)
size = lib.blosc2_compress_ctx(context, source, data.nbytes, destination, len(chunk))
check(size, "compressing")

sizes = ffi.new("int32_t[3]")
code = lib.blosc2_cbuffer_sizes(destination, sizes, sizes + 1, sizes + 2)
check(code, "reading the header")
print("header: {} bytes in {}, blocks of {}".format(*sizes))

dparams = ffi.new("blosc2_dparams *", lib.BLOSC2_DPARAMS_DEFAULTS)
context = ffi.gc(lib.blosc2_create_dctx(dparams[0]), lib.blosc2_free_ctx)
items = np.empty(3, data.dtype)
out = ffi.from_buffer(items)
check(lib.blosc2_getitem_ctx(context, destination, size, 5000, 3, out, items.nbytes), "reading")
print("three items:", items)

# An array's super-chunk, for every function that takes one.
array = cat.asarray(data)
lib.blosc2_vlmeta_add(array.schunk.ptr, b"unit", b"kelvin", 6, ffi.NULL)
names = ffi.new("char *[]", lib.BLOSC2_MAX_VLMETALAYERS)
count = check(lib.blosc2_vlmeta_get_names(array.schunk.ptr, names), "listing the metalayers")
print("metalayers:", [ffi.string(name).decode() for name in names[0:count]])
print("and as the array sees it:", dict(array.vlmeta))
