"""The owner of C-Blosc2's super-chunk."""
