"""What `make` runs beside the services: contracts, documents, checks."""
