"""`bentoml serve` as a process: BentoML's own clients, refusals to start, ends, what it loads."""

import ast
import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from service.classifier import FashionClassifier
from service.errors import InvalidInput
from service.preprocessing.formats import SERVED
from tests.service.models import with_wrong_golden_samples
from tests.service.pictures import encode
from tests.service.runtime.drivers import no_gpu
from tests.serving import ROOT, SERVE, Server, environment, serving, start

REFUSAL_SECONDS = 600


# BentoML's clients leave folders to be cleaned up by the end of their process: it is its own.
SYNCHRONOUS = """
    import sys
    from pathlib import Path
    import bentoml
    import numpy as np
    from PIL import Image

    url, path = sys.argv[1:]
    with bentoml.SyncHTTPClient(url) as client, Image.open(path) as image:
        assert client.is_ready()
        print(client.classify(image=Path(path)))
        print(client.classify(image=image))
        print(client.classify(image=image, mode="photo", top_k=3))
        print(client.classify_batch(images=[image, Path(path)], mode="photo", top_k=3))
        print(client.classify_batch(images=[Path(path), image, Path(path)]))
        print(client.predict(images=np.asarray(image)[None, None]))
        print(client.predict(images=np.asarray(image)[None, None].tolist()))
        for call in (
            lambda: client.classify(image=Path(__file__)),
            lambda: client.classify_batch(images=[Path(path), Path(__file__)]),
            lambda: client.predict(images=np.zeros((0, 1, 28, 28), np.uint8)),
        ):
            try:
                call()
            except bentoml.exceptions.BentoMLException as error:
                print(error)
"""
ASYNCHRONOUS = """
    import asyncio, sys
    from pathlib import Path
    import bentoml
    import numpy as np
    from PIL import Image

    async def main(url, path):
        async with bentoml.AsyncHTTPClient(url) as client:
            print(await client.classify(image=Path(path)))
            with Image.open(path) as image:
                print(await client.classify(image=image))
                print(await client.classify(image=image, mode="photo", top_k=3))
                batch = [image, Path(path)]
                print(await client.classify_batch(images=batch, mode="photo", top_k=3))
                print(await client.classify_batch(images=[Path(path), image, Path(path)]))
                print(await client.predict(images=np.asarray(image)[None, None]))
                print(await client.predict(images=np.asarray(image)[None, None].tolist()))
            for call in (
                lambda: client.classify(image=Path(__file__)),
                lambda: client.classify_batch(images=[Path(path), Path(__file__)]),
                lambda: client.predict(images=np.zeros((0, 1, 28, 28), np.uint8)),
            ):
                try:
                    await call()
                except bentoml.exceptions.BentoMLException as error:
                    print(error)

    asyncio.run(main(*sys.argv[1:]))
"""


def test_its_module_imports_no_metrics() -> None:
    """Their import opens files in a folder that only a worker has, so they are imported late."""
    code = "import service.classifier, sys; print('service.telemetry.metrics' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("False\n", 0)


@pytest.mark.parametrize("code", [SYNCHRONOUS, ASYNCHRONOUS], ids=["synchronous", "asynchronous"])
def test_bentomls_clients_take_paths_pil_images_and_arrays(
    code: str, server: Server, ankle_boot_file: Path, tmp_path: Path
) -> None:
    script = tmp_path / "client.py"
    script.write_text(textwrap.dedent(code))
    done = subprocess.run(
        [sys.executable, script, server.url, ankle_boot_file],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *answers, no_picture, broken_batch, no_images = done.stdout.splitlines()
    by_path, by_image, chosen, two, batch, by_array, by_list = map(ast.literal_eval, answers)
    expected = httpx.post(
        f"{server.url}/classify", files={"image": ankle_boot_file.read_bytes()}
    ).json()
    assert expected["label"] == "Ankle boot"
    assert by_path == by_image == expected
    assert chosen["preprocessing"]["mode"] == "photo"
    assert len(chosen["probabilities"]) == 3
    assert two == [chosen, chosen]
    assert [one["label"] for one in batch] == ["Ankle boot"] * 3
    assert by_array == by_list
    assert by_array["labels"] == ["Ankle boot"]
    assert by_array["probabilities"] == [list(expected["probabilities"].values())]
    assert f"is not a {SERVED} file" in no_picture
    assert "images[1] 'client.py': the image" in broken_batch
    assert "expected N x 1 x 28 x 28 integers from 0 to 255, got shape (0)" in no_images


def test_the_service_classifies_without_a_server(
    ankle_boot_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASHION_DEVICE", "cpu")
    classifier = FashionClassifier()
    assert asyncio.run(classifier.classify(ankle_boot_file))["label"] == "Ankle boot"
    batch = asyncio.run(classifier.classify_batch([ankle_boot_file, ankle_boot_file]))
    assert [answer["label"] for answer in batch] == ["Ankle boot", "Ankle boot"]
    found = asyncio.run(classifier.predict(np.zeros((3, 1, 28, 28), np.uint8)))
    assert len(found["labels"]) == 3
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(InvalidInput, match="the image is empty"):
        asyncio.run(classifier.classify(empty))


@pytest.fixture
def refusal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[int, str]]:
    """The exit status and the output of a server that is given settings."""
    server = start(tmp_path, SERVE, ROOT, request.param)
    try:
        yield server.process.wait(REFUSAL_SECONDS), server.log()
    finally:
        server.process.kill()


def refuses(refusal: tuple[int, str], reason: str) -> None:
    status, output = refusal
    assert status != 0
    assert "Traceback" not in output
    (line,) = [line for line in output.splitlines() if "FASHION_" in line]
    assert reason in line


@no_gpu
@pytest.mark.parametrize("refusal", [{"FASHION_DEVICE": "cuda"}], indirect=True)
def test_cuda_without_a_gpu_does_not_start(refusal: tuple[int, str]) -> None:
    refuses(refusal, "FASHION_DEVICE is cuda, but ")


@pytest.mark.parametrize("refusal", [{"FASHION_DEVICE": "gpu"}], indirect=True)
def test_an_unknown_device_does_not_start(refusal: tuple[int, str]) -> None:
    refuses(refusal, "FASHION_DEVICE=gpu: Input should be 'auto', 'cpu' or 'cuda'")


@pytest.mark.parametrize("refusal", [{"FASHION_WORKERS": "none"}], indirect=True)
def test_a_wrong_number_does_not_start(refusal: tuple[int, str]) -> None:
    refuses(refusal, "FASHION_WORKERS=none: ")


@pytest.mark.parametrize("refusal", [{"FASHION_MODEL": "/missing/model.onnx"}], indirect=True)
def test_a_missing_model_does_not_start(refusal: tuple[int, str]) -> None:
    refuses(refusal, "cannot read the model /missing/model.onnx: No such file or directory;")


def test_a_model_that_computes_something_else_does_not_start(tmp_path: Path) -> None:
    model = with_wrong_golden_samples(tmp_path / "model.onnx")
    server = start(tmp_path, SERVE, ROOT, {"FASHION_MODEL": str(model), "FASHION_DEVICE": "cpu"})
    try:
        assert server.process.wait(REFUSAL_SECONDS) != 0
        assert "the model's golden samples come out wrong" in server.log()
        assert "Traceback" not in server.log()
    finally:
        server.process.kill()


# Where the first check passed and a worker's own fails, as on a device that computes wrongly.
IN_A_WORKER = """
    import json, sys
    from starlette.testclient import TestClient
    from service.classifier import FashionClassifier

    with TestClient(FashionClassifier.to_asgi(), raise_server_exceptions=False) as client:
        answers = {path: client.get(path) for path in ("/livez", "/readyz", "/healthz", "/metrics")}
        answers["/classify"] = client.post("/classify", files={"image": sys.stdin.buffer.read()})
        print(json.dumps({path: [a.status_code, a.text] for path, a in answers.items()}))
"""


def test_a_worker_whose_model_fails_lives_and_is_not_ready(
    tmp_path: Path, ankle_boot: NDArray[np.uint8]
) -> None:
    model = with_wrong_golden_samples(tmp_path / "model.onnx")
    settings = {
        "FASHION_MODEL": str(model),
        "FASHION_DEVICE": "cpu",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
    }
    done = run_python(IN_A_WORKER, tmp_path, settings, encode(ankle_boot))
    answers = json.loads(done.stdout.splitlines()[-1])
    assert answers["/livez"] == [200, '{"status":"live"}']
    assert answers["/metrics"][0] == 200
    assert "fashion_model{" not in answers["/metrics"][1]
    for path in ("/readyz", "/healthz", "/classify"):
        status, text = answers[path]
        assert status == 503
        assert set(json.loads(text)) == {"error"}
        assert "the model's golden samples come out wrong" in text
    assert b": the model's golden samples come out wrong" in done.stderr + done.stdout


IMPORTS = """
    import asyncio
    import sys
    import service.classifier
    from service.classifier import FashionClassifier
    from service.preprocessing.opening import open_image
    from service.preprocessing.pipeline import preprocess
    from service.telemetry.request_timing import RequestTiming

    served = FashionClassifier().data_plane.served
    image = open_image(sys.stdin.buffer.read(), 28 * 28)
    seen = preprocess(image, served.model.signature.image)
    asyncio.run(served.classify([seen], RequestTiming()))
    print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_service_needs_no_torch(tmp_path: Path, ankle_boot: NDArray[np.uint8]) -> None:
    done = run_python(IMPORTS, tmp_path, {"FASHION_DEVICE": "cpu"}, encode(ankle_boot))
    loaded = set(done.stdout.decode().splitlines()[-1].split())
    assert {"service", "onnxruntime", "bentoml"} <= loaded
    assert not loaded & {"torch", "torchvision", "onnx", "safetensors", "training", "export"}
    assert "matplotlib" not in loaded


def run_python(
    code: str, folder: Path, settings: dict[str, str], given: bytes
) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env=environment(folder, settings),
        input=given,
        capture_output=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done


def test_a_server_that_is_terminated_ends_at_once_and_well(tmp_path: Path) -> None:
    with serving(tmp_path, FASHION_DEVICE="cpu") as server, httpx.Client() as client:
        assert client.get(f"{server.url}/livez").status_code == 200  # and stays connected
        workers = server.workers()
        assert server.stop() == 0
        assert not any(worker.is_running() for worker in workers)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/livez")
    assert "Traceback" not in server.log()


@no_gpu
def test_without_a_gpu_the_log_says_loudly_that_it_is_the_cpu(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert httpx.get(f"{server.url}/readyz").json()["device"] == "cpu"
    (line,) = [line for line in server.log().splitlines() if "Serving on the CPU" in line]
    assert "[WARNING]" in line
