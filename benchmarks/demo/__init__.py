"""The demo: parts of one array, read from Zarr copies that are compressed in several ways."""
