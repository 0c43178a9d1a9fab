"""Small data sets cut from the real test set, in the layout of the whole one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.idx_files import TEST_SET, write_split
from training.data.dataset import Split
from training.data.fashion_mnist import load_split
from training.files.checkpoint import load_checkpoint, save_checkpoint

RELEASED = Path(__file__).parents[2] / "models" / "fashion_lenet" / "checkpoint.safetensors"


@pytest.fixture(scope="session")
def real() -> Split:
    """The real 10,000 test images."""
    return load_split("test", TEST_SET)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, real: Split) -> Path:
    """A folder in Fashion-MNIST's layout: 1,280 images to train on, 500 to test with."""
    folder = tmp_path_factory.mktemp("small")
    write_split(folder, "train", real.images[:1280], real.labels[:1280])
    write_split(folder, "test", real.images[-500:], real.labels[-500:])
    (folder / "labels.txt").write_text("\n".join(f"class {i}" for i in range(10)))
    return folder


@pytest.fixture
def trained() -> nn.Sequential:
    """The released LeNet-BN, of this test alone."""
    return load_checkpoint(RELEASED).model


@pytest.fixture
def teacher(small: Path, tmp_path: Path) -> Path:
    """The released checkpoint with the small data set's class names."""
    released = load_checkpoint(RELEASED)
    labels = json.dumps((small / "labels.txt").read_text().splitlines())
    path = tmp_path / "teacher.safetensors"
    save_checkpoint(path, released.model, {**released.metadata, "labels": labels})
    return path


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Forget compiled code afterwards: torch keeps few variants of one function per process."""
    yield
    torch.compiler.reset()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread, and restore the number afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
