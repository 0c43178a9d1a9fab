"""Preprocessing: from an image file's bytes to the network's input."""
