"""Measurements: `make bench`, and the programs behind the figures of docs/."""
