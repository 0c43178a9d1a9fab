"""The input monitor: its cost, and the images that it finds."""
