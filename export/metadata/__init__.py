"""What a model carries beside its graph: name, version, labels, figures, statistics."""
