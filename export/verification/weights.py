"""Criterion A's second half: each weight of the graph against the network's, one by one.

A batch norm, or an input's scale, multiplies the weights of an output channel o, or of an input
channel i, by one number each:

    W'[o, i, ...] = s[o] t[i] W[o, i, ...]

So all ratios of a tensor and the one it comes from follow from two vectors, which the medians over
the other axes give. A single weight that is off by a millionth stands out, where the logits of a
deep network show no trace of it. What no tensor of the network resembles is left to the other
criteria.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

Array = NDArray[np.floating]

TOLERANCE = 2.0**-20  # relative; folding in float32 rounds three or four times by 2^-24
RESEMBLANCE = 0.75  # of a tensor's numbers have to be the other's for the rest to be wrong
SAMPLE = 64  # rows that tell which tensor it is, and from which t is taken
NUMBERS_AT_ONCE = 2**22


def weight_differences(proto: onnx.ModelProto, module: nn.Module) -> list[str]:
    """Return one message for each weight tensor that is not quite one of the network's.

    Args:
        proto: the graph; external data is loaded.
        module: the network.
    """
    by_shape: dict[tuple[int, ...], list[tuple[str, Array]]] = defaultdict(list)
    for name, parameter in module.named_parameters():
        value = parameter.detach().cpu().numpy()
        if value.ndim > 1:
            by_shape[value.shape].append((name, value))
            if value.ndim == 2:  # Gemm and MatMul may have it the other way round
                by_shape[value.shape[::-1]].append((name, value.T))
    return list(_differences(proto, by_shape))


def _differences(
    proto: onnx.ModelProto, by_shape: Mapping[tuple[int, ...], list[tuple[str, Array]]]
) -> Iterator[str]:
    for initializer in proto.graph.initializer:
        if initializer.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
            continue
        candidates = by_shape.get(tuple(initializer.dims), [])
        if not candidates:
            continue
        found = numpy_helper.to_array(initializer)
        name, right = max(candidates, key=lambda candidate: _resemblance(found, candidate[1]))
        if _resemblance(found, right) < RESEMBLANCE:
            continue
        places, largest, where = _wrong(found, right)
        if places and places < (1 - RESEMBLANCE) * found.size:
            place = ", ".join(str(int(index)) for index in np.unravel_index(where, found.shape))
            yield (
                f"A: {places:,} of {found.size:,} numbers of its tensor {initializer.name} do not "
                f"follow from {name}, [{place}] is off by a factor of {largest:.6g}"
            )


def _resemblance(found: Array, right: Array) -> float:
    """Return the share of a sample's numbers that one tensor has from another."""
    rows = np.linspace(0, len(found) - 1, min(SAMPLE, len(found))).astype(int)
    factors = _factors(found[rows], right[rows])
    return float((np.abs(factors - 1) <= TOLERANCE).mean())


def _wrong(found: Array, right: Array) -> tuple[int, float, int]:
    """Return how many numbers do not follow, the largest factor between, and its flat index."""
    rows = np.linspace(0, len(found) - 1, min(SAMPLE, len(found))).astype(int)
    columns = _columns(*_flat(found[rows], right[rows]))  # t, (I, 1)
    step = max(NUMBERS_AT_ONCE * len(found) // found.size, 1)
    count, largest, where = 0, 1.0, 0
    for start in range(0, len(found), step):
        part = slice(start, start + step)
        factors = _factors(found[part], right[part], columns)
        off = np.abs(factors - 1)
        count += int((~(off <= TOLERANCE)).sum())
        worst = int(off.argmax())
        if off.flat[worst] > abs(largest - 1):
            largest = float(factors.flat[worst])
            where = start * (found.size // len(found)) + worst
    return count, largest, where


def _factors(found: Array, right: Array, columns: Array | None = None) -> Array:
    """Return what is left of each ratio without s and t: 1 where the number follows, (O, I, ...).

    It is infinite where only one of two numbers is 0.
    """
    ratios, known = _flat(found, right)
    if columns is None:
        columns = _columns(ratios, known)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = ratios / columns  # (O, I, K)
        scales = _median(rest.reshape(len(rest), -1), known.reshape(len(rest), -1), axis=1)
        factors = np.where(known, rest / scales[:, None, None], 1.0)
    nothing = found.reshape(factors.shape) == right.reshape(factors.shape)  # 0 and 0, or the same
    return np.where(known | nothing, factors, np.inf)


def _flat(found: Array, right: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the ratios of two tensors and where there are any, (O, I, K)."""
    shape = (*found.shape[:2], -1)
    a, b = found.reshape(shape).astype(np.float64), right.reshape(shape).astype(np.float64)
    known = (a != 0) & (b != 0)
    return np.divide(a, b, out=np.ones_like(a), where=known), known


def _columns(ratios: Array, known: NDArray[np.bool_]) -> Array:
    """Return t, up to a factor, (I, 1)."""
    rows = _median(ratios.reshape(len(ratios), -1), known.reshape(len(ratios), -1), axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = np.moveaxis(ratios / rows[:, None, None], 1, 0)  # (I, O, K)
    there = np.moveaxis(known, 1, 0)
    columns = _median(rest.reshape(len(rest), -1), there.reshape(len(rest), -1), axis=1)
    return columns[:, None]


def _median(values: Array, known: NDArray[np.bool_], axis: int) -> Array:
    """Return the medians of the values that are known; 1 where none is."""
    if known.all():
        medians: Array = np.median(values, axis=axis)
    else:
        with np.errstate(all="ignore"):
            masked = np.ma.masked_array(values, ~known)
            # Not all of the supported NumPys have types for it.
            medians = np.ma.median(masked, axis=axis).filled(1.0)  # type: ignore[no-untyped-call,unused-ignore]
    return np.where(np.isfinite(medians) & (medians != 0), medians, 1.0)
