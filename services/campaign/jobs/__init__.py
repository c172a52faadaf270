"""Loops: launcher, planner, completer, refresher. The clock is passed in with the service."""
