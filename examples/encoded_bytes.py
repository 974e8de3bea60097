"""An array's encoded bytes as a buffer, and an array from such a buffer; nothing is copied.

The question that zarr-python issue 713 stopped at: `encoded_data = ?`
"""

import numpy as np

import caterva_cffi as cat

data = np.random.default_rng().random((2000, 10000))
c = cat.from_buffer(
    data.tobytes(),
    shape=data.shape,
    itemsize=data.dtype.itemsize,
    chunks=(1000, 10000),
    blocks=(100, 100),
)

encoded_data = cat.schunk_to_buffer(c)
print(f"{data.nbytes} bytes of random numbers became a frame of {encoded_data.nbytes} bytes")

# Anything with the buffer protocol can be opened: bytes from a socket, an mmap, this view.
array = cat.from_cframe(encoded_data)
row = array[1234, 5000:5003]
print(f"three items, from the one block that holds them: {row.dtype}")  # no dtype= was given
assert (row.view(data.dtype) == data[1234, 5000:5003]).all()
