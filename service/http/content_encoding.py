"""Compressed request bodies (RFC 9110, section 8.4)."""

import zlib

from service.errors import InvalidInput, PlainOnly, TooLarge, UnsupportedEncoding

# With these window sizes zlib expects gzip's header (RFC 1952), or zlib's own (RFC 1950), which
# HTTP calls deflate.
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
PLAIN = ("", "identity")


def is_compressed(encoding: str) -> bool:
    """Return whether a body with this Content-Encoding is compressed.

    Raises:
        UnsupportedEncoding: the encoding is not supported.
    """
    coding = encoding.strip().lower()
    if coding not in PLAIN and coding not in WINDOWS:
        raise UnsupportedEncoding(
            f"Content-Encoding {coding[:60]!r} is not served: send gzip, deflate, or neither"
        )
    return coding in WINDOWS


def refuse_compressed(encoding: str) -> None:
    """Reject a compressed body, for a route that takes only uncompressed ones.

    Raises:
        PlainOnly: the Content-Encoding says that the body is compressed.
    """
    if encoding and encoding.strip().lower() not in PLAIN:
        raise PlainOnly(
            f"Content-Encoding {encoding[:60]!r} is not served here: send the body as it is"
        )


def inflate(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the content of a compressed body; inflation stops one byte above the limit.

    Args:
        body: the body as received.
        encoding: its Content-Encoding, gzip or deflate.
        max_bytes: the largest content accepted.

    Raises:
        TooLarge: the content is larger.
        InvalidInput: the body is broken, cut off, or followed by other data.
    """
    coding = encoding.strip().lower()
    decompressor = zlib.decompressobj(WINDOWS[coding])
    try:
        content = decompressor.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidInput(
            f"the body is not what Content-Encoding {coding} says: {error}"
        ) from None
    if len(content) > max_bytes:
        raise TooLarge(f"the body inflates to more than {max_bytes:,} bytes, the limit")
    if not decompressor.eof:
        raise InvalidInput(f"the {coding} body is cut off: its end is missing")
    if decompressor.unused_data:
        raise InvalidInput(
            f"{len(decompressor.unused_data):,} bytes follow the end of the {coding} body, which "
            "must be one stream"
        )
    return content
