"""What this service consumes: populations, the directory, and the log of each partition."""
