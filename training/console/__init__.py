"""What a person at the terminal gives and sees: options, progress, Ctrl-C."""
