"""Twenty minutes of mixed traffic, and what a server uses meanwhile."""
