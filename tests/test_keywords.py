"""Keyword arguments that are not ours: python-caterva's old ones, and those of other libraries."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import caterva_cffi as cat

ITEMS = np.arange(24, dtype="<i4").reshape(4, 6)
IGNORED = {"cname": ("zstd", "codec"), "complevel": (9, "clevel"), "use_dict": (1, "usedict")}
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
        cat.zeros((3,), dtype="u1", cname="zstd", complevel=3)
        cat.zeros((3,), dtype="u1", use_dict=False)
    assert [w.lineno for w in caught] == [first, first, first + 1]


def test_other_unknown_arguments_are_refused_beside_them():
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match=r"unknown argument 'l'"):
        cat.asarray(ITEMS, cname="zstd", l=3)
