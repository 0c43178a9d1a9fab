"""The model as requests use it, whatever protocol they come by."""
