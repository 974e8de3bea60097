"""The commands of the tool `caterva`: a module for each."""
