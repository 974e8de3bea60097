"""Keyword arguments that are not ours: python-caterva's old ones, and those of other libraries."""

from __future__ import annotations

import inspect
import pickle
import re

import numcodecs
import numpy as np
import pytest
from public_names import public_names

import caterva_cffi as cat
import caterva_cffi.zarr
from caterva_cffi.numcodecs import Caterva
from caterva_cffi.zarr import CatervaCodec

ITEMS = np.arange(24, dtype="<i4").reshape(4, 6)
IGNORED = {"complevel": (9, "clevel"), "use_dict": (1, "usedict")}
CALLS = {
    "empty": lambda **kwargs: cat.empty((4, 6), 4, **kwargs),
    "zeros": lambda **kwargs: cat.zeros((4, 6), dtype="i4", **kwargs),
    "full": lambda **kwargs: cat.full((4, 6), b"sun", **kwargs),
    "full, checksums": lambda **kwargs: cat.full((4, 6), b"sun", checksum=True, **kwargs),
    "from_buffer": lambda **kwargs: cat.from_buffer(bytes(96), (4, 6), 4, **kwargs),
    "asarray": lambda **kwargs: cat.asarray(ITEMS, **kwargs),
    "copy": lambda **kwargs: cat.copy(cat.asarray(ITEMS), **kwargs),
    "method copy": lambda **kwargs: cat.asarray(ITEMS).copy(**kwargs),
    "slice": lambda **kwargs: cat.asarray(ITEMS).slice(np.s_[1:3], **kwargs),
}


def here():
    return inspect.currentframe().f_back.f_lineno


@pytest.mark.parametrize("name", IGNORED)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_python_caterva_ignored_has_no_effect(call, name):
    value, ours = IGNORED[name]
    with pytest.warns(DeprecationWarning) as caught:
        array = call(**{name: value})
    [warning] = caught
    assert str(warning.message).startswith(f"{name} has no effect")
    assert f" {ours} " in str(warning.message)
    assert warning.filename == __file__
    assert warning.lineno == call.__code__.co_firstlineno
    assert bytes(array.to_cframe()) == bytes(call().to_cframe())


def test_a_copy_ignores_an_item_size_as_in_python_caterva():
    array = cat.asarray(ITEMS)
    for copy in (array.copy, lambda **kwargs: cat.copy(array, **kwargs)):
        for itemsize in (4, 8):
            with pytest.warns(DeprecationWarning, match=r"itemsize .* dtype casts") as caught:
                copied = copy(itemsize=itemsize)
            assert caught[0].filename == __file__ and copied.dtype == ITEMS.dtype
            np.testing.assert_array_equal(copied, ITEMS)


def test_each_argument_warns_at_its_own_line():
    with pytest.warns(DeprecationWarning) as caught:
        first = here() + 1
        cat.zeros((3,), dtype="u1", use_dict=False, complevel=3)
        cat.zeros((3,), dtype="u1", use_dict=False)
    assert [w.lineno for w in caught] == [first, first, first + 1]


def test_other_unknown_arguments_are_refused_beside_them():
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match=r"arguments \['l'\]"):
        cat.asarray(ITEMS, complevel=9, l=3)


# --- one thing, two words -------------------------------------------------------------------------

WORDS = {"blocks": "block_shape", "chunks": "chunk_shape", "codec": "cname"}
OTHER = {**WORDS, **{ours: other for other, ours in WORDS.items()}}
OPEN = {  # callables that hand on keyword arguments, called as far as they look at these
    "zeros": CALLS["zeros"], "empty": CALLS["empty"], "full": CALLS["full"],
    "from_buffer": CALLS["from_buffer"], "asarray": CALLS["asarray"], "copy": CALLS["copy"],
    "NDArray.copy": CALLS["method copy"], "NDArray.slice": CALLS["slice"],
    "advise": lambda **kwargs: cat.advise((9, 9), "f4", "items", **kwargs),
}  # fmt: skip


def public_callables():
    for name, found in public_names():
        is_made = inspect.isclass(found) and "Parameters\n" in (found.__doc__ or "")
        if (is_made and not issubclass(found, Exception)) or inspect.isfunction(found):
            yield re.sub(r"^[a-z_.]+\.(?=[A-Z]|\w+$)", "", name), found


def words_of(name, call):
    """Return a callable that needs no other arguments, and those that it knows."""
    parameters = inspect.signature(call).parameters
    if all(each.kind is not each.VAR_KEYWORD for each in parameters.values()):
        return call, set(parameters)
    with pytest.raises(cat.ArgumentTypeError) as caught:
        OPEN[name](qqq=1)
    return OPEN[name], set(caught.value.expected)


TAKERS = {name: words_of(name, call) for name, call in public_callables()}


def test_all_that_takes_such_words_is_known():
    takers = {name for name, (_, words) in TAKERS.items() if words & OTHER.keys()}
    codecs = {"Compression", "Coding", "Parameters", "Caterva", "CatervaCodec"}
    assert takers == {*OPEN, *codecs, "convert"}


@pytest.mark.parametrize("other", OTHER)
@pytest.mark.parametrize("name", TAKERS)
def test_the_other_word_is_an_error_that_names_the_right_one(name, other):
    call, words = TAKERS[name]
    if OTHER[other] not in words or other in words:
        return
    with pytest.raises(cat.ArgumentTypeError, match=f"Did you mean '{OTHER[other]}'") as caught:
        call(**{other: 1})
    error = caught.value
    assert (error.kind, error.parameter) == ("unknown-argument", other)
    assert error.expected == (OTHER[other],)


@pytest.mark.parametrize("other", OTHER)
def test_an_array_that_exists_keeps_what_it_has(other):
    for call in (cat.open, cat.asarray(ITEMS).explain, caterva_cffi.zarr.explain):
        with pytest.raises(cat.ArgumentTypeError, match=f"For '{other}': an array that exists"):
            call(**{other: 1})


def test_a_name_of_a_codec_is_no_mapping():
    with pytest.raises(cat.ArgumentTypeError, match="the name of the codec is `cname`"):
        cat.convert("a", "b", codec="zstd")


# --- what is meant --------------------------------------------------------------------------------

MEANT = {
    "cname": "codec", "compressor": "codec", "compressors": "codec", "codecs": "codec",
    "compression": "codec", "complib": "codec",
    "level": "clevel", "compression_level": "clevel", "Clevel": "clevel",
    "compression_opts": "clevel", "chunk_shape": "chunks", "chunkshape": "chunks",
    "chunksize": "chunks", "block_shape": "blocks", "blockshape": "blocks", "shuffle": "filters",
    "filter": "filters", "filters_meta": "filtersmeta", "path": "urlpath", "filename": "urlpath",
    "url": "urlpath", "store": "urlpath", "threads": "nthreads", "cnthreads": "nthreads",
    "checksums": "checksum", "fletcher32": "checksum", "split_mode": "splitmode",
    "metadata": "meta", "overwrite": "mode", "typesize": "dtype", "blcoks": "blocks",
    "contigous": "contiguous",
}  # fmt: skip
HINTS = {
    "cparams": "its entries are keyword arguments here", "dparams": "nthreads",
    "storage": "urlpath, contiguous", "fill_value": r"full\(\) fills", "vlmeta": "array's vlmeta",
    "order": "C order", "maxshape": "can be resized",
}  # fmt: skip


@pytest.mark.parametrize("name", MEANT)
def test_unknown_arguments_are_told_what_is_meant(name):
    for call in CALLS.values():
        with pytest.raises(TypeError, match=rf"unknown arguments \['{name}'\]; ") as caught:
            call(**{name: 1})
        assert f"Did you mean '{MEANT[name]}'" in str(caught.value)


@pytest.mark.parametrize("name", HINTS)
def test_other_names_get_a_hint(name):
    with pytest.raises(TypeError, match=rf"\. For '{name}': .*{HINTS[name]}"):
        cat.asarray(ITEMS, **{name: 1})


def test_nothing_is_meant_by_nonsense():
    with pytest.raises(TypeError, match=r"\['qqq', 'zzz'\]; expected .*, usedict$"):
        cat.asarray(ITEMS, qqq=1, zzz=2)


@pytest.mark.parametrize("codec", [CatervaCodec, Caterva])
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("codec", "cname"), ("compressor", "cname"), ("level", "clevel"), ("blocks", "block_shape"),
        ("blockshape", "block_shape"), ("chunks", "chunk_shape"), ("usedict", "use_dict"),
        ("checksums", "checksum"), ("clvel", "clevel"),
    ],
)  # fmt: skip
def test_codecs_tell_what_is_meant(codec, name, meant):
    with pytest.raises(TypeError, match=rf"Did you mean '{meant}' by '{name}'"):
        codec(**{name: 1})
    configuration = {"name": "caterva", "configuration": {name: 1}}
    with pytest.raises(ValueError, match=rf"Did you mean '{meant}' by '{name}'"):
        CatervaCodec.from_dict(configuration)
    with pytest.raises(TypeError, match=meant):
        numcodecs.get_codec({"id": "caterva", name: 1})
    assert codec(clevel=3) == pickle.loads(pickle.dumps(codec(clevel=3)))


@pytest.mark.parametrize("one", ["bitshuffle", "BitShuffle", cat.Filter.BITSHUFFLE])
def test_one_filter_need_not_be_a_list(one):
    array = cat.asarray(ITEMS, filters=one)
    assert bytes(array.to_cframe()) == bytes(cat.asarray(ITEMS, filters=[one]).to_cframe())
    assert array.filters[-1] is cat.Filter.BITSHUFFLE


def test_one_parameter_of_a_filter_need_not_be_a_list():
    items = np.linspace(0, 1, 100)
    given = {"filters": "trunc_prec", "filtersmeta": 12}
    found = cat.asarray(items, **given)
    np.testing.assert_array_equal(found, cat.asarray(items, filters=[4], filtersmeta=[12]))
    assert found.filtersmeta[-1] == 12 and 0 < abs(found[:] - items).max() < 1e-2


@pytest.mark.parametrize("codec", [Caterva, CatervaCodec, cat.Compression])
def test_only_parameters_are_offered(codec):
    with pytest.raises(cat.ArgumentTypeError) as caught:
        codec(nonsense=1)
    assert set(caught.value.expected) <= set(inspect.signature(codec.__init__).parameters)
    with pytest.raises(cat.ArgumentTypeError, match=r"unknown arguments \['_told'\]"):
        codec(_told=1)
