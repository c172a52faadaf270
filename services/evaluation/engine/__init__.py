"""Vectorised machinery of evaluation: the copied directory and the arithmetic of reports."""
