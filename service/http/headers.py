"""What every answer tells browsers to keep from doing with it."""

from collections.abc import Mapping

Headers = list[tuple[bytes, bytes]]

POLICY = b"content-security-policy"
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
NOTHING = (POLICY, b"default-src 'none'; frame-ancestors 'none'")  # of JSON, for it is no page

# Swagger's page runs its own scripts, draws in data: and sets styles in its elements.
DOCUMENTATION: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
}


def secure(headers: Headers) -> None:
    """Add them to the headers of an answer; a policy of its own stays."""
    headers += ALWAYS
    if POLICY not in dict(headers):
        headers.append(NOTHING)
