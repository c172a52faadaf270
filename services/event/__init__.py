"""The event service: sees which subscribers meet a definition, out of the stream of signals."""
