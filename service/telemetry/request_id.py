"""The id of a request: the client's `X-Request-ID`, or a random one."""

import random
import re

from starlette.types import Scope

HEADER = b"x-request-id"
SCOPE_KEY = "fashion_lenet.request_id"  # key in a scope

# An id is written to the log and to a response header, so it must not be able to forge either.
ACCEPTED = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")

# An id is not a secret, and the system's random generator takes 3 us a request.
_numbers = random.Random()  # noqa: S311


def request_id(scope: Scope) -> str:
    """Return the client's id if it is 1 to 128 plain characters, else a random one of 32."""
    for name, value in scope["headers"]:
        if name == HEADER and ACCEPTED.fullmatch(value):
            return str(value, "ascii")
    return f"{_numbers.getrandbits(128):032x}"
