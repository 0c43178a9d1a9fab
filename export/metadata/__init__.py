"""The metadata of a model: name, version, labels, figures, statistics."""
