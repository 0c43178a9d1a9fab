"""Batch norms go into the layers beside them: which layers, by what mathematics, how well."""
