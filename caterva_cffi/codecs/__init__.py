"""Arrays as frames in memory: what both codecs share."""
