"""Classification without a server: large inputs, and results that can be resumed."""
