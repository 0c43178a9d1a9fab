"""Fold batch norms into neighbouring layers: find the layers, compute the weights, report."""
