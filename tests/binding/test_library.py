"""The declarations against the headers they come from, and the C API as used from Python."""

import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT

import caterva_cffi as cat

ffi, lib = cat.ffi, cat.lib

SOURCES = Path(os.environ.get("CATERVA_CFFI_VENDOR_SRC", ROOT / "vendor" / "src"))
HEADERS = [
    "c-blosc2/include/blosc2.h",
    "c-blosc2/include/b2nd.h",
    "c-blosc2/include/blosc2/blosc2-stdio.h",
    "c-blosc2/include/blosc2/codecs-registry.h",
    "c-blosc2/include/blosc2/filters-registry.h",
    "c-blosc2/include/blosc2/tuners-registry.h",
    "caterva/caterva/caterva.h",
]
CDEFS = ["blosc2.cdef.txt", "b2nd.cdef.txt", "caterva.cdef.txt"]


def because(reason, names):
    return dict.fromkeys(names.split(), reason)


# blosc2/blosc2-common.h and blosc2/blosc2-export.h are not compared: they tell compilers apart.
LEFT_OUT = {
    **because(
        "a macro that expands to statements, for C's own sources",
        "BLOSC_ERROR BLOSC_ERROR_NULL BLOSC_INFO BLOSC_TRACE BLOSC_TRACE_ERROR BLOSC_TRACE_INFO "
        "BLOSC_TRACE_WARNING B2ND_REQUIRE_META_NBYTES CATERVA_ERROR CATERVA_ERROR_NULL "
        "CATERVA_TRACE CATERVA_TRACE_ERROR CATERVA_TRACE_WARNING CATERVA_UNUSED_PARAM",
    ),
    **because(
        "spells an attribute of the compiler",
        "B2ND_DEPRECATED BLOSC_ATTRIBUTE_UNUSED CATERVA_ATTRIBUTE_UNUSED",
    ),
    **because("Windows' spelling of a POSIX function", "getpid"),
    **because(
        "an alias that exists only with BLOSC1_COMPAT; what it stands for is declared",
        "BLOSC_MAX_BUFFERSIZE BLOSC_MAX_OVERHEAD BLOSC_VERSION_DATE BLOSC_VERSION_MAJOR "
        "BLOSC_VERSION_MINOR BLOSC_VERSION_RELEASE BLOSC_VERSION_STRING blosc_cbuffer_complib "
        "blosc_cbuffer_metainfo blosc_cbuffer_sizes blosc_cbuffer_validate blosc_cbuffer_versions "
        "blosc_compcode_to_compname blosc_compname_to_compcode blosc_compress blosc_decompress "
        "blosc_destroy blosc_free_resources blosc_get_blocksize blosc_get_complib_info "
        "blosc_get_compressor blosc_get_nthreads blosc_get_version_string blosc_getitem "
        "blosc_init blosc_list_compressors blosc_set_blocksize blosc_set_compressor "
        "blosc_set_nthreads blosc_set_splitmode",
    ),
    **because(
        "blosc2_init calls it, and calling it again does nothing",
        "register_codecs register_filters register_tuners",
    ),
    **because(
        "what a plugin's shared library exports for C-Blosc2 to find",
        "codec_info filter_info tuner_info",
    ),
    **because("private to b2nd.h, and prints to stderr when misused", "swap_store"),
}

# Declared although no header has them under this name.
ADDED = {
    "malloc": "the caller of this API allocates some buffers that C frees",
    "free": "and frees some that C has allocated",
    "caterva_chunk_cache_s": "caterva_on_blosc2.h renames Caterva's struct chunk_cache_s",
}


def names(text):
    """The names that C source declares at its top level, each with its kind."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S).replace("\\\n", " ")
    text = re.sub(r"#\s*ifdef\s+__cplusplus.*?#\s*endif", "", text, flags=re.S)
    define = re.compile(r"^\s*#\s*define\s+(\w+)(\(|[ \t]+\S)", re.M)
    kinds = {
        name: "function" if after == "(" or name.islower() else "constant"
        for name, after in define.findall(text)
    }
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    for members in re.findall(r"\benum\b[^{;]*\{(.*?)\}", text, flags=re.S):
        kinds |= dict.fromkeys(re.findall(r"(?:^|,)\s*(\w+)", members), "constant")
    text = re.sub(r"\b[A-Z0-9_]+\(\"[^\"]*\"\)", "", text)
    while "{" in text:
        text = re.sub(r"\{[^{}]*\}", "@", text)
    for declaration in re.sub(r"\)\s*@", ");", text).split(";"):
        words = re.findall(r"\w+", declaration)
        if not words or words[0] == "enum":
            continue
        if words[0] == "typedef":
            pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)", declaration)
            kinds[pointer[1] if pointer else words[-1]] = "type"
        elif words[0] == "struct" and "@" in declaration:
            kinds[words[1]] = "type"
        elif function := re.search(r"(\w+)\s*\(", declaration):
            kinds[function[1]] = "function"
        else:
            kinds[re.findall(r"\w+", declaration.partition("=")[0])[-1]] = "constant"
    return kinds


def read_names(directory, files):
    missing = [name for name in files if not (directory / name).is_file()]
    assert not missing, (
        f"{missing} not found in {directory}: run 'python vendor/fetch.py', "
        "or set CATERVA_CFFI_VENDOR_SRC to a directory that it has filled"
    )
    kinds = {}
    for name in files:
        kinds |= names((directory / name).read_text(encoding="utf-8"))
    return kinds


@pytest.fixture(scope="module")
def headers():
    return read_names(SOURCES, HEADERS)


@pytest.fixture(scope="module")
def declared():
    return read_names(ROOT / "caterva_cffi" / "_native", CDEFS)


def test_names_of_a_header():
    source = """
    #define GUARD_H
    #define ONE 1 /* two */
    #define CALL(x) f(x)
    #ifdef __cplusplus
    extern "C" {
    #endif
    enum { RED = ONE, GREEN, // BLUE,
    };
    typedef struct a_s { int (*hidden)(int); struct { int x; } y; } a_t;
    typedef int (*callback)(a_t *a);
    static const a_t DEFAULTS = {0, {1}};
    static inline int twice(int x) { if (x) { return 2 * x; } return 0; }
    DEPRECATED("use g") EXPORT const char *
    f(int a, a_t *b);
    """
    assert names(source) == {
        "ONE": "constant", "CALL": "function", "RED": "constant", "GREEN": "constant",
        "a_t": "type", "callback": "type", "DEFAULTS": "constant", "twice": "function",
        "f": "function",
    }  # fmt: skip


def test_everything_is_declared_or_left_out_for_a_reason(headers, declared):
    assert {
        name: headers[name] for name in headers.keys() - declared.keys() - LEFT_OUT.keys()
    } == {}


def test_what_is_left_out_exists_and_is_not_declared(headers, declared):
    assert LEFT_OUT.keys() - headers.keys() == set()
    assert LEFT_OUT.keys() & declared.keys() == set()


def test_nothing_is_declared_that_no_header_has(headers, declared):
    assert declared.keys() - headers.keys() == ADDED.keys()
    assert {n for n in declared.keys() & headers.keys() if declared[n] != headers[n]} == set()


def test_lib_has_every_function_and_constant(declared):
    kernel = read_names(ROOT / "caterva_cffi" / "_native", ["kernel.cdef.txt"])
    expected = {name for name, kind in (declared | kernel).items() if kind != "type"}
    assert set(dir(lib)) == expected
    for name in expected:
        getattr(lib, name)  # where a value is declared, cffi compares it with the compiler's


def test_compiler_agrees_with_every_struct(declared):
    typedefs = ffi.list_types()[0]
    opaque = set()
    for name in (name for name, kind in declared.items() if kind == "type"):
        ctype = ffi.typeof(name if name in typedefs else f"struct {name}")
        if ctype.kind != "struct":
            continue
        try:
            ffi.sizeof(ctype)
        except ffi.error:
            opaque.add(name)
        else:
            assert ctype.fields is not None  # cffi compares sizes and offsets now
    assert opaque == {"blosc2_context", "blosc2_frame", "b2nd_context_t"}


# --- the C API from Python ------------------------------------------------------------------------


def ok(code):
    assert code >= 0, ffi.string(lib.blosc2_error_string(code))
    return code


def succeed(code):
    assert code == lib.CATERVA_SUCCEED, ffi.string(lib.print_error(code))


def take(pointer, size):
    """The bytes at pointer, which C has allocated for its caller."""
    content = bytes(ffi.buffer(pointer, size))
    lib.free(pointer)
    return content


@pytest.fixture(scope="module")
def data():
    return np.arange(100_000, dtype=np.int32)


def cparams(**fields):
    params = ffi.new("blosc2_cparams *", lib.BLOSC2_CPARAMS_DEFAULTS)
    for name, value in {"typesize": 4, **fields}.items():
        setattr(params, name, value)
    return params


def compress(params, data):
    context = ffi.gc(lib.blosc2_create_cctx(params[0]), lib.blosc2_free_ctx)
    chunk = bytearray(data.nbytes + lib.BLOSC2_MAX_OVERHEAD)
    size = ok(
        lib.blosc2_compress_ctx(
            context, ffi.from_buffer(data), data.nbytes, ffi.from_buffer(chunk), len(chunk)
        )
    )
    return bytes(chunk[:size])


def decompress(chunk, like, **fields):
    params = ffi.new("blosc2_dparams *", lib.BLOSC2_DPARAMS_DEFAULTS)
    for name, value in fields.items():
        setattr(params, name, value)
    context = ffi.gc(lib.blosc2_create_dctx(params[0]), lib.blosc2_free_ctx)
    out = np.empty_like(like)
    size = lib.blosc2_decompress_ctx(context, chunk, len(chunk), ffi.from_buffer(out), out.nbytes)
    assert ok(size) == like.nbytes
    return out


def test_defaults_are_the_compilers():
    assert lib.BLOSC2_CPARAMS_DEFAULTS.clevel == 5
    assert lib.BLOSC2_CPARAMS_DEFAULTS.filters[lib.BLOSC2_MAX_FILTERS - 1] == lib.BLOSC_SHUFFLE
    assert lib.CATERVA_CONFIG_DEFAULTS.compcodec == lib.BLOSC_ZSTD
    assert lib.CATERVA_CONFIG_DEFAULTS.udbtune == ffi.NULL
    assert ffi.string(lib.BLOSC2_VERSION_STRING) == ffi.string(lib.blosc2_get_version_string())


def test_each_library_has_its_own_messages():
    assert ffi.string(lib.print_error(lib.CATERVA_ERR_BLOSC_FAILED)) == b"Blosc failed"
    assert ffi.string(lib.blosc2_error_string(lib.BLOSC2_ERROR_DATA)) == b"Invalid data"


def test_errors_print_only_when_asked_to(capfd, monkeypatch):
    def fail():
        assert lib.blosc2_schunk_open(b"no such file") == ffi.NULL
        assert lib.caterva_ctx_new(ffi.NULL, ffi.NULL) == lib.CATERVA_ERR_NULL_POINTER
        return capfd.readouterr()

    for name in ("BLOSC_TRACE", "CATERVA_TRACE"):
        monkeypatch.delenv(name, raising=False)
    assert fail() == ("", "")
    for name in ("BLOSC_TRACE", "CATERVA_TRACE"):
        monkeypatch.setenv(name, "1")
        assert fail().err


@pytest.mark.parametrize("contiguous", [False, True])
def test_schunk_with_metalayers(data, contiguous):
    storage = ffi.new("blosc2_storage *", {"contiguous": contiguous, "cparams": (c := cparams())})
    schunk = ffi.gc(lib.blosc2_schunk_new(storage), lib.blosc2_schunk_free)
    ok(lib.blosc2_meta_add(schunk, b"fixed", b"abc", 3))
    half = data.nbytes // 2
    for part in np.split(data, 2):
        ok(lib.blosc2_schunk_append_buffer(schunk, ffi.from_buffer(part), half))
    ok(lib.blosc2_vlmeta_add(schunk, b"variable", b"old", 3, ffi.NULL))
    ok(lib.blosc2_vlmeta_update(schunk, b"variable", b"longer", 6, c))

    frame, needs_free = ffi.new("uint8_t **"), ffi.new("bool *")
    size = ok(lib.blosc2_schunk_to_buffer(schunk, frame, needs_free))
    content = bytes(ffi.buffer(frame[0], size))
    if needs_free[0]:
        lib.free(frame[0])

    buffer = ffi.from_buffer("uint8_t[]", content)
    copy = ffi.gc(lib.blosc2_schunk_from_buffer(buffer, size, True), lib.blosc2_schunk_free)
    assert (copy.nchunks, copy.typesize, copy.nbytes) == (2, 4, data.nbytes)
    out = np.empty_like(data)
    for n in range(2):
        dest = ffi.from_buffer(out[n * len(out) // 2 :])
        assert ok(lib.blosc2_schunk_decompress_chunk(copy, n, dest, half)) == half
    np.testing.assert_array_equal(out, data)

    layer, length = ffi.new("uint8_t **"), ffi.new("int32_t *")
    ok(lib.blosc2_meta_get(copy, b"fixed", layer, length))
    assert take(layer[0], length[0]) == b"abc"
    ok(lib.blosc2_vlmeta_get(copy, b"variable", layer, length))
    assert take(layer[0], length[0]) == b"longer"
    assert ffi.string(copy.metalayers[0].name) == b"fixed"
    assert lib.blosc2_meta_exists(copy, b"none") == lib.BLOSC2_ERROR_NOT_FOUND


# C-Blosc2 never forgets a registered callback, so these live as long as the process.
REGISTERED = []
CALLS = set()


def callback(ctype, error=-1):
    def register(function):
        pointer = ffi.callback(ctype, function, error=error)
        REGISTERED.append(pointer)
        return pointer

    return register


def register(function, ctype, name_field, **fields):
    name = ffi.new("char[]", fields.pop("name"))
    struct = ffi.new(f"{ctype} *", {name_field: name, **fields})
    REGISTERED.extend((name, struct))
    ok(function(struct))


@callback("blosc2_codec_encoder_cb")
def encode(source, size, dest, destsize, meta, cparams, chunk):
    CALLS.add("encode")
    content = zlib.compress(ffi.buffer(source, size), meta)
    if len(content) > destsize:
        return 0  # does not compress
    ffi.memmove(dest, content, len(content))
    return len(content)


@callback("blosc2_codec_decoder_cb")
def decode(source, size, dest, destsize, meta, dparams, chunk):
    CALLS.add("decode")
    content = zlib.decompress(ffi.buffer(source, size))
    ffi.memmove(dest, content, len(content))
    return len(content)


def test_codec_written_in_python(data):
    register(
        lib.blosc2_register_codec, "blosc2_codec", "compname",
        name=b"python-zlib", compcode=201, complib=201, version=1, encoder=encode, decoder=decode,
    )  # fmt: skip
    CALLS.clear()
    chunk = compress(cparams(compcode=201, compcode_meta=9), data)
    assert len(chunk) < data.nbytes // 2
    np.testing.assert_array_equal(decompress(chunk, data), data)
    assert {"encode", "decode"} == CALLS


def xor(source, dest, size, meta, params, id):
    CALLS.add(id)
    out = np.frombuffer(ffi.buffer(dest, size), np.uint8)
    np.bitwise_xor(np.frombuffer(ffi.buffer(source, size), np.uint8), meta, out=out)
    return 0


def test_filter_written_in_python(data):
    register(
        lib.blosc2_register_filter, "blosc2_filter", "name", name=b"python-xor", id=202, version=1,
        forward=callback("blosc2_filter_forward_cb")(xor),
        backward=callback("blosc2_filter_backward_cb")(xor),
    )  # fmt: skip
    CALLS.clear()
    chunk = compress(
        cparams(filters=[0, 0, 0, 0, 202, 1], filters_meta=[0, 0, 0, 0, 0x55, 0]), data
    )
    assert chunk[lib.BLOSC2_CHUNK_FILTER_CODES + 4] == 202
    np.testing.assert_array_equal(decompress(chunk, data), data)
    assert {202} == CALLS


def test_prefilter_and_postfilter_written_in_python(data):
    @ffi.callback("blosc2_prefilter_fn", error=-1)
    def double(params):
        raw = ffi.buffer(params.output, params.output_size)
        first = params.output_offset // params.output_typesize
        out = np.frombuffer(raw, np.int32)
        out[:] = 2 * data[first : first + len(out)]
        return 0

    @ffi.callback("blosc2_postfilter_fn", error=-1)
    def negate(params):
        out = np.frombuffer(ffi.buffer(params.output, params.size), np.int32)
        np.negative(np.frombuffer(ffi.buffer(params.input, params.size), np.int32), out=out)
        return 0

    chunk = compress(
        cparams(prefilter=double, preparams=(pre := ffi.new("blosc2_prefilter_params *"))), data
    )
    post = ffi.new("blosc2_postfilter_params *")
    np.testing.assert_array_equal(decompress(chunk, data), 2 * data)
    out = decompress(chunk, data, postfilter=negate, postparams=post)
    np.testing.assert_array_equal(out, -2 * data)
    assert pre.user_data == post.user_data == ffi.NULL


FILES = {}  # what a file system in memory holds
STREAMS = {}  # each open stream's file, by the number C knows it by


@callback("blosc2_open_cb", error=ffi.NULL)
def memory_open(urlpath, mode, params):
    name, mode = ffi.string(urlpath), ffi.string(mode)
    if mode.startswith(b"w"):
        FILES[name] = bytearray()
    number = max(STREAMS, default=0) + 1
    STREAMS[number] = FILES[name]
    return ffi.cast("void *", number)


def stream(pointer):
    return STREAMS[int(ffi.cast("intptr_t", pointer))]


@callback("blosc2_close_cb")
def memory_close(pointer):
    del STREAMS[int(ffi.cast("intptr_t", pointer))]
    return 0


@callback("blosc2_size_cb")
def memory_size(pointer):
    return len(stream(pointer))


@callback("blosc2_write_cb")
def memory_write(source, size, nitems, position, pointer):
    content = stream(pointer)
    content.extend(bytes(max(0, position + size * nitems - len(content))))
    content[position : position + size * nitems] = ffi.buffer(source, size * nitems)
    return nitems


@callback("blosc2_read_cb")
def memory_read(dest, size, nitems, position, pointer):
    content = stream(pointer)[position : position + size * nitems]
    ffi.memmove(dest[0], content, len(content))
    return len(content) // size


@callback("blosc2_truncate_cb")
def memory_truncate(pointer, size):
    del stream(pointer)[size:]
    return 0


@callback("blosc2_destroy_cb")
def memory_destroy(params):
    return 0


def test_files_in_a_dict(data, tmp_path):
    register(
        lib.blosc2_register_io_cb, "blosc2_io_cb", "name", name=b"python-dict", id=203,
        is_allocation_necessary=True, open=memory_open, close=memory_close, size=memory_size,
        write=memory_write, read=memory_read, truncate=memory_truncate, destroy=memory_destroy,
    )  # fmt: skip
    assert lib.blosc2_get_io_cb(203).open == memory_open
    io = ffi.new("blosc2_io *", {"id": 203})
    path = tmp_path / "array.b2frame"
    urlpath = ffi.new("char[]", os.fsencode(path))
    storage = ffi.new(
        "blosc2_storage *",
        {"contiguous": True, "urlpath": urlpath, "cparams": (params := cparams()), "io": io},
    )
    schunk = lib.blosc2_schunk_new(storage)
    assert schunk != ffi.NULL
    ok(lib.blosc2_schunk_append_buffer(schunk, ffi.from_buffer(data), data.nbytes))
    ok(lib.blosc2_vlmeta_add(schunk, b"note", b"in a dict", 9, params))
    ok(lib.blosc2_schunk_free(schunk))
    assert not path.exists()

    # C-Blosc2 asks the operating system for the file's size, whatever the I/O backend.
    path.touch()
    os.truncate(path, len(FILES[os.fsencode(path)]))
    schunk = ffi.gc(lib.blosc2_schunk_open_udio(urlpath, io), lib.blosc2_schunk_free)
    assert schunk != ffi.NULL
    out = np.empty_like(data)
    ok(lib.blosc2_schunk_decompress_chunk(schunk, 0, ffi.from_buffer(out), out.nbytes))
    np.testing.assert_array_equal(out, data)


SHAPE, CHUNK, BLOCK = (40, 30), (16, 10), (8, 5)
START, STOP = (3, 7), (33, 25)


def test_b2nd_array(tmp_path):
    data = np.arange(np.prod(SHAPE), dtype=np.float64).reshape(SHAPE)
    params = cparams(typesize=8)
    storage = ffi.new("blosc2_storage *", {"contiguous": True, "cparams": params})
    context = ffi.gc(
        lib.b2nd_create_ctx(
            storage, 2, SHAPE, CHUNK, BLOCK, b"<f8", lib.DTYPE_NUMPY_FORMAT, ffi.NULL, 0
        ),
        lib.b2nd_free_ctx,
    )
    array = ffi.new("b2nd_array_t **")
    ok(lib.b2nd_from_cbuffer(context, array, ffi.from_buffer(data), data.nbytes))
    path = os.fsencode(tmp_path / "array.b2nd")
    ok(lib.b2nd_save(array[0], ffi.from_buffer("char[]", path + b"\0")))
    ok(lib.b2nd_free(array[0]))

    ok(lib.b2nd_open(path, array))
    assert list(array[0].shape[0:2]) == list(SHAPE)
    assert ffi.string(array[0].dtype) == b"<f8"
    out = np.empty([b - a for a, b in zip(START, STOP, strict=True)])
    ok(
        lib.b2nd_get_slice_cbuffer(
            array[0], START, STOP, ffi.from_buffer(out), out.shape, out.nbytes
        )
    )
    ok(lib.b2nd_free(array[0]))
    np.testing.assert_array_equal(out, data[3:33, 7:25])


def test_caterva_array():
    data = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    context = ffi.new("caterva_ctx_t **")
    config = ffi.new("caterva_config_t *", lib.CATERVA_CONFIG_DEFAULTS)
    succeed(lib.caterva_ctx_new(config, context))
    params = ffi.new("caterva_params_t *", {"itemsize": 2, "shape": SHAPE, "ndim": 2})
    name, content = ffi.new("char[]", b"note"), ffi.new("uint8_t[]", b"fixed")
    storage = ffi.new(
        "caterva_storage_t *",
        {"chunkshape": CHUNK, "blockshape": BLOCK, "contiguous": True, "nmetalayers": 1,
         "metalayers": [{"name": name, "sdata": content, "size": 5}]},
    )  # fmt: skip
    array, copy = ffi.new("caterva_array_t **"), ffi.new("caterva_array_t **")
    succeed(
        lib.caterva_from_buffer(
            context[0], ffi.from_buffer(data), data.nbytes, params, storage, array
        )
    )
    frame, size, needs_free = ffi.new("uint8_t **"), ffi.new("int64_t *"), ffi.new("bool *")
    succeed(lib.caterva_to_cframe(context[0], array[0], frame, size, needs_free))
    succeed(lib.caterva_from_cframe(context[0], frame[0], size[0], True, copy))

    out = np.empty([b - a for a, b in zip(START, STOP, strict=True)], np.int16)
    succeed(
        lib.caterva_get_slice_buffer(
            context[0], copy[0], START, STOP, ffi.from_buffer(out), out.shape, out.nbytes
        )
    )
    np.testing.assert_array_equal(out, data[3:33, 7:25])
    layer = ffi.new("caterva_metalayer_t *")
    succeed(lib.caterva_meta_get(context[0], copy[0], b"note", layer))
    lib.free(layer.name)
    assert take(layer.sdata, layer.size) == b"fixed"

    # b2nd reads Caterva's frames.
    b2nd = ffi.new("b2nd_array_t **")
    ok(lib.b2nd_from_cframe(frame[0], size[0], True, b2nd))
    whole = np.empty_like(data)
    ok(lib.b2nd_to_cbuffer(b2nd[0], ffi.from_buffer(whole), whole.nbytes))
    np.testing.assert_array_equal(whole, data)
    ok(lib.b2nd_free(b2nd[0]))

    for each in (array, copy):
        succeed(lib.caterva_free(context[0], each))
    succeed(lib.caterva_ctx_free(context))
