"""Which bytes to read, without input or output."""
