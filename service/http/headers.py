"""Security headers of every response."""

from collections.abc import Mapping

Headers = list[tuple[bytes, bytes]]

POLICY = b"content-security-policy"
ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
NOTHING = (POLICY, b"default-src 'none'; frame-ancestors 'none'")  # for JSON, which is not a page

# Swagger's page runs its own scripts, shows data: images, and sets inline styles.
DOCUMENTATION: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
}


def secure(headers: Headers) -> None:
    """Add the security headers to a response's headers; keep a policy that it already has."""
    headers += ALWAYS
    if POLICY not in dict(headers):
        headers.append(NOTHING)
