"""The one way from a selection to its items."""
