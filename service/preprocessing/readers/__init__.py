"""Readers of files that Pillow alone refuses, or shows as browsers do not."""
