"""How much of the processors `python -m service classify --out` leaves to the network.

    python -m benchmarks.offline [--rounds 3] [--images 1000000]

Its images a second, divided by what as many processes reach that do nothing but call ONNX Runtime
on images in memory, 64 at a time; for pictures in files, that decode them too, by
`service.preprocessing.pipeline`.
Both in turn, in one run; the pictures are the test set's, repeated. Once with all of the program's
time, and once without its start and end, which are what it takes for one image.
"""

import argparse
import gzip
import io
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.http.peers import ROOT
from service.offline.classify_chunk import CPU_BATCH
from service.preprocessing.pipeline import read_image
from service.runtime.onnx_model import OnnxModel, load_model
from service.settings import ServiceSettings

TEST_SET = ROOT / "tests" / "data" / "t10k-images-idx3-ubyte.gz"
PROCESSES = len(os.sched_getaffinity(0))
PIXELS = 32_000_000
PNG_SHARE = 2  # so many times fewer of them than of images: they take longer
FOLDER_SHARE = 5

Work = tuple[str, str, dict[str, str]]  # the input, the results, and settings
WORKS: dict[str, Work] = {
    "IDX to Parquet, FASHION_WATCH=0": ("many.idx", "rows.parquet", {"FASHION_WATCH": "0"}),
    "IDX to Parquet": ("many.idx", "rows.parquet", {}),
    "IDX to JSON lines, FASHION_WATCH=0": ("many.idx", "rows.jsonl", {"FASHION_WATCH": "0"}),
    "IDX to JSON lines": ("many.idx", "rows.jsonl", {}),
    "PNG in a tar to Parquet": ("some.tar", "rows.parquet", {}),
    "PNG in a folder to Parquet": ("some", "rows.parquet", {}),
}


def main() -> None:
    """Measure, print and write `runs/offline.json`."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--python", default=sys.executable, help="that runs the program")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORKS}
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name, _processes() as pool:
        folder = Path(name)
        counts = _write_inputs(folder, options.images)
        for number in range(1, options.rounds + 1):
            for work, (given, out, settings) in WORKS.items():
                start = _seconds(options.python, folder, "one.idx", out, settings)
                before = _limit(pool, given)
                seconds = _seconds(options.python, folder, given, out, settings)
                limit = (before + _limit(pool, given)) / 2  # the machine is never quite still
                speeds = counts[given] / seconds, counts[given] / (seconds - start)
                found[work].append((speeds[0] / limit, speeds[1] / limit))
                print(
                    f"round {number}  {work:34} {speeds[0]:9,.0f} images/s  limit {limit:9,.0f}  "
                    "ratio {:.2f}, without the start {:.2f}".format(*found[work][-1]),
                    flush=True,
                )
    print(f"\n{PROCESSES} processes, {options.images:,} images")
    for work, ratios in found.items():
        for kind, values in zip(("", "without the start"), zip(*ratios, strict=True), strict=True):
            median, least, most = statistics.median(values), min(values), max(values)
            print(f"{work:34} {median:.2f}  ({least:.2f} to {most:.2f})  {kind}")
    (ROOT / "runs").mkdir(exist_ok=True)
    (ROOT / "runs" / "offline.json").write_text(json.dumps(found, indent=1))


def _write_inputs(folder: Path, images: int) -> dict[str, int]:
    """Write the test set again and again; return how many pictures each input has."""
    pixels = _test_images()  # (N, 28, 28)
    for name, count in (("many.idx", images), ("one.idx", 1)):
        with (folder / name).open("wb") as file:
            file.write(struct.pack(">4sIII", b"\0\0\x08\x03", count, *pixels.shape[1:]))
            for start in range(0, count, len(pixels)):
                file.write(pixels[: count - start].tobytes())
    files = [_png(image) for image in pixels]
    (folder / "some").mkdir()
    with tarfile.open(folder / "some.tar", "w") as archive:
        for n in range(images // PNG_SHARE):
            info = tarfile.TarInfo(f"{n:06}.png")
            info.size = len(files[n % len(files)])
            archive.addfile(info, io.BytesIO(files[n % len(files)]))
    for n in range(images // FOLDER_SHARE):
        (folder / "some" / f"{n:06}.png").write_bytes(files[n % len(files)])
    return {"many.idx": images, "some.tar": images // PNG_SHARE, "some": images // FOLDER_SHARE}


def _test_images() -> NDArray[np.uint8]:
    content = gzip.decompress(TEST_SET.read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)  # (N, 28, 28)


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def _seconds(python: str, folder: Path, given: str, out: str, settings: dict[str, str]) -> float:
    """Run the program, and return how long it takes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FASHION_DEVICE": "cpu", **settings}
    for path in folder.glob("rows.*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    command = (python, "-m", "service", "classify", given, "--out", out)
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return time.perf_counter() - start


# What the processes do that are the limit.


def _processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(PROCESSES, get_context("spawn"), _begin)


def _begin() -> None:
    global _model, _images, _files
    _model = load_model(ServiceSettings(device="cpu"))
    images = _test_images()[: CPU_BATCH * 156, None]  # (N, 1, 28, 28)
    # More than the caches hold, as a large input is.
    _images = np.concatenate([images] * 24)  # (24 N, 1, 28, 28)
    _files = [_png(image[0]) for image in images]


def _limit(pool: ProcessPoolExecutor, given: str) -> float:
    """Return images a second of all processes together, over some 4 s."""
    work, images = LIMITS[given]
    list(pool.map(work, [CPU_BATCH] * PROCESSES))  # to have them started
    start = time.perf_counter()
    done = sum(pool.map(work, [images] * PROCESSES))
    return done / (time.perf_counter() - start)


def _infer(images: int) -> int:
    for start in _starts(images, len(_images)):
        _model.classify(_images[start : start + CPU_BATCH])
    return images


def _decode_and_infer(images: int) -> int:
    for start in _starts(images, len(_files)):
        decoded = [
            read_image(file, PIXELS, _model.signature.image)
            for file in _files[start : start + CPU_BATCH]
        ]
        _model.classify(np.stack(decoded))
    return images


def _starts(images: int, there: int) -> Iterator[int]:
    """Yield the start of each batch, repeatedly through all images."""
    return (start % there for start in range(0, images, CPU_BATCH))


LIMITS: dict[str, tuple[Callable[[int], int], int]] = {
    "many.idx": (_infer, 240_000),
    "some.tar": (_decode_and_infer, 100_000),
    "some": (_decode_and_infer, 100_000),
}

_model: OnnxModel
_images: NDArray[np.uint8]
_files: list[bytes]


if __name__ == "__main__":
    main()
