"""Blosc2 data that exists, read as Zarr arrays without a copy."""
