"""JSON and tensors that are too deep, too long, out of range, or of the wrong shape or size."""

# A case is a line of a table.
# ruff: noqa: E501
# fmt: off

import gzip
import zlib
from typing import Any

import orjson

from tests.hostile.cases import Body, Case

ROW = [0] * 28
IMAGE = [[ROW] * 28]
MIB = 2**20
INFER = "/v2/models/fashion_lenet/infer"
HEADER_LENGTH = "Inference-Header-Content-Length"


def predict(name: str, body: Body, says: str, status: int = 400, *headers: tuple[str, str]) -> Case:
    kind = headers or (("Content-Type", "application/json"),)
    return Case(f"predict: {name}", status, says, body, path="/predict", headers=kind)


def of(images: Any) -> bytes:
    return orjson.dumps({"images": images})


def infer(name: str, body: Body, says: str, *headers: tuple[str, str], status: int = 400) -> Case:
    typed = any(header == "Content-Type" for header, _ in headers)
    sent = headers if typed else (("Content-Type", "application/json"), *headers)
    return Case(f"infer: {name}", status, says, body, path=INFER, headers=sent)


def tensor(**changes: Any) -> dict[str, Any]:
    """The input of one black image, with entries changed, or (...) left out."""
    entry = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "UINT8", "data": [0] * 784}
    return {key: value for key, value in {**entry, **changes}.items() if value is not ...}


def asks(**changes: Any) -> bytes:
    return orjson.dumps({"inputs": [tensor(**changes)]})


def wants(*outputs: Any) -> bytes:
    return orjson.dumps({"inputs": [tensor()], "outputs": outputs})


def binary(size: Any = 784, content: int = 784, **changes: Any) -> tuple[bytes, int]:
    """A request with that many bytes behind it, and the length of its JSON."""
    text = asks(data=..., parameters={"binary_data_size": size}, **changes)
    return text + bytes(content), len(text)


def behind(name: str, says: str, header: str | None = None, **more: Any) -> Case:
    body, length = binary(**more)
    return infer(name, body, says, (HEADER_LENGTH, str(length) if header is None else header))


def deep(levels: int, inner: bytes = b"") -> bytes:
    return b'{"images": ' + b"[" * levels + inner + b"]" * levels + b"}"


PREDICT = [
    predict("nothing", b"", "the body is not JSON"),
    predict("cut off", of([IMAGE])[:-1], "the body is not JSON"),
    predict("no JSON", b"images", "the body is not JSON"),
    predict("JSON twice", of([IMAGE]) * 2, "the body is not JSON"),
    predict("single quotes", b"{'images': []}", "the body is not JSON"),
    predict("a comma too many", b'{"images": [1,]}', "the body is not JSON"),
    predict("NaN", b'{"images": [[[[NaN]]]]}', "the body is not JSON"),
    predict("Infinity", b'{"images": [[[[Infinity]]]]}', "the body is not JSON"),
    predict("-Infinity", b'{"images": [[[[-Infinity]]]]}', "the body is not JSON"),
    predict("noise", b"\xff\xfe\x80" * 99, "the body is not JSON"),
    predict("UTF-16", '{"images": []}'.encode("utf-16"), "the body is not JSON"),
    predict("half a surrogate", b'{"\\ud800": []}', "the body is not JSON"),
    predict("zeros", bytes(1000), "the body is not JSON"),
    predict("a pickle", b"\x80\x04}.", "the body is not JSON"),
    predict("a list", b"[]", "integers from 0 to 255}, got a list"),
    predict("a number", b"7", "integers from 0 to 255}, got an integer"),
    predict("null", b"null", "integers from 0 to 255}, got null"),
    predict("text", b'"http://127.0.0.1/a.png"', "integers from 0 to 255}, got a string"),
    predict("true", b"true", "integers from 0 to 255}, got true or false"),
    predict("no key", b"{}", "'images' alone, got none"),
    predict("another key", b'{"image": []}', "'images' alone, got 'image'"),
    predict("a key too many", b'{"images": [], "url": "http://x"}', "'images' alone, got 'images', 'url'"),
    predict("100,000 keys", lambda: orjson.dumps({str(k): k for k in range(100_000)}), "200,000 quotation marks, expected at most 10,000"),
    predict("a key of 1 MB", b'{"' + b"a" * MIB + b'": 1}', "'images' alone, got 'aaa"),
    predict("a key that is an attribute", b'{"__class__": []}', "'images' alone, got '__class__'"),
    predict("the key twice", b'{"images": [], "images": 7}', "integers from 0 to 255, got an integer"),
    predict("null for images", of(None), "integers from 0 to 255, got null"),
    predict("a URL for images", of("http://127.0.0.1/a.png"), "integers from 0 to 255, got a string"),
    predict("URLs for images", of(["http://127.0.0.1/a.png"]), "got shape (1)"),
    predict("an object for images", of({"0": IMAGE}), "integers from 0 to 255, got an object"),
    predict("no image", of([]), "got shape (0)"),
    predict("an empty image", of([[]]), "got shape (1, 0)"),
    predict("three dimensions", of(IMAGE), "got shape (1, 28, 28)"),
    predict("five dimensions", of([[IMAGE]]), "got shape (1, 1, 1, 28, 28)"),
    predict("27 rows", of([[[ROW] * 27]]), "got shape (1, 1, 27, 28)"),
    predict("29 columns", of([[[[0] * 29] * 28]]), "got shape (1, 1, 28, 29)"),
    predict("two channels", of([[[ROW] * 28] * 2]), "got shape (1, 2, 28, 28)"),
    predict("channels last", of([[[[0]] * 28] * 28]), "got shape (1, 28, 28, 1)"),
    predict("a row too short", of([[[ROW] * 27 + [[0] * 27]]]), "got ragged lists"),
    predict("a number for a row", of([[[ROW] * 27 + [0]]]), "got ragged lists"),
    predict("a second image of three dimensions", of([IMAGE, [ROW] * 28]), "got ragged lists"),
    predict("a list for a number", of([[[ROW] * 27 + [[*ROW[:-1], [0]]]]]), "got ragged lists"),
    *(
        predict(f"a pixel of {shown}", deep(0).replace(b'{"images": }', of([[[ROW] * 27 + [ROW[:-1]]]]).replace(b"0]]]]", b"0," + pixel + b"]]]]")), says)
        for shown, pixel, says in (
            ("256", b"256", "got the element 256"),
            ("-1", b"-1", "got the element -1"),
            ("2^63", b"9223372036854775808", "got the element 9223372036854775808"),
            ("2^64 and more", b"1" + b"0" * 400, ""),
            ("1e400", b"1e400", ""),
            ("0.5", b"0.5", "got an element that is a number with a fraction"),
            ("-0.0", b"-0.0", "got an element that is a number with a fraction"),
            ("1e2", b"1e2", "got an element that is a number with a fraction"),
            ("true", b"true", "got an element that is true or false"),
            ("null", b"null", "got an element that is null"),
            ("text", b'"0"', "got an element that is a string"),
            ("an object", b"{}", "got an element that is an object"),
            ("007", b"007", "the body is not JSON"),
            ("0x1", b"0x1", "the body is not JSON"),
        )
    ),
    predict("1,000 lists deep", deep(1000), "got shape (1, 1, 1, 1, 1, 1, 1, 1)"),
    predict("1,025 lists deep", deep(1025), "the body is not JSON"),
    predict("a million lists deep", lambda: deep(10**6), "1,000,001 brackets"),
    predict("a million lists that never end", lambda: b"[" * 10**6, "1,000,000 brackets"),
    predict("100,000 objects deep", lambda: b'{"images":' * 100_000 + b"1" + b"}" * 100_000, "100,000 brackets"),
    predict("a text of 9 MB", lambda: of("a" * 9 * MIB), "integers from 0 to 255, got a string"),
    predict("a list of 4 million numbers", lambda: b'{"images":[' + b"0," * 4_000_000 + b"0]}", "got shape (4000001)"),
    predict("a list of 3 million lists", lambda: b'{"images":[' + b"[]," * 3_000_000 + b"[]]}", "has 3,000,003 brackets that open a list or object, expected at most 235,000"),
    predict("a number of 9 MB", lambda: b'{"images":' + b"9" * 9 * MIB + b"}", ""),
    predict("spaces for 9 MB", lambda: b" " * 9 * MIB, "the body is not JSON"),
    *(
        predict(f"JSON called {kind}", of([IMAGE]), says, 415, ("Content-Type", kind))
        for kind, says in (
            ("text/plain", "Content-Type text/plain is not served here"),
            ("application/xml", "application/xml"),
            ("application/jsonp", "application/jsonp"),
            ("application/x-pickle", "application/x-pickle"),
            ("application/vnd.bentoml+pickle", "application/vnd.bentoml+pickle"),
            ("multipart/form-data; boundary=b", "multipart/form-data"),
            ("image/png", "image/png"),
            ("*/*", "*/*"),
            ("", "(none)"),
            (";;;", "(none)"),
        )
    ),
    predict("JSON in gzip", gzip.compress(of([IMAGE])), "Content-Encoding 'gzip' is not served here", 415, ("Content-Type", "application/json"), ("Content-Encoding", "gzip")),
]

INFERENCES = [
    infer("nothing", b"", "the body is not JSON"),
    infer("a list", b"[]", "expected an object with inputs, got []"),
    infer("no inputs", b"{}", "the request has no inputs"),
    infer("inputs that are text", b'{"inputs": "x"}', "inputs of the request: expected a list, got 'x'"),
    infer("inputs that are a URL", b'{"inputs": ["http://127.0.0.1"]}', "expected objects with a name, got "),
    infer("empty inputs", b'{"inputs": []}', "expected one called 'image', got "),
    infer("two inputs", orjson.dumps({"inputs": [tensor()] * 2}), "expected one called 'image', got "),
    infer("10,000 inputs", orjson.dumps({"inputs": [{"name": "image"}] * 10_000}), "40,002 quotation marks, expected at most 10,000"),
    infer("an input without a name", asks(name=...), "an input has no name"),
    infer("another input", asks(name="../../etc/passwd"), "expected one called 'image', got "),
    infer("an input's name of 1 MB", asks(name="a" * MIB), "expected one called 'image', got "),
    infer("a name that is a number", asks(name=7), "expected a string, got 7"),
    *(infer(f"datatype {kind}", asks(datatype=kind), f"datatype of 'image': expected UINT8, got '{kind}'") for kind in ("FP32", "INT8", "BYTES", "uint8", "object", "BOOL", "UINT64", "")),
    infer("no datatype", asks(datatype=...), "has no datatype"),
    *(infer(f"shape {shape}", asks(shape=shape), "the shape of 'image': expected [N, 1, 28, 28], got ") for shape in ([], [1], [784], [1, 784], [0, 1, 28, 28], [-1, 1, 28, 28], [1, 28, 28, 1], [1, 1, 28, 28, 1], [1.0, 1, 28, 28], [True, 1, 28, 28], ["1", 1, 28, 28], [None, 1, 28, 28])),
    infer("a shape of 2^63 - 1 images", asks(shape=[2**63 - 1, 1, 28, 28]), "needs 7,231,123,676,894,144,232,688"),
    infer("a shape of a billion images", asks(shape=[10**9, 1, 28, 28]), "needs 784,000,000,000"),
    infer("a shape that is text", asks(shape="1,1,28,28"), "expected a list, got '1,1,28,28'"),
    infer("no shape", asks(shape=...), "has no shape"),
    infer("no data", asks(data=...), "neither data nor binary_data_size"),
    infer("data and bytes", asks(parameters={"binary_data_size": 784}), "both data and binary_data_size"),
    infer("data that is text", asks(data="AAAA"), "expected a list of numbers, got 'AAAA'"),
    infer("a number too few", asks(data=[0] * 783), "has 783 numbers"),
    infer("a number too many", asks(data=[0] * 785), "has 785 numbers"),
    infer("data nested unevenly", asks(data=[[[ROW] * 27 + [[0] * 27]]]), "is nested unevenly"),
    infer("data nested too deep", asks(data=[[IMAGE]]), "is nested unevenly"),
    infer("data of empty lists", asks(data=[[]]), "is nested unevenly"),
    *(infer(f"a number {value!r}", asks(data=[0] * 783 + [value]), "at index 783: expected an integer from 0 to 255, got ") for value in (256, -1, 0.5, True, None, "0", [], {}, 2**63, 1e300)),
    infer("NaN", asks().replace(b"[0,", b"[NaN,"), "the body is not JSON"),
    infer("an id that is a number", orjson.dumps({"id": 7, "inputs": [tensor()]}), "id of the request: expected a string, got 7"),
    infer("parameters that are a list", orjson.dumps({"parameters": [], "inputs": [tensor()]}), "expected an object, got []"),
    infer("binary output as text", orjson.dumps({"parameters": {"binary_data_output": "yes"}, "inputs": [tensor()]}), "expected true or false, got 'yes'"),
    infer("shared memory", asks(data=..., parameters={"shared_memory_region": "x"}), "which is not served"),
    infer("shared memory for an output", wants({"name": "logits", "parameters": {"shared_memory_region": "x"}}), "which is not served"),
    infer("an unknown output", wants({"name": "weights"}), "there is no output 'weights'"),
    infer("an output twice", wants({"name": "logits"}, {"name": "logits"}), "each at most once"),
    infer("10,000 outputs", lambda: wants(*[{"name": "logits"}] * 10_000), "40,016 quotation marks, expected at most 10,000"),
    infer("an output without a name", wants({}), "an output has no name"),
    infer("an output that is text", wants("logits"), "expected objects with a name, got "),
    *(infer(f"the best {count!r} classes", wants({"name": "logits", "parameters": {"classification": count}}), "expected a") for count in (0, -1, 1.5, True, "3")),
    infer("the best billion classes", wants({"name": "logits", "parameters": {"classification": 10**9}}), "", status=200),
    infer("a million lists deep", lambda: b'{"inputs":' + b"[" * 10**6, "1,000,001 brackets"),
    infer("another model", asks(), "", status=200),
    behind("bytes for an image too few", "binary_data_size of 'image' is 783", size=783, content=783),
    behind("bytes for an image too many", "binary_data_size of 'image' is 785", size=785, content=785),
    behind("no bytes", "0 bytes follow the JSON", content=0),
    behind("a byte too few", "783 bytes follow the JSON", content=783),
    behind("a byte too many", "785 bytes follow the JSON", content=785),
    behind("a size of -784", "is -784", size=-784),
    behind("a size of 2^62", "is 4611686018427387904", size=2**62),
    behind("a size that is text", "expected an integer, got '784'", size="784"),
    behind("a size that is true", "expected an integer, got True", size=True),
    behind("a size for a shape of a billion", "its shape needs", shape=[10**9, 1, 28, 28]),
    *(
        behind(f"a length of JSON of {header!r}", says, header=header)
        for header, says in (
            ("99999999", "expected the number of the body's bytes that are JSON"),
            ("-1", "expected the number of the body's bytes"),
            ("1e2", "expected the number of the body's bytes"),
            ("0x10", "expected the number of the body's bytes"),
            ("1_0", "expected the number of the body's bytes"),
            ("\xb2", "expected the number of the body's bytes"),
            ("9" * 5000, "expected the number of the body's bytes"),
            ("12, 12", "expected the number of the body's bytes"),
            ("ten", "expected the number of the body's bytes"),
            ("1", "the body is not JSON"),
            ("50", "the body is not JSON"),
            ("0", "784 bytes for each image"),
        )
    ),
    infer("bytes alone, too few", bytes(783), "got 783 bytes", (HEADER_LENGTH, "0")),
    infer("bytes alone, none", b"", "at least one image", (HEADER_LENGTH, "0")),
    infer("gzip that is none", asks(), "is not what Content-Encoding gzip says", ("Content-Encoding", "gzip")),
    infer("gzip cut off", gzip.compress(asks())[:-9], "is cut off", ("Content-Encoding", "gzip")),
    infer("gzip twice in one", gzip.compress(asks()) * 2, "follow the end", ("Content-Encoding", "gzip")),
    infer("gzip in gzip", gzip.compress(gzip.compress(asks())), "the body is not JSON", ("Content-Encoding", "gzip")),
    infer("raw deflate", zlib.compress(asks())[2:-4], "is not what Content-Encoding deflate says", ("Content-Encoding", "deflate")),
    infer("10 MB in 10 kB of gzip", lambda: gzip.compress(bytes(10 * MIB + 1)), "inflates to more than 10,485,760", ("Content-Encoding", "gzip"), status=413),
    *(
        infer(f"millions of {value!r} in gzip", lambda value=value: gzip.compress(b'{"inputs":[' + value * (9 * MIB // len(value)) + b"0]}"), says, ("Content-Encoding", "gzip"))  # type: ignore[misc]
        for value, says in ((b'"a",', "quotation marks, expected at most 10,000"), (b"1.5,", "points, expected at most 10,000"), (b"1e9,", "letters e, expected at most 10,000"), (b"12345678,", "expected objects with a name, got 12345678"), (b"null,", "expected objects with a name, got None"))
    ),
    infer("10 GB in 10 MB of gzip", lambda: gzip_bomb(10 * 10**9), "inflates to more than 10,485,760", ("Content-Encoding", "gzip"), status=413),
    *(infer(f"Content-Encoding {coding[:40]!r}", asks(), "is not served", ("Content-Encoding", coding), status=415) for coding in ("br", "zstd", "compress", "gzip, gzip", "gzip;q=1", "identity, gzip", "x" * 9000)),
    *(infer(f"called {kind}", asks(), f"Content-Type {kind} is not served", ("Content-Type", kind), status=415) for kind in ("text/plain", "application/x-pickle", "image/png", "application/grpc", "multipart/form-data")),
]


def gzip_bomb(size: int) -> bytes:
    """About a thousandth of size in gzip, all zeros but for the first: one megabyte repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)]
    again = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"".join(pieces) + again * (size // MIB - 1)


CASES: list[Case] = [*PREDICT, *INFERENCES]
