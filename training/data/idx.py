"""Read and write the IDX format of MNIST and similar data sets: one array of bytes per file.

    byte 0, 1   0
    byte 2      dtype code, 0x08 for unsigned bytes (the only one read here)
    byte 3      number of axes D
    then        D axis lengths, unsigned 32-bit big-endian
    then        the values in row-major order

http://yann.lecun.com/exdb/mnist, "The IDX file format".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from training.errors import IdxError

UNSIGNED_BYTE = 0x08
OTHER_DTYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
GZIP_MAGIC = b"\x1f\x8b"

# The limit of torch, also for an array that is empty along one axis.
MOST_VALUES = 2**63


def read_idx(path: Path) -> Tensor:
    """Return the content of an IDX file, gzipped or plain, as a uint8 tensor of its stated shape.

    Raises:
        IdxError: the file cannot be read, or is not a complete IDX array of bytes.
    """
    return parse_idx(read_content(path), str(path))


def read_content(path: Path) -> bytes:
    """Return a file's bytes, decompressed if its first bytes are gzip's (whatever its name).

    Raises:
        IdxError: the file cannot be read, or its gzip stream is corrupt or cut off.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise IdxError(f"cannot read {path}: {error.strerror}") from error
    if not raw.startswith(GZIP_MAGIC):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise IdxError(f"{path} is corrupt gzip ({error}): fetch it again") from error


def parse_idx(content: bytes, name: str) -> Tensor:
    """Return the content of an IDX file as a uint8 tensor of its stated shape.

    Args:
        content: the uncompressed file.
        name: the name in error messages.

    Raises:
        IdxError: content is not a complete IDX array of unsigned bytes.
    """
    shape = _parse_header(content, name)
    start = 4 + 4 * len(shape)
    expected, found = math.prod(shape), len(content) - start
    if found != expected:
        fault = "cut off" if found < expected else "too long"
        raise IdxError(
            f"{name} is {fault}: its header says shape {shape}, {expected} bytes of values, "
            f"but {found} follow: fetch it again"
        )
    if expected == 0:
        if math.prod(max(length, 1) for length in shape) >= MOST_VALUES:
            raise IdxError(f"{name} has shape {shape}, which no data set has: fetch it again")
        return torch.empty(shape, dtype=torch.uint8)
    # A bytearray, because tensors are writable and bytes are not.
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)


def _parse_header(content: bytes, name: str) -> tuple[int, ...]:
    if len(content) < 4 or content[:2] != b"\0\0":
        raise IdxError(
            f"{name} is not an IDX file: it starts with 0x{content[:4].hex()}, "
            "an IDX array of bytes with 0x000008 and its number of axes"
        )
    dtype, num_axes = content[2], content[3]
    if dtype != UNSIGNED_BYTE:
        found = OTHER_DTYPES.get(dtype, "an unknown dtype")
        raise IdxError(f"{name} holds {found} (code 0x{dtype:02x}): only uint8 (0x08) is read")
    if len(content) < 4 + 4 * num_axes:
        raise IdxError(f"{name} is cut off within its header of {4 + 4 * num_axes} bytes")
    return struct.unpack_from(f">{num_axes}I", content, 4)


def format_idx(array: Tensor) -> bytes:
    """Return a uint8 tensor as an uncompressed IDX file, the inverse of `parse_idx`.

    Raises:
        IdxError: the tensor is not uint8.
    """
    if array.dtype != torch.uint8:
        raise IdxError(f"an IDX array of bytes needs a uint8 tensor, not {array.dtype}")
    header = struct.pack(f">2xBB{array.dim()}I", UNSIGNED_BYTE, array.dim(), *array.shape)
    return header + array.contiguous().cpu().numpy().tobytes()
