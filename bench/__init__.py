"""One file a hot path. Each measures ours beside its limit and beside the plain alternatives, in one run."""
