"""The terminal interface: options, progress, Ctrl-C."""
