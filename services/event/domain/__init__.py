"""What definitions mean: sources, attributes, conditions, areas. Pure and synchronous."""
