"""Arrays as frames in memory: the code that both codecs share."""
