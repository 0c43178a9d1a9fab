"""Comparison of images with the training set, one by one and as a stream."""
