"""Columns by ordinal, and everything that runs over all subscribers at once."""
