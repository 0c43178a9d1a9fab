"""The files of the page at /ui, and the pixels that it shows, over HTTP."""

import base64
import re
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.preprocessing.formats import MEDIA_TYPES
from service.preprocessing.pipeline import Mode
from service.rest.ui import describe
from service.runtime.onnx_model import load_model
from service.settings import ServiceSettings
from tests.service.networks import OBLONG
from tests.service.pictures import encode, photograph, preprocess
from tests.serving import ROOT

UI = ROOT / "service" / "ui"
FILES = sorted(path for path in UI.rglob("*") if path.is_file())
CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle_boot"),
)
PNG = {"Content-Type": "image/png"}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def addresses() -> dict[str, Path]:
    return {"/ui": UI / "index.html"} | {f"/ui/{file.relative_to(UI)}": file for file in FILES}


def test_every_file_comes_with_its_type_and_the_policy(client: httpx.Client) -> None:
    for address, file in addresses().items():
        answer = client.get(address)
        content = file.read_bytes().replace(b"MEDIA_TYPES", ",".join(MEDIA_TYPES).encode())
        assert (answer.status_code, answer.content) == (200, content), address
        found = answer.headers["content-type"].replace("application/javascript", "text/javascript")
        assert found == TYPES[file.suffix]
        policy = answer.headers["content-security-policy"].split("; ")
        assert policy[:3] == ["default-src 'none'", "script-src 'self'", "style-src 'self'"]
        assert {"form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(policy)
        assert not any("unsafe" in directive for directive in policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_an_unchanged_file_is_not_sent_again(client: httpx.Client) -> None:
    first = client.get("/ui")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/ui", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["nothing.js", "samples", "%2e%2e/settings.py", "..%2fsettings.py"]
)
def test_nothing_else_is_there(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/ui/{path}")
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


def test_the_page_names_only_files_that_exist() -> None:
    links = re.findall(r'(?:src|href)="\./ui/([^"]+)"', (UI / "index.html").read_text())
    imports = re.findall(r'from "\./([^"]+)"', "".join(f.read_text() for f in UI.glob("*.js")))
    own = {file for file in FILES if file.parent != UI / "samples"}  # those are for docs/
    assert {UI / name for name in links + imports} | {UI / "index.html"} == own


def test_the_page_gets_the_model_and_its_samples(
    client: httpx.Client, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    found = client.get("/ui/model").json()
    assert found["name"] == "fashion_lenet"
    assert found["image"] == {"channels": 1, "height": 28, "width": 28}
    assert (found["pipeline"], found["modes"]) == ("fashion-mnist", ["auto", "raw", "photo"])
    assert [sample["label"] for sample in found["samples"]] == found["labels"]
    for number, sample in enumerate(found["samples"]):
        with Image.open(BytesIO(base64.b64decode(sample["png"]))) as picture:
            expected = images[int((labels == number).argmax())]
            np.testing.assert_array_equal(np.asarray(picture), expected)


def test_a_colour_models_samples_are_in_colour(tmp_path: Path) -> None:
    path = OBLONG.write(tmp_path / "model.onnx")
    model = load_model(ServiceSettings(device="cpu", model=path))
    found = describe(model, ["oblong"])
    assert found["image"] == {"channels": 3, "height": 20, "width": 30}
    assert found["modes"] == ("auto",)
    classes = model.golden.logits.argmax(axis=1).tolist()
    assert [sample["label"] for sample in found["samples"]] == [
        OBLONG.labels[class_id] for class_id in dict.fromkeys(classes)
    ]
    with Image.open(BytesIO(base64.b64decode(found["samples"][0]["png"]))) as picture:
        expected = model.golden.images[0].transpose(1, 2, 0)  # (H, W, 3)
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_the_samples_are_the_first_of_each_class(
    images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    for number, name in enumerate(CLASSES):
        expected = images[int((labels == number).argmax())]
        with Image.open(UI / "samples" / f"{name}.png") as sample:
            np.testing.assert_array_equal(np.asarray(sample), expected)


@pytest.mark.parametrize("mode", ["auto", "raw", "photo"])
def test_what_the_model_sees(
    client: httpx.Client, ankle_boot: NDArray[np.uint8], mode: Mode
) -> None:
    for content in (encode(ankle_boot), photograph(ankle_boot, np.random.default_rng(1))):
        answer = client.post(f"/ui/seen?mode={mode}", files={"image": content})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        with Image.open(BytesIO(content)) as given, Image.open(BytesIO(answer.content)) as seen:
            expected = preprocess(given, mode).pixels
            np.testing.assert_array_equal(np.asarray(seen), expected)


def test_what_the_model_sees_is_not_to_be_got(client: httpx.Client) -> None:
    answer = client.get("/ui/seen")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json() == {"error": "/ui/seen does not take GET: see the header Allow"}


def test_what_it_cannot_see_is_refused_as_classify_refuses_it(
    client: httpx.Client, ankle_boot: NDArray[np.uint8]
) -> None:
    for content, query in ((b"hello", ""), (encode(ankle_boot)[:200], ""), (b"", "?mode=x")):
        answers = [
            client.post(path + query, content=content, headers=PNG)
            for path in ("/classify", "/ui/seen")
        ]
        statuses = [answer.status_code for answer in answers]
        assert statuses == [400, 400]
        assert answers[0].json() == answers[1].json()
