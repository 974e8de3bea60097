"""Arrays: the objects that users hold."""
