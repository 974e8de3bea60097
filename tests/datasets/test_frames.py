"""Frames of every writer, converted to Zarr and back."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from golden_frames import FRAMES

import caterva_cffi as cat

NESTED = "python_blosc2/dtype-nested"  # which Zarr has no data type for


@pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")
@pytest.mark.parametrize("frame", FRAMES, ids=str)
def test_frames_to_zarr_and_back(frame, tmp_path):
    with cat.open(frame.path, mode="r") as array:
        expected, dtype = array[...], array.dtype.newbyteorder("=")
        layers = dict(array.vlmeta)
    if str(frame) == NESTED:
        with pytest.raises(cat.UnsupportedError, match=r"^/, of .*leave it out"):
            cat.convert(frame.path, tmp_path / "a")
        return
    done = cat.convert(frame.path, tmp_path / "a", verify=True)
    found = np.asarray(zarr.open_array(tmp_path / "a", mode="r")[...], dtype)
    assert found.tobytes() == np.asarray(expected).astype(dtype).tobytes()
    assert done.encoded == 0 or array.dtype != dtype or not found.ndim
    again = cat.convert(tmp_path / "a", tmp_path / "b.b2nd", verify=True)
    assert (again.copied + again.encoded) == (done.copied + done.encoded)
    with cat.open(tmp_path / "b.b2nd", mode="r") as array:
        found = dict(array.vlmeta)
    if expected.dtype.names and "zarr" not in layers:
        found.pop("zarr", None)  # an old zarr fills structures with other items than zeros
    assert found == layers
