"""The folded network held against the trained one: measured, judged, told."""
