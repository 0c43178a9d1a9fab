"""Make untrusted text safe for a terminal."""


def printable(text: str) -> str:
    """Return the text with control characters replaced; line breaks are kept."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
