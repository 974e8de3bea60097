"""The checks that numcodecs runs on each codec of its own, on ours."""

from __future__ import annotations

import pytest

from caterva_cffi.codecs.coding import SHUFFLES
from caterva_cffi.codecs.compressors import CNAMES
from caterva_cffi.codecs.needs import Needs
from caterva_cffi.numcodecs import Caterva
from tests import common, test_blosc, test_zlib, test_zstd

ARRAYS = [*test_zlib.arrays, *test_blosc.arrays, *test_zstd.arrays]
CODECS = [
    *(Caterva(cname=name) for name, each in CNAMES.items() if each.needs == Needs()),
    *(Caterva(shuffle=name) for name in SHUFFLES if name != Caterva().shuffle),
    *(Caterva(clevel=level) for level in (0, 9)),
    Caterva(checksum=True),
    Caterva(use_dict=True),
    Caterva(filters=["delta", "shuffle"]),
    Caterva(filters=["shuffle", "bytedelta"]),
]


def named(codec):
    return repr(codec)


every_codec = pytest.mark.parametrize("codec", CODECS, ids=named)


@every_codec
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}")
def test_encode_decode(array, codec):
    common.check_encode_decode(array, codec)


@every_codec
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}")
def test_encode_decode_array(array, codec):
    common.check_encode_decode_array(array, codec)


@every_codec
def test_config_and_repr(codec):
    common.check_config(codec)
    assert eval(repr(codec)) == codec


@every_codec
def test_objects_are_refused(codec):
    common.check_err_decode_object_buffer(codec)
    common.check_err_encode_object_buffer(codec)
    with pytest.raises(TypeError):
        codec.encode(["foo", "bar", "baz"])


@every_codec
def test_written_once_and_read_again(codec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        common.check_backwards_compatibility(Caterva.codec_id, ARRAYS, [codec])
