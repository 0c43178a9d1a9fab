"""The networks that `python -m training` trains."""
