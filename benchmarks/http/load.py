"""The requests that servers are measured with, and wrk, which sends them."""

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

PORT = 3999
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "ankle_boot.png"
BOUNDARY = "a-boundary"
BATCH = 64
PIXELS = 28 * 28
INFER, OCTETS = "/v2/models/fashion_lenet/infer", "application/octet-stream"


@dataclass(frozen=True)
class Work:
    """One kind of request."""

    path: str
    content_type: str
    body: bytes
    connections: int = 16
    images: int = 1
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Load:
    """The figures that wrk measured."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failures: int  # answers that are not 2xx or 3xx, and broken connections
    requests: int
    cpu_seconds: float  # that wrk itself took


def works() -> dict[str, Work]:
    """Make the requests, by name."""
    picture = PICTURE.read_bytes()
    disposition = 'Content-Disposition: form-data; name="image"; filename="boot.png"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/png\r\n\r\n".encode()
    form = head + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    zeros = [0] * PIXELS
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 28, 28], "data": zeros}
    outputs = [{"name": "probabilities"}]
    one = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    return {
        "PNG in a form": Work("/classify", f"multipart/form-data; boundary={BOUNDARY}", form),
        "PNG as the body": Work("/classify", "image/png", picture),
        "OIP JSON, 1 image": Work(INFER, "application/json", one),
        "OIP binary, 64 images": binary(BATCH, connections=8),
        "raw bytes, 64 images": Work("/infer", OCTETS, bytes(BATCH * PIXELS), 8, BATCH),
    }


def binary(images: int, connections: int) -> Work:
    """Make a request of the Open Inference Protocol for so many images, as bytes both ways."""
    content = bytes(images * PIXELS)
    tensor = {
        "name": "image",
        "datatype": "UINT8",
        "shape": [images, 1, 28, 28],
        "parameters": {"binary_data_size": len(content)},
    }
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    length = (("Inference-Header-Content-Length", str(len(header))),)
    return Work(INFER, OCTETS, header + content, connections, images, length)


SCRIPT = """
wrk.method = "POST"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
{headers}
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def load(
    work: Work, seconds: int, folder: Path, *, port: int = PORT, cores: str | None = None
) -> Load:
    """Send requests for so long, from all cores but the first or from those named."""
    body = folder / "body"
    body.write_bytes(work.body)
    headers = (("Content-Type", work.content_type), *work.headers)
    script = folder / "work.lua"
    script.write_text(
        SCRIPT.format(
            body=body,
            headers="\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers),
        )
    )
    command = ("taskset", "--cpu-list", cores or cores_from(1), "wrk", "-t1")
    before = _children_cpu_seconds()
    done = subprocess.run(
        (
            *(*command, f"-c{work.connections}", f"-d{seconds}s", "-s", script),
            f"http://127.0.0.1:{port}{work.path}",
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    requests, duration, p50, p99, failures = map(int, line.split()[1:])
    return Load(
        requests / duration * 1e6,
        p50 / 1e3,
        p99 / 1e3,
        failures,
        requests,
        _children_cpu_seconds() - before,
    )


def cores_from(first: int) -> str:
    """Name the cores from one on, as taskset wants it; all, where there are none."""
    count = os.cpu_count() or 1
    return f"{first if first < count else 0}-{count - 1}"


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
