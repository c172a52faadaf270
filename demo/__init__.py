"""The demonstration of the platform: a real region with generated stations, subscribers and signals."""
