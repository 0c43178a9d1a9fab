"""Servers under load and bad input: ours, and the peers of `benchmarks.servers`."""
