"""Write the arrays in tests/golden/imagecodecs, with imagecodecs 2026.10.10 and zarr 3.4.2."""

import sys
from pathlib import Path

import numpy as np
import zarr
from imagecodecs.zarr import B2nd

items = np.arange(60 * 70, dtype="f4").reshape(60, 70)
codecs = {
    "default": B2nd(),
    "zstd": B2nd(level=5, compressor="zstd", shuffle="shuffle", blockshape=(8, 10)),
}
for name, codec in codecs.items():
    path = Path(sys.argv[1]) / f"{name}.zarr"
    array = zarr.create_array(
        path, shape=items.shape, chunks=(30, 40), dtype="f4", serializer=codec, compressors=None
    )
    array[:] = items
