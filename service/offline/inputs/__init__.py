"""Where the pictures of a large input come from."""
