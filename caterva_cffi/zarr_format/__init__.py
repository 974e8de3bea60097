"""Zarr's metadata, understood without Zarr."""
