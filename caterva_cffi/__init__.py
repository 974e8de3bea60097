"""Cheap slices of big compressed arrays: Caterva and C-Blosc2 for Python."""
from caterva_cffi._libcaterva import ffi, lib
