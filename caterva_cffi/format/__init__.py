"""The bytes of frames, read and written; nothing in them is trusted."""
