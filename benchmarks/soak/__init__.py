"""Twenty minutes of mixed traffic, and a server's resources during it."""
