"""Who gets in, as the settings have it: API keys, and the origins of CORS."""

import re

from pydantic import SecretStr

SHORTEST, LONGEST = 16, 1024  # characters of a key; a request's head has room for 32 KiB
VISIBLE = re.compile("[!-~]*")  # ASCII without white space (RFC 9110, section 5.5)

# A scheme, a host and perhaps a port, as browsers write them in the header Origin (RFC 6454,
# section 6.2): in small letters, an IPv6 address in brackets, nothing behind.
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
ANY = "*"


def read_keys(text: str) -> tuple[SecretStr, ...]:
    """Read keys that are separated by commas.

    Raises:
        ValueError: one cannot be a key. The message does not have it.
    """
    keys = text.split(",")
    for place, key in enumerate(keys, 1):
        if fault := _fault(key):
            raise ValueError(
                f"key {place} of {len(keys)} {fault}; {SHORTEST} to {LONGEST} characters of ASCII, "
                "with no space and no comma, are right"
            )
    return tuple(map(SecretStr, keys))


def _fault(key: str) -> str:
    if not key:
        return "is empty"
    if any(map(str.isspace, key)):
        return "has white space in it or around it"
    if not VISIBLE.fullmatch(key):
        return "has a character that no header can carry"
    return "" if SHORTEST <= len(key) <= LONGEST else f"has {len(key)} characters"


def read_origins(text: str) -> tuple[str, ...]:
    """Read origins that are separated by commas, or `*` for any.

    Raises:
        ValueError: one of them is none.
    """
    origins = tuple(text.split(","))
    for origin in origins:
        if not ORIGIN.fullmatch(origin) and origins != (ANY,):
            raise ValueError(
                f"{origin!r} is no origin: https://shop.example or http://localhost:8080 is "
                "right, several separated by commas alone, or * for any"
            )
    return origins
