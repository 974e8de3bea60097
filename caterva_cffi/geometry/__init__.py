"""Shapes, partitions and selections: pure arithmetic."""
