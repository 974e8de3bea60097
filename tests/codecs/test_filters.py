"""Lists of filters: names, parameters, and orders that decode."""

from __future__ import annotations

import pytest

import caterva_cffi as cat
from caterva_cffi.codecs.filters import FilterSpec, parse_filters

TRUNC = {"name": "trunc_prec", "bits": 10}
MEAN = {"name": "ndmean", "cell_shape": 4}


def test_filters_come_back_as_they_were_given():
    given = [TRUNC, {"name": "ndcell", "cell_shape": 4}, "shuffle", "bytedelta"]
    specs = parse_filters(given)
    assert [spec.to_json() for spec in specs] == given
    assert parse_filters(specs) == specs
    assert specs[0] == FilterSpec("trunc_prec", bits=10)


@pytest.mark.parametrize(
    ("filters", "match"),
    [
        (["shufle"], "filter is 'shufle'; expected one of .* Did you mean 'shuffle'"),
        ([{"name": "lz4"}], "filter is 'lz4'"),
        (["trunc_prec"], "has bits None; expected 1 to 52 bits to keep, .* such as 8"),
        ([{"name": "trunc_prec", "bits": 53}], "has bits 53; .* such as 52"),
        ([{"name": "trunc_prec", "bits": 0}], "has bits 0; .* such as -1"),
        ([{"name": "int_trunc", "bits": -64}], "has bits -64; .* such as -63"),
        ([{"name": "int_trunc", "bits": True}], "has bits True"),
        (
            [{"name": "ndcell", "cell_shape": 1}],
            "cell_shape 1; expected the side of cells, 2 to 255",
        ),
        ([{"name": "ndmean", "cell_shape": 128}], "such as 127"),
        ([{"name": "ndcell", "bits": 4}], r"has \['bits'\]; expected {'name': 'ndcell', 'cell"),
        ([{"name": "shuffle", "bits": 4}], r"has \['bits'\]; expected 'shuffle'"),
        (["shuffle"] * 7, "has 7 of them; expected at most 6"),
        (["shuffle", "delta"], "expected 'delta' first"),
        (["delta", "shuffle", "bytedelta"], "at most one filter behind it"),
        (["delta", "delta"], "expected 'delta' first"),
        (["shuffle", TRUNC], "expected 'trunc_prec' in front of the others"),
        (["delta", MEAN], "expected 'ndmean' in front of the others"),
        ([{"name": "ndcell", "cell_shape": 4}, MEAN], "expected 'ndmean' in front"),
        ([TRUNC, {"name": "int_trunc", "bits": 3}], "not both"),
    ],
    ids=str,
)
def test_wrong_filters(filters, match):
    with pytest.raises(cat.ArgumentError, match=match):
        parse_filters(filters)


@pytest.mark.parametrize(
    "filters", ["shuffle", {"name": "shuffle"}, 3, [3], [{"bits": 3}]], ids=str
)
def test_filters_of_other_types(filters):
    with pytest.raises(TypeError, match="expected a"):
        parse_filters(filters)


def test_a_spec_checks_itself():
    with pytest.raises(cat.ArgumentError, match=r"has cell_shape 3; expected .*'bits'"):
        FilterSpec("trunc_prec", bits=3, cell_shape=3)
