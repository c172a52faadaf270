"""Built-in adapters: one folder a channel, each a process of its own that imports only the SDK."""
