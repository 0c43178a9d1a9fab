"""How images compare with the training set, one by one and as a stream."""
