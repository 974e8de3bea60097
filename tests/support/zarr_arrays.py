"""Zarr arrays of our codec, in both of Zarr's pipelines, and selections of them."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
import zarr.core.codec_pipeline as pipelines
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from caterva_cffi.zarr import CatervaCodec

PIPELINES = {
    name: f"{pipelines.__name__}.{name}"
    for name in ("BatchedCodecPipeline", "FusedCodecPipeline")
    if hasattr(pipelines, name)
} | {"CatervaPipeline": "caterva_cffi.zarr.CatervaPipeline"}
DEFAULT = {"zarr_format": 3, "compressors": None}

unstable = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
hypothesis_settings = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(autouse=True, params=list(PIPELINES))
def pipeline(request):
    with zarr.config.set({"codec_pipeline.path": PIPELINES[request.param]}):
        yield request.param


def create(data, chunks, codec=None, store=None, **kwargs):
    """Return a Zarr array that holds `data`."""
    data = np.asarray(data)
    z = zarr.create_array(
        {} if store is None else store,
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        serializer=codec or CatervaCodec(),
        **{**DEFAULT, **kwargs},
    )
    z[...] = data
    return z


def objects(store):
    """Return the stored chunks of an array by key."""
    return {key: value for key, value in store.items() if not key.endswith("zarr.json")}


@st.composite
def partitions(draw, min_side=1):
    """Draw an array's shape, and chunk and block shapes for it."""
    shape = draw(st.lists(st.integers(min_side, 9), min_size=1, max_size=3))
    chunks = [draw(st.integers(1, max(n, 1))) for n in shape]
    blocks = [draw(st.integers(1, n)) for n in chunks]
    return tuple(shape), tuple(chunks), tuple(blocks)


def slices(length):
    ends = st.one_of(st.none(), st.integers(-length - 2, length + 2))
    return st.builds(slice, ends, ends, st.one_of(st.none(), st.integers(1, 4)))


def points(length, *, unique=False):
    return st.lists(
        st.integers(-length, length - 1) if not unique else st.integers(0, length - 1),
        min_size=1,
        max_size=6,
        unique=unique,
    )


def masks(length):
    return st.lists(st.booleans(), min_size=length, max_size=length).map(np.array)


def each(draw, shape, *kinds):
    return tuple(draw(st.one_of(*(kind(n) for kind in kinds))) for n in shape)


def integers(length):
    return st.integers(-length, length - 1)


def orthogonal(data, selection):
    """Select along one dimension after another; integers drop theirs."""
    for dim in reversed(range(len(selection))):
        key = selection[dim]
        data = data[(slice(None),) * dim + (np.asarray(key) if isinstance(key, list) else key,)]
    return data
