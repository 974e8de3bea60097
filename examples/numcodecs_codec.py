"""The codec of numcodecs: any buffer in, a frame out, and parts of it back."""

import numcodecs
import numpy as np

codec = numcodecs.get_codec({"id": "caterva", "cname": "zstd", "clevel": 5})

data = np.arange(200 * 300, dtype="u2").reshape(200, 300)
encoded = codec.encode(data)
print(f"{data.nbytes} bytes became {len(encoded)}")

decoded = np.empty_like(data)
codec.decode(encoded, out=decoded)
assert (decoded == data).all()

part = codec.decode_selection(encoded, np.s_[10:12, 250:])
assert (part == data[10:12, 250:]).all()
print("two rows, their last columns:", part.shape)
print(codec.get_config())
