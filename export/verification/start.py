"""Find where a wrong graph starts to deviate from the network.

Both are computed in float64. A node's value is correct if the network computes the same value, or
if a correct value is computed from it: folding removes values and an exporter chooses the names,
but every value that is left must be one of the network's. The deviation starts in the first node
whose inputs are correct and whose value is not.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from export.interpreter.graph import Float64Graph
from export.network.input_format import InputFormat
from export.verification.candidate import Candidate
from export.verification.measurement import Inputs, exact_sums

IMAGES = 2  # whose values are all kept
TOLERANCE = 4.0  # times the limit of the logits, relative to a value's own largest number
SAMPLE = 32  # numbers that are compared before all of them are


@dataclass(frozen=True)
class Start:
    """Where a deviation starts."""

    node: str  # the node's name, or its output's
    operator: str
    weights: tuple[str, ...]  # the initialisers that it reads
    after: str  # the last module with a value that the graph has

    def __str__(self) -> str:
        """Return it in words."""
        weights = f" with {', '.join(self.weights)}" if self.weights else ""
        after = f", after module {self.after}" if self.after else ""
        return f"node {self.node} ({self.operator}{weights}){after}"


def find_start(
    exact: nn.Module,
    input_format: InputFormat,
    candidate: Candidate,
    graph: Float64Graph,
    weights: Collection[str],
    images: Tensor,
    limit: float,
) -> Start | None:
    """Return where the graph's deviation starts; None if every value is found again.

    Args:
        exact: the network in float64.
        input_format: what it takes.
        candidate: the file.
        graph: its graph.
        weights: the names of its initialisers.
        images: (N, C, H, W) uint8; as many as the file takes at once, or `IMAGES`.
        limit: the largest relative error of correct logits.

    Raises:
        UnknownOperatorError: the graph has an operator that is not known.
    """
    size = candidate.batch or IMAGES
    images = images[torch.arange(size) % len(images)]
    given = Inputs.of(images, input_format, candidate)
    with exact_sums(), _recorded(exact) as outputs:
        exact(given.exact)
    with exact_sums():
        found = _Matches(outputs, TOLERANCE * limit)
        feed = given.images if candidate.takes_bytes else given.exact
        graph.run({candidate.input: feed}, candidate.output, found.watch)
    return found.start(set(weights), candidate.output)


class _Recorder(TorchFunctionMode):
    """Notes what every function of torch returns, and the module that it was called in."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: list[tuple[str, Tensor]] = []
        self.modules = [""]  # those that are running, the innermost last

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and output.is_floating_point():
            self.outputs.append((self.modules[-1], output.clone()))  # some change in place later
        return output


@contextmanager
def _recorded(module: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """Note every value that the network computes, in order."""
    recorder, hooks = _Recorder(), []
    for name, part in module.named_modules():

        def enter(_: nn.Module, __: object, name: str = name) -> None:
            recorder.modules.append(name)

        def leave(_: nn.Module, __: object, ___: object) -> None:
            recorder.modules.pop()

        hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        with recorder:
            yield recorder.outputs
    finally:
        for hook in hooks:
            hook.remove()


class _Matches:
    """The graph's values, and which modules' outputs they are."""

    def __init__(self, outputs: list[tuple[str, Tensor]], tolerance: float) -> None:
        self._tolerance = tolerance
        self._outputs = outputs
        self._by_shape: dict[torch.Size, list[int]] = defaultdict(list)
        for index, (_, value) in enumerate(outputs):
            self._by_shape[value.shape].append(index)
        self._nodes: list[onnx.NodeProto] = []
        self._last = -1  # index of the last module that was found
        self._correct: set[str] = set()

    def watch(self, node: onnx.NodeProto, name: str, value: Tensor) -> None:
        """Look for a node's value among the network's."""
        if not self._nodes or self._nodes[-1] is not node:
            self._nodes.append(node)
        if not value.is_floating_point():  # a shape
            self._correct.add(name)
            return
        found = [i for i in self._by_shape[value.shape] if self._same(value, self._outputs[i][1])]
        if found:
            self._correct.add(name)
            self._last = max(self._last, *found)

    def _same(self, found: Tensor, right: Tensor) -> bool:
        allowed = self._tolerance * float(right.abs().max())
        step = max(right.numel() // SAMPLE, 1)
        some = (found.reshape(-1)[::step] - right.reshape(-1)[::step]).abs().max()
        return float(some) <= allowed and float((found - right).abs().max()) <= allowed

    def start(self, weights: set[str], logits: str) -> Start | None:
        """Return the first incorrect node of those that the logits are computed from."""
        needed = {logits}
        for node in reversed(self._nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
        correct = set(self._correct)
        for node in reversed(self._nodes):  # a correct value has correct inputs
            if correct.intersection(node.output):
                correct.update(node.input)
        produced = {name for node in self._nodes for name in node.output}
        for node in self._nodes:
            if not needed.intersection(node.output):
                continue
            inputs_are_correct = all(name in correct or name not in produced for name in node.input)
            constant = not produced.intersection(node.input) and not self._takes_input(
                node, weights
            )
            if inputs_are_correct and not correct.intersection(node.output) and not constant:
                name = self._outputs[self._last][0] if self._last >= 0 else ""
                read = tuple(name for name in node.input if name in weights)
                return Start(node.name or node.output[0], node.op_type, read, name)
        return None

    @staticmethod
    def _takes_input(node: onnx.NodeProto, weights: set[str]) -> bool:
        """Return whether a node reads the graph's input, which no node and no weight is."""
        return any(name and name not in weights for name in node.input)
