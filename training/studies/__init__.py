"""Studies of batch norm: each writes figures, one set for each seed, and a picture of them."""
