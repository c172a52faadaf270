"""gRPC of the campaign service."""
