"""The bytes of frames, read and written; everything that is read is checked."""
