"""Files classified without a server: the answers, their order, and what is no picture."""

import threading
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from service.offline.classify_chunk import CPU_BATCH
from service.offline.classify_files import AHEAD, classify_files
from service.preprocessing.formats import SERVED
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings
from tests.service.pictures import encode, photograph, png_header

PIXELS = 32_000_000


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return load_model(ServiceSettings(device="cpu"))


@pytest.fixture
def files(images: NDArray[np.uint8], tmp_path: Path) -> list[str]:
    """More than two batches of pictures."""
    paths = [tmp_path / f"{n:03}.png" for n in range(2 * CPU_BATCH + 7)]
    for path, image in zip(paths, images, strict=False):
        path.write_bytes(encode(image))
    return list(map(str, paths))


def test_answers_come_in_batches_in_order_and_are_onnxruntimes_own(
    model: OnnxModel, files: list[str], images: NDArray[np.uint8], session: ort.InferenceSession
) -> None:
    batches = list(classify_files(model, files, PIXELS))
    assert [len(batch) for batch in batches] == [CPU_BATCH, CPU_BATCH, 7]
    results = [result for batch in batches for result in batch]
    assert [result.file for result in results] == files
    (expected,) = session.run(["probabilities"], {"image": images[: len(files), None]})
    for result, row in zip(results, expected, strict=True):
        assert isinstance(result.answer, dict)
        assert tuple(result.answer["probabilities"]) == model.labels
        found = list(result.answer["probabilities"].values())
        np.testing.assert_allclose(found, row, rtol=0, atol=1e-6)


def test_what_is_no_picture_is_told_in_its_place(
    model: OnnxModel, files: list[str], tmp_path: Path
) -> None:
    for n, content in enumerate((b"", b"no picture", Path(files[0]).read_bytes()[:60])):
        (tmp_path / f"bad{n}.png").write_bytes(content)
    (tmp_path / "large.png").write_bytes(png_header(10_000, 10_000))
    bad = [str(tmp_path / name) for name in ("bad0.png", "bad1.png", "bad2.png", "large.png")]
    missing, folder = str(tmp_path / "missing.png"), str(tmp_path)
    mixed = [bad[0], files[0], bad[1], bad[2], files[1], bad[3], missing, folder]
    (batch,) = classify_files(model, mixed, PIXELS)
    assert [result.file for result in batch] == mixed
    kinds = [type(result.answer) for result in batch]
    assert kinds == [str, dict, str, str, dict, str, str, str]
    reasons = [result.answer for result in batch if isinstance(result.answer, str)]
    starts = (
        "the image is empty",
        f"the image (10 bytes) is not a {SERVED} file",
        "the image is broken or cut off",
        "the image has 10000 x 10000",
        "No such file or directory",
        "Is a directory",
    )
    for reason, start in zip(reasons, starts, strict=True):
        assert reason.startswith(start)


def test_a_batch_of_nothing_but_faults_is_no_inference(model: OnnxModel) -> None:
    (batch,) = classify_files(model, ["missing.png"] * 3, PIXELS)
    assert [result.answer for result in batch] == ["No such file or directory"] * 3


def test_no_files_are_no_batches(model: OnnxModel) -> None:
    assert list(classify_files(model, [], PIXELS)) == []


def test_mode_and_top_k_are_those_of_the_service(
    model: OnnxModel, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "pullover.jpg"
    path.write_bytes(photograph(images[1], np.random.default_rng(3)))
    ((photo,),) = classify_files(model, [str(path)], PIXELS, top_k=2)
    ((raw,),) = classify_files(model, [str(path)], PIXELS, "raw")
    assert isinstance(photo.answer, dict)
    assert isinstance(raw.answer, dict)
    assert photo.answer["label"] == "Pullover"
    assert len(photo.answer["probabilities"]) == 2
    assert photo.answer["preprocessing"]["mode"] == "photo"
    assert raw.answer["preprocessing"]["mode"] == "raw"


def test_standard_input_is_a_picture(
    model: OnnxModel, ankle_boot: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(encode(ankle_boot))))
    ((result,),) = classify_files(model, ["-"], PIXELS)
    assert isinstance(result.answer, dict)
    assert result.answer["label"] == "Ankle boot"


def test_only_so_many_files_are_read_ahead(model: OnnxModel, files: list[str]) -> None:
    taken = 0

    def more_than_enough() -> Iterator[str]:
        nonlocal taken
        for _ in range(10 * AHEAD):
            taken += 1
            yield files[0]

    before = threading.active_count()
    batches = classify_files(model, more_than_enough(), PIXELS)
    for n in range(1, 4):
        assert len(next(batches)) == CPU_BATCH
        assert taken < AHEAD + n * CPU_BATCH
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
