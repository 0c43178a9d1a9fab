"""The answers of a real server: pictures sent in every way, probes, and unknown routes."""

import math
import re
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.preprocessing.formats import FORMATS, Format
from service.rest.classify import INLINE_PIXELS
from tests.service.models import LABELS
from tests.service.pictures import encode, photograph, read_image
from tests.serving import Server

PICTURES = 300
PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def answers(server: Server, images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """The first 300 test images as PNG files in forms, answered."""
    with httpx.Client(base_url=server.url) as client:
        found = [
            client.post("/classify", files={"image": ("a.png", encode(image), "image/png")})
            for image in images[:PICTURES]
        ]
    assert {answer.status_code for answer in found} == {200}
    return [answer.json() for answer in found]


def test_at_least_270_of_the_first_300_are_right(
    answers: list[dict[str, Any]], labels: NDArray[np.uint8]
) -> None:
    right = [a["class_id"] == label for a, label in zip(answers, labels[:PICTURES], strict=True)]
    print(f"{sum(right)} of {PICTURES} right")
    assert sum(right) >= 270


def test_every_answer_is_complete(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        assert list(answer) == [
            *("label", "class_id", "confidence", "probabilities", "preprocessing", "model", "input")
        ]
        assert tuple(answer["probabilities"]) == LABELS
        assert answer["label"] == LABELS[answer["class_id"]]
        assert answer["confidence"] == answer["probabilities"][answer["label"]]
        assert answer["confidence"] == max(answer["probabilities"].values())
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert answer["model"]["name"] == "fashion_lenet"


def test_probabilities_are_onnxruntimes_own(
    answers: list[dict[str, Any]], images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    found = np.array([list(answer["probabilities"].values()) for answer in answers])  # (N, K)
    (expected,) = session.run(["probabilities"], {"image": images[:PICTURES, None]})
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_body_is_answered_as_a_form_is(
    answers: list[dict[str, Any]], client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    for image, expected in zip(images[:PICTURES], answers, strict=True):
        answer = client.post("/classify", content=encode(image), headers=PNG)
        assert (answer.status_code, answer.json()) == (200, expected)


def test_many_clients_at_once_get_each_its_own_answer(
    answers: list[dict[str, Any]], server: Server, images: NDArray[np.uint8]
) -> None:
    files = [encode(image) for image in images[:PICTURES]]

    def classify_all(start: int) -> list[tuple[int, Any]]:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            return [
                (n, client.post("/classify", content=files[n], headers=PNG).json())
                for n in range(start, PICTURES, 16)
            ]

    with ThreadPoolExecutor(16) as threads:
        for pairs in threads.map(classify_all, range(16)):
            for n, answer in pairs:
                assert answer == answers[n]


@pytest.mark.parametrize("served", FORMATS, ids=lambda served: served.name)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_every_format_is_taken_as_a_body_and_in_a_form(
    client: httpx.Client, served: Format, mode: str, ankle_boot: NDArray[np.uint8]
) -> None:
    content, media_type = encode(ankle_boot, served.pillow, mode), served.media_type
    as_body = client.post("/classify", content=content, headers={"Content-Type": media_type})
    in_form = client.post("/classify", files={"image": ("x", content, media_type)})
    assert as_body.status_code == 200
    assert as_body.json() == in_form.json()
    assert as_body.json()["label"] == "Ankle boot"


@pytest.mark.parametrize("header", ["IMAGE/PNG", "image/png; charset=binary", " image/png "])
def test_the_content_type_is_read_as_http_has_it(
    client: httpx.Client, header: str, ankle_boot: NDArray[np.uint8]
) -> None:
    answer = client.post(
        "/classify", content=encode(ankle_boot), headers={"Content-Type": header.strip()}
    )
    assert answer.status_code == 200


def test_the_bytes_decide_the_format_not_the_name(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    content = encode(ankle_boot, "GIF")
    answer = client.post("/classify", files={"image": ("boot.jpg", content, "image/jpeg")})
    assert answer.json()["label"] == "Ankle boot"


def test_other_fields_of_the_form_are_passed_over(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    answer = client.post(
        "/classify", data={"comment": "mine"}, files={"image": encode(ankle_boot), "other": b"x"}
    )
    assert answer.json()["label"] == "Ankle boot"


def test_a_large_photograph_is_classified_in_a_thread(
    client: httpx.Client, images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    content = photograph(images[1], np.random.default_rng(3))
    assert math.prod(Image.open(BytesIO(content)).size) > INLINE_PIXELS
    answer = client.post("/classify", content=content, headers={"Content-Type": "image/jpeg"})
    seen = read_image(content, 32_000_000)
    (expected,) = session.run(["probabilities"], {"image": seen[None, None]})
    found = list(answer.json()["probabilities"].values())
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-6)
    assert answer.json()["label"] == "Pullover"


def test_a_broken_file_is_refused_in_a_thread_too(
    client: httpx.Client, images: NDArray[np.uint8]
) -> None:
    content = photograph(images[1], np.random.default_rng(3))
    answer = client.post(
        "/classify", content=content[: len(content) // 2], headers={"Content-Type": "image/jpeg"}
    )
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the image is broken or cut off")


def test_livez(client: httpx.Client) -> None:
    answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
def test_readyz_says_what_is_served_and_where(
    client: httpx.Client, path: str, answers: list[dict[str, Any]]
) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "model": answers[0]["model"],
        "device": "cpu",
        "execution_provider": "CPUExecutionProvider",
    }


def test_the_log_says_what_is_served_and_where(server: Server) -> None:
    assert "runs on cpu (CPUExecutionProvider)." in server.log()


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics", "/docs.json", "/"])
def test_head_is_answered_as_get_without_a_body(client: httpx.Client, path: str) -> None:
    answer = client.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_pages_of_the_documentation_are_there(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search("https?://", page.text)  # BentoML's page reports its visitors to Google
    own = re.findall(r'(?:src|href)="\.?/(static_content/[^"]+)"', page.text)
    assert len(own) >= 3
    assert {client.get(f"/{path}").status_code for path in own} == {200}
    schema = client.get("/schema.json")
    assert schema.status_code == 200
    routes = [route["route"] for route in schema.json()["routes"]]
    assert routes == ["/classify", "/classify_batch", "/predict"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        *((method, "/classify", {"POST"}) for method in ("GET", "PUT", "DELETE", "PATCH", "HEAD")),
        *(
            ("POST", path, {"GET", "HEAD"})
            for path in ("/livez", "/readyz", "/healthz", "/metrics")
        ),
        ("DELETE", "/livez", {"GET", "HEAD"}),
        *(("POST", path, {"GET", "HEAD"}) for path in ("/", "/docs.json", "/schema.json")),
        ("OPTIONS", "/classify", {"POST"}),
    ],
)
def test_a_wrong_method_is_405_and_names_the_right_one(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == allowed
    if method != "HEAD":
        assert answer.json() == {"error": f"{path} does not take {method}: see the header Allow"}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        *("/nothing", "/classify/", "/livez/", "/docs.json/", "/classify/x", "/CLASSIFY"),
        *("/static_content/nothing.js", "/static_content/", "/static_content/..%2f..%2fx"),
        *("/static_content/%00", "/%ff", "/" + "x" * 5000),
    ],
)
def test_an_unknown_path_is_404_in_json(client: httpx.Client, method: str, path: str) -> None:
    if method == "POST" and path.startswith("/static_content"):
        return  # a known path for GET alone: 405
    answer = client.request(method, path)
    assert answer.status_code == 404
    assert set(answer.json()) == {"error"}
    assert "GET /docs.json lists the routes" in answer.json()["error"]


def test_an_address_with_a_query_is_the_same_address(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    answer = client.post("/classify?mode=auto", content=encode(ankle_boot), headers=PNG)
    assert answer.status_code == 200
