"""Trees of arrays in formats of this package and of others, read through one face."""
