"""The chunks of Zarr arrays."""
