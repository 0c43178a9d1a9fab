"""Unusual paths and queries, invalid methods, and wrong headers."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

from tests.hostile.cases import NO_PICTURE, Case
from tests.hostile.forms import GOOD as FORM
from tests.hostile.forms import TYPE
from tests.hostile.numbers import IMAGE, INFER, of
from tests.hostile.png import GOOD as PNG

PICTURE = [("Content-Type", "image/png")]
NOTHING = "there is no "


def get(path: str, status: int = 404, says: str = NOTHING) -> Case:
    return Case(f"GET {path[:60]} ({len(path)})", status, says, method="GET", path=path)


def asks(query: str, status: int = 400, says: str = "") -> Case:
    return Case(f"?{query[:60]} ({len(query)})", status, says, PNG, path=f"/classify?{query}", headers=PICTURE)


def method(name: str, path: str, says: str = "does not take") -> Case:
    return Case(f"{name} {path}", 405, says, method=name, path=path)


def headed(name: str, status: int, says: str, *headers: tuple[str, str], body: bytes = PNG, path: str = "/classify") -> Case:
    return Case(f"a header: {name}", status, says, body, path=path, headers=headers)


def raw(name: str, head: bytes, body: bytes = b"", says: str = "not an HTTP/1.1 request", status: int = 400) -> Case:
    return Case(f"HTTP: {name}", status, says, body, head=head)


PATHS = [
    *(
        get(path)
        for path in (
            *("/nothing", "//", "/./livez", "/../livez", "/livez/", "/LIVEZ", "/livez%00", "/livez%0a"),
            *("/livez%0d%0aX:%201", "/livez%2f", "/%6civez/x", "/livez;a=b", "/livez.", "/livez%20", "/%00"),
            *("/classify%0a/", "/ui/../service/server/bentoml_service.py", "/ui/..%2f..%2fservice%2fweb.py", "/ui/%2e%2e/web.py"),
            *("/ui/..%5c..%5cweb.py", "/ui//etc/passwd", "/ui/%2fetc%2fpasswd", "/ui/index.html%00.js", "/ui/samples"),
            *("/ui/index.html%0a", "/ui/samples/..%252f..%252fweb.py", "/ui/CON", "/ui/" + "a/" * 500),
            *("/static_content/../../settings.py", "/static_content/..%2f..%2fmain.py", "/static_content/%00"),
            *("/etc/passwd", "/.env", "/.git/config", "/server-status", "/actuator/env", "/wp-login.php", "/admin"),
            *("/v2/models", "/v2/models/", "/v2/models/fashion_lenet/", "/v2/models/other", "/v2/models/..", "/v2/models/%2e%2e"),
            *("/v2/models/fashion_lenet%00", "/v2/models/fashion_lenet/versions/2", "/v2/models/fashion_lenet/versions/%0a"),
            *("/v2/models/fashion_lenet/versions/" + "9" * 5000, "/v2/models/" + "a" * 9000, "/v2/repository"),
            *("/v2/models/fashion_lenet/ready/x", "/v2/health", "/v2/health/live%0a", "/v3", "/metrics/../livez", "/docs.json%0a"),
            *("/schema.json/", "/%ff%fe", "/%e2%82%ac", "/" + "a" * 9000, "/" + "%41" * 3000, "/" + "../" * 3000 + "etc/passwd"),
            *("/%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/${jndi:ldap://127.0.0.1/a}", "/<script>alert(1)</script>", "/%", "/%zz", "/%c0%ae%c0%ae/"),
        )
    ),
    get("/livez?x=../../etc/passwd", 200, ""),
    get("/%6c%69%76%65%7a", 200, ""),
    *(Case(f"infer at {path[:50]}", 404, NOTHING, of([IMAGE]), path=path) for path in (INFER + "%0a", INFER + "/", INFER.replace("fashion_lenet", "x" * 3000), "/v2/models/fashion_lenet/versions/0/infer", "/v2/models/%00/infer")),
    Case("classify with a line break", 404, NOTHING, PNG, path="/classify%0a", headers=PICTURE),
]

QUERIES = [
    asks("mode=other", says="mode is 'other', expected one of auto, raw, photo"),
    asks("mode=", says="mode is ''"),
    asks("mode=AUTO", says="mode is 'AUTO'"),
    asks("mode=auto%0a", says="mode is 'auto\\n'"),
    asks("mode=" + "a" * 9000, says="mode is 'aaaa"),
    asks("mode=raw&mode=x", says="mode is given twice"),
    asks("mode[]=raw", says="the query has parameter 'mode[]'"),
    asks("top_k=0", says="top_k is '0', expected one of 1, 2"),
    asks("top_k=11", says="top_k is '11'"),
    asks("top_k=-1", says="top_k is '-1'"),
    asks("top_k=1e1", says="top_k is '1e1'"),
    asks("top_k=%EF%BC%91", says="top_k is '\uff11'"),
    asks("top_k=%31%00", says="top_k is '1\\x00'"),
    asks("top_k=" + "9" * 9000, says="top_k is '999"),
    asks("top_k=NaN", says="top_k is 'NaN'"),
    asks("&&&==&%&%zz&=", says="the query has parameter ''"),
    asks("a=b&" * 3000, says="the query has parameter 'a'"),
    asks("url=http://127.0.0.1/a.png", says="known parameters: model, mode and top_k"),
]

METHODS = [
    *(method(name, "/classify") for name in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND")),
    *(method(name, "/livez") for name in ("POST", "PUT", "DELETE", "TRACE")),
    method("GET", "/predict"),
    method("GET", INFER),
    method("POST", "/"),
    method("POST", "/metrics"),
    method("POST", "/docs.json"),
    raw("a method that is none", b"FETCH /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("a method in small letters", b"get /livez HTTP/1.1\r\nHost: x\r\n\r\n"),
]

HEADERS = [
    *(
        headed(f"Content-Type {kind[:40]!r} ({len(kind)})", 415, f"Content-Type {shown} is not served", ("Content-Type", kind))
        for kind, shown in (
            *(("image", "image"), ("imagepng", "imagepng"), ("text/html", "text/html"), ("multipart/mixed; boundary=b", "multipart/mixed")),
            *(("application/vnd.bentoml+pickle", "application/vnd.bentoml+pickle"), ("application/x-pickle", "application/x-pickle")),
        )
    ),
    *(
        headed(f"Content-Type {kind[:40]!r} ({len(kind)})", 200, "", ("Content-Type", kind))
        for kind in (
            *("image/svg+xml", "image/*", "*/*", "", ";", "image/png,image/jpeg", "application/octet-stream", "image/heic"),
            *("image/vnd.adobe.photoshop", "image/x-icon", "image/jpg", "image/tif", "binary/octet-stream; x=y", "IMAGE/" + "X" * 9000),
        )
    ),
    headed("a Content-Type of 9,000 letters", 415, "is not served", ("Content-Type", "a/" + "b" * 9000)),
    headed("a Content-Type of noise", 415, "is not served", ("Content-Type", "\xff\xfe/\x80")),
    headed("two Content-Types, of which the first counts", 415, "text/plain", ("Content-Type", "text/plain"), ("Content-Type", "image/png")),
    headed("a Content-Type in capitals", 200, "", ("Content-Type", "IMAGE/PNG")),
    headed("a Content-Type with parameters", 200, "", ("Content-Type", "image/png; q=1; charset=utf-7")),
    *(headed(f"Content-Encoding {coding[:40]!r}", 415, "is not served here: send the body as it is", *PICTURE, ("Content-Encoding", coding)) for coding in ("gzip", "deflate", "br", "GZIP", "x" * 5000)),
    headed("Content-Encoding gzip of a form", 415, "send the body as it is", ("Content-Type", TYPE), ("Content-Encoding", "gzip"), body=FORM),
    headed("Content-Encoding gzip of a batch", 415, "send the body as it is", ("Content-Type", TYPE), ("Content-Encoding", "gzip"), body=FORM, path="/classify_batch"),
    headed("Content-Encoding identity", 200, "", *PICTURE, ("Content-Encoding", "identity")),
    headed("a request id that would forge the log", 200, "", *PICTURE, ("X-Request-ID", 'x" status=200')),
    headed("a request id of 5,000 letters", 200, "", *PICTURE, ("X-Request-ID", "a" * 5000)),
    headed("an address that is forged", 200, "", *PICTURE, ("X-Forwarded-For", "127.0.0.1, ${jndi:ldap://x}")),
    headed("100 headers", 200, "", *PICTURE, *((f"X-{k}", "x") for k in range(100))),
    headed("a Host of another", 200, "", *PICTURE, ("Host", "evil.example")),
    headed("a method to override", 200, "", *PICTURE, ("X-HTTP-Method-Override", "DELETE")),
    headed("a range", 200, "", *PICTURE, ("Range", "bytes=0-999999999999999999999")),
    headed("a traceparent of noise", 200, "", *PICTURE, ("traceparent", "\xff" * 55)),
    headed("a Content-Length of 5,000 digits", 400, "", *PICTURE, ("Content-Length", "9" * 5000)),
    headed("a Content-Length of 19 digits", 413, "bytes, 10,485,760 are the limit", *PICTURE, ("Content-Length", "9" * 19), body=b""),
    headed("a Content-Length of 11 MB", 413, "the body has 11,000,000 bytes", *PICTURE, ("Content-Length", "11000000"), body=b""),
]

LENGTHS = [
    raw(f"a Content-Length of {length.decode('latin-1')!r}", b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: " + length + b"\r\n\r\n", PNG)
    for length in (b"-1", b"+5", b"0x10", b"1e3", b"5.0", b"ten", b"", b"5, 6", b"99999999999999999999999", b"\xb2")
]

POST = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
CODING = "the Transfer-Encoding is not served"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

HTTP = [
    raw("nonsense", b"nonsense\r\n\r\n"),
    raw("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(60)),
    raw("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    raw("HTTP/9.9", b"GET /livez HTTP/9.9\r\nHost: x\r\n\r\n"),
    raw("no version, which is HTTP/0.9", b"GET /nothing\r\n\r\n", b"", NOTHING, 404),
    raw("a path without a slash", b"GET livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("a path with a space", b"GET /live z HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("a zero in the path", b"GET /\0livez HTTP/1.1\r\nHost: x\r\n\r\n"),
    raw("a header without a colon", b"GET /livez HTTP/1.1\r\nHost x\r\n\r\n"),
    raw("a header with a space in its name", b"GET /livez HTTP/1.1\r\nHost: x\r\nX Y: z\r\n\r\n"),
    raw("a header with a space behind its name", b"GET /livez HTTP/1.1\r\nHost: x\r\nX : z\r\n\r\n"),
    raw("a header with a zero", b"GET /livez HTTP/1.1\r\nHost: x\r\nX: \0\r\n\r\n"),
    raw("a header with no name", b"GET /livez HTTP/1.1\r\nHost: x\r\n: z\r\n\r\n"),
    raw("two Content-Lengths", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", b"12345"),
    raw("a length and chunks", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
    raw("an unknown Transfer-Encoding", POST + b"Transfer-Encoding: cow\r\n\r\n", PNG, CODING, 501),
    raw("chunked, then gzip", POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n", b"0\r\n\r\n"),
    raw("gzip, then chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", b"0\r\n\r\n", CODING, 501),
    raw("gzip in one header, chunked in another", POST + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n", CODING, 501),
    raw("chunked twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n"),
    raw("chunks in HTTP/1.0", b"POST /classify HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\n", "Transfer-Encoding is of HTTP/1.1"),
    raw("no Host", b"GET /livez HTTP/1.1\r\n\r\n", b"", "0 Host headers, expected one"),
    raw("two Hosts", b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", b"", "2 Host headers, expected one"),
    raw("lines of a zero", b"\0\r\n" * 50),
    raw("a chunk of -1", CHUNKED, b"-1\r\n\r\n"),
    raw("a chunk of no number", CHUNKED, b"xyz\r\n\r\n"),
    raw("a chunk of 2^80", CHUNKED, b"f" * 20 + b"\r\n"),
    raw("a chunk longer than it says", CHUNKED, b"3\r\nabcdef\r\n0\r\n\r\n"),
    raw("chunks of a byte", CHUNKED, b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n", NO_PICTURE),
    raw("no chunk", CHUNKED, b"0\r\n\r\n", "the image is empty"),
    raw("a Host of noise", b"GET /nothing HTTP/1.1\r\nHost: \xff[\r\n\r\n", b"", "the Host header is"),
    raw("a Host that is none", b"GET /nothing HTTP/1.1\r\nHost: a b/c?d#e\r\n\r\n", b"", "the Host header is"),
    raw("a WebSocket", b"GET /classify HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", b"", "does not take GET", 405),
    raw("a WebSocket without a key", b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"", "", 200),
    raw("an offer of HTTP/2", b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n", b"", "", 200),
    raw("an address of another server", b"GET http://127.0.0.1:1/secret HTTP/1.1\r\nHost: x\r\n\r\n", b"", "", 404),
    raw("a tunnel", b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n", b"", "CONNECT is not served", 501),
    raw("an asterisk for a path", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"", NOTHING, 404),
]

CASES: list[Case] = [*PATHS, *QUERIES, *METHODS, *HEADERS, *LENGTHS, *HTTP]
