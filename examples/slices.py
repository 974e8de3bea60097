"""Slices as NumPy means them, read and written, and the dtype kept."""

import numpy as np

import caterva_cffi as cat

temperature = np.linspace(250, 310, 12 * 180 * 360, dtype="f4").reshape(12, 180, 360)
a = cat.asarray(temperature, chunks=(12, 90, 90), blocks=(4, 30, 30), codec=cat.Codec.ZSTD)
print(a.info)

assert (a[6, ::-2, -1] == temperature[6, ::-2, -1]).all()
assert (a[temperature > 309] == temperature[temperature > 309]).all()
assert (a.oindex[[0, 11], :, [5, 300]] == temperature[np.ix_([0, 11], range(180), [5, 300])]).all()

# Decoded straight into memory of any strides: one channel of an image, say.
image = np.zeros((180, 360, 3), "f4")
a.read(selection=np.s_[6], out=image[..., 1])
assert (image[..., 1] == temperature[6]).all()
print("July, in the green channel:", image[90, 180])

a[:, 0, :] = np.nan
print("items that are NaN now:", int(np.isnan(a[...]).sum()))

a.append(temperature[:1])
print("after one more month:", a.shape)
