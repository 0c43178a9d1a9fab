"""Draw figures of a network and its predictions, and write them as PNG."""
