"""The C libraries, called from Python."""
