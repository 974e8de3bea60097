"""Parameters of compression, from Python to the chunks."""

from __future__ import annotations

import shutil

import pytest
from stored_arrays import ITEMS, PARTITION, make

import caterva_cffi as cat
from caterva_cffi import Codec, Filter, SplitMode

pytestmark = pytest.mark.usefixtures("in_empty_folder")


NO = Filter.NOFILTER
PARAMETERS = {
    "defaults": ({}, (Codec.LZ4, 5, [NO] * 5 + [Filter.SHUFFLE], [0] * 6)),
    "none": ({"filters": [], "clevel": 0}, (Codec.LZ4, 0, [NO] * 6, [0] * 6)),
    "codec": (
        {"codec": Codec.ZSTD, "clevel": 9},
        (Codec.ZSTD, 9, [NO] * 5 + [Filter.SHUFFLE], [0] * 6),
    ),
    "filters": (
        {
            "codec": Codec.BLOSCLZ,
            "clevel": 1,
            "filters": [Filter.TRUNC_PREC, Filter.BITSHUFFLE],
            "filtersmeta": [20, 0],
        },
        (Codec.BLOSCLZ, 1, [NO] * 4 + [Filter.TRUNC_PREC, Filter.BITSHUFFLE], [0] * 4 + [20, 0]),
    ),
    "negative filtersmeta": (
        {"filters": [Filter.INT_TRUNC, Filter.SHUFFLE], "filtersmeta": [-3, 0], "codec": "zlib"},
        (Codec.ZLIB, 5, [NO] * 4 + [Filter.INT_TRUNC, Filter.SHUFFLE], [0] * 4 + [253, 0]),
    ),
    "six filters": (
        {"filters": [NO] * 4 + [Filter.DELTA, Filter.SHUFFLE], "filtersmeta": [0] * 6},
        (Codec.LZ4, 5, [NO] * 4 + [Filter.DELTA, Filter.SHUFFLE], [0] * 6),
    ),
}


@pytest.mark.parametrize(("kwargs", "expected"), PARAMETERS.values(), ids=list(PARAMETERS))
@pytest.mark.parametrize("construct", [cat.asarray, cat.from_buffer, cat.zeros], ids=str)
def test_parameters_arrive(kwargs, expected, construct):
    arguments = {
        cat.asarray: (ITEMS,),
        cat.from_buffer: (ITEMS, ITEMS.shape, 4),
        cat.zeros: (ITEMS.shape, 4),
    }[construct]
    made = construct(*arguments, urlpath="a", contiguous=True, **PARTITION, **kwargs)
    for array in (made, cat.open("a"), cat.from_cframe(made.to_cframe())):
        assert (array.codec, array.clevel, array.filters, array.filtersmeta) == expected


@pytest.mark.parametrize("mode", SplitMode, ids=lambda mode: mode.name)
@pytest.mark.parametrize("usedict", [True, False])
@pytest.mark.parametrize("nthreads", [1, 3])
def test_parameters_that_only_c_sees_arrive(mode, usedict, nthreads):
    options = {"splitmode": mode, "usedict": usedict, "nthreads": nthreads, "codec": Codec.ZSTD}
    made = make("a", contiguous=True, codec_meta=77, **options)
    assert (made[...] == ITEMS).all()
    for array in (made, cat.open("a")):
        # A frame keeps neither codec_meta nor threads where nothing needs them.
        assert array.schunk.ptr.splitmode == mode.value
        assert bool(array.schunk.ptr.use_dict) is usedict
        assert array.schunk.ptr.compcode_meta == 77


def test_what_is_written_later_is_compressed_alike():
    large = {"chunks": (20, 30), "blocks": (20, 30)}
    make("a", contiguous=True, codec=Codec.ZSTD, clevel=7, **large).close()
    opened = cat.open("a")
    opened[...] = ITEMS[::-1]
    opened.append(ITEMS)
    assert (opened.codec, opened.clevel) == (Codec.ZSTD, 7)
    assert opened.cratio > 2
    shutil.copy("a", "b")
    assert (cat.open("b")[:20] == ITEMS[::-1]).all()
