"""Sessions on a GPU are strict; without one the error says how to find out what is missing."""

from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from export.errors import ModelError
from export.onnx_file.outputs import OPTIMISATIONS
from export.onnx_file.session import CPU, CUDA, CUDA_OPTIONS, computed_on, open_session

MODEL = Path("models/fashion_lenet/model.onnx")
LEVEL = OPTIMISATIONS["default"]


def test_sessions_are_on_the_cpu_but_in_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, dict[str, Any]]] = []

    def watched(model: object, options: ort.SessionOptions, **given: Any) -> None:
        strict = given["providers"] != [CPU]
        entry = (
            options.get_session_config_entry("session.disable_cpu_ep_fallback") if strict else ""
        )
        opened.append((entry, given))

    monkeypatch.setattr(ort, "InferenceSession", watched)
    with computed_on("cuda"):
        open_session(str(MODEL), LEVEL)
    open_session(str(MODEL), LEVEL)
    on_gpu = {"providers": [(CUDA, CUDA_OPTIONS)], "enable_fallback": 0}
    assert opened == [("1", on_gpu), ("", {"providers": [CPU]})]
    assert CUDA_OPTIONS["use_tf32"] == "0"


def test_without_a_gpu_the_error_says_who_knows_more() -> None:
    """ONNX Runtime itself refuses: this process has no GPU in any case."""
    with computed_on("cuda"), pytest.raises(ModelError) as caught:
        open_session(MODEL.read_bytes(), LEVEL)
    message = str(caught.value)
    assert message.startswith("--device cuda: the GPU cannot compute all of the model")
    assert "`python -m service info --device cuda` says what is missing" in message
    assert "\n" not in message
