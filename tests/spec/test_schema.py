"""The JSON Schema of the codec accepts what the codec writes, and refuses what it refuses."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from codings import CODINGS
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from reference_reader import SPEC

from caterva_cffi.zarr import CatervaCodec

SCHEMA = json.loads((SPEC / "schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
TRUNC = {"name": "trunc_prec", "bits": 10}


def codec(**configuration):
    return {"name": "caterva", "configuration": configuration}


VALID = [
    {"name": "caterva"},
    codec(),
    codec(block_shape=[], chunk_shape=[]),
    codec(block_shape=[3, 4], chunk_shape=[6, 8]),
    codec(filters=[], checksum=True),
    codec(filters=["shuffle", {"name": "bytedelta"}]),
    codec(cname="ndlz", filters=["delta"]),
    codec(cname="zfp_rate", rate=8, shuffle="noshuffle"),
    codec(cname="zfp_accuracy", tolerance=1e-3, filters=[]),
]
INVALID = [
    "caterva",
    {},
    {"name": "blosc2"},
    {"name": "caterva", "configuration": []},
    codec(unknown=1),
    codec(block_shape=[0]),
    codec(block_shape=[1.5]),
    codec(block_shape=4),
    codec(block_shape=[1] * 17),
    codec(cname="snappy"),
    codec(cname="ndlz", clevel=5),
    codec(cname="ndlz", cell_shape=5),
    codec(cell_shape=4),
    codec(clevel=10),
    codec(clevel=-1),
    codec(clevel="5"),
    codec(shuffle="byteshuffle"),
    codec(shuffle="shuffle", filters=["shuffle"]),
    codec(filters="shuffle"),
    codec(filters=["shuffle"] * 7),
    codec(filters=["snappy"]),
    codec(filters=["trunc_prec"]),
    codec(filters=[{**TRUNC, "bits": 0}]),
    codec(filters=[{**TRUNC, "bits": 53}]),
    codec(filters=[{**TRUNC, "cell_shape": 4}]),
    codec(filters=[{"name": "ndcell", "cell_shape": 1}]),
    codec(filters=[{"name": "ndmean", "cell_shape": 128}]),
    codec(use_dict=1),
    codec(use_dict=True, cname="zlib"),
    codec(tolerance=0.1),
    codec(cname="zfp_accuracy"),
    codec(cname="zfp_accuracy", tolerance=0),
    codec(cname="zfp_accuracy", tolerance=0.1, rate=8),
    codec(cname="zfp_precision", precision=60),
    codec(cname="zfp_rate", rate=8, shuffle="shuffle"),
    codec(cname="zfp_rate", rate=8, clevel=5),
    codec(cname="zfp_rate", rate=8, filters=["shuffle"]),
    codec(cname="zfp_rate", rate=65),
    codec(checksum=1),
]


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("valid", VALID, ids=json.dumps)
def test_valid(valid):
    VALIDATOR.validate(valid)
    CatervaCodec.from_dict(valid)


@pytest.mark.parametrize("invalid", INVALID, ids=json.dumps)
def test_invalid(invalid):
    assert not VALIDATOR.is_valid(invalid)
    if isinstance(invalid, dict) and invalid != codec(block_shape=[1] * 17):
        with pytest.raises((TypeError, ValueError, AttributeError)):
            CatervaCodec.from_dict(invalid)


SHAPES = st.none() | st.lists(st.integers(4, 2**31 - 1), max_size=4)
CODECS = st.sampled_from([coding for coding, _ in CODINGS.values()]) | st.fixed_dictionaries(
    {},
    optional={
        "cname": st.sampled_from(["lz4", "lz4hc", "blosclz", "zlib", "zstd"]),
        "clevel": st.integers(0, 9),
        "shuffle": st.sampled_from(["noshuffle", "shuffle", "bitshuffle"]),
        "checksum": st.booleans(),
    },
)


@given(CODECS, SHAPES)
@settings(deadline=None)
def test_what_is_written_is_valid(configuration, blocks):
    try:
        written = CatervaCodec(block_shape=blocks, **configuration).to_dict()
    except ValueError:  # a shape that does not suit the filters
        return
    VALIDATOR.validate(json.loads(json.dumps(written)))


def test_members_are_those_of_the_codec():
    members = SCHEMA["oneOf"][0]["properties"]["configuration"]["properties"]
    assert set(members) == {each.name for each in fields(CatervaCodec)}
