"""The version of caterva_cffi, in one place."""

__version__ = "0.1.0"
