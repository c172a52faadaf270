"""The shared runtime of the services: no marketing knowledge, one idea a file."""
