"""Text of anyone's file, on its way to a terminal."""


def printable(text: str) -> str:
    """Let no text of anyone's file command the terminal; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
