"""The matcher: batches of columns against an index of conditions, with state per subscriber."""
