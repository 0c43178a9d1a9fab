"""Data sets written as the files that training reads."""

import gzip
from pathlib import Path

import torch

from training.data.dataset import STEMS, SplitName
from training.data.idx import format_idx

TEST_SET = Path(__file__).parents[1] / "data"


def write_split(folder: Path, name: SplitName, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Write (N, 1, 28, 28) images, gzipped, and (N,) labels, plain."""
    images_stem, labels_stem = STEMS[name]
    packed = gzip.compress(format_idx(images.squeeze(1)), compresslevel=1)
    (folder / f"{images_stem}.gz").write_bytes(packed)
    (folder / labels_stem).write_bytes(format_idx(labels.to(torch.uint8)))
