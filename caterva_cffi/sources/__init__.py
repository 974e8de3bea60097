"""Objects behind URLs, and readers of the user's, read by ranges."""
