"""Pictures of a network and of its answers, drawn and written as PNG."""
