"""Trace a network into a functional graph of ATen operators, in float64.

`torch.export` gives the graph (https://docs.pytorch.org/docs/stable/export.html). It is functional:
what a forward does in place or through an alias is written as new values. Every call of a layer is
a node of its own, also where two calls share a weight, and so neither aliases nor shared weights
nor repeated calls are special cases for folding.
"""

import copy
import inspect
import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from export.errors import FoldError
from training.batch_norm import EPS, BatchNorm

BATCH_AXIS = "N"
EXAMPLES = 2  # the fewest images of which torch.export does not conclude that there is always one


def float64_copy(model: nn.Module) -> nn.Module:
    """Return a float64 copy of a network in eval mode, without wrappers, after checking it.

    Raises:
        FoldError: a part of it is in train mode, a number is missing, complex or not finite, or
            it cannot be copied.
    """
    model = unwrap(model)
    _check(model)
    try:
        duplicate = copy.deepcopy(model)
    except RuntimeError as error:  # a weight is computed and is not a parameter
        raise FoldError(
            f"this {type(model).__name__} cannot be copied ({error}): make pruning permanent first "
            "(torch.nn.utils.prune.remove)"
        ) from error
    for name, child in list(duplicate.named_modules()):
        if name and unwrap(child) is not child:
            duplicate.set_submodule(name, unwrap(child))
    return duplicate.requires_grad_(False).double()


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(model, torch._dynamo.OptimizedModule):
            model = model._orig_mod
        else:
            return model


def trace(model: nn.Module, example: Tensor) -> tuple[fx.Graph, dict[str, Tensor]]:
    """Return the functional graph of a float64 network, and its tensors by the targets they have.

    Args:
        model: what `float64_copy` returns. Its `training.batch_norm.BatchNorm` are replaced by
            torch's, so that the graph shows them as such.
        example: (2 or more, ...) float64.

    Raises:
        FoldError: torch.export cannot trace it, or it has other outputs than one tensor.
    """
    _check_inputs(model)
    _replace_own_batch_norms(model)
    try:
        with torch.no_grad(), _silent():
            batch = ({0: Dim(BATCH_AXIS, min=1)},)
            program = torch.export.export(model, (example,), dynamic_shapes=batch)
            program = program.run_decompositions({})
    except Exception as error:  # torch.export's exceptions have no common base class
        raise FoldError(_why_untraceable(model, error)) from error
    return _unlift(program)


def _check(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if module.training:
            place = f"layer {name} is" if name else "the network is"
            raise FoldError(
                f"{place} in train mode, where batch norm uses each batch's own statistics: "
                "call .eval() first"
            )
        owner = f"{'batch norm' if is_batch_norm(module) else 'layer'} {name}".rstrip()
        tensors = dict(module.named_parameters(recurse=False)) | dict(
            module.named_buffers(recurse=False)
        )
        for key, value in tensors.items():
            _check_numbers(owner, key, value)
        if is_batch_norm(module):
            _check_statistics(owner, module, tensors)


def _check_inputs(model: nn.Module) -> None:
    needed = [
        parameter.name
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(needed) > 1:
        raise FoldError(
            f"the network takes {len(needed)} inputs ({', '.join(needed)}): expected one, a batch "
            "of images"
        )


def is_batch_norm(module: nn.Module) -> bool:
    """Return whether a module is a batch norm, ours or torch's, or a subclass."""
    return isinstance(module, BatchNorm | _BatchNorm)


def _check_numbers(owner: str, key: str, value: Tensor) -> None:
    if is_lazy(value) or value.is_meta:
        raise FoldError(
            f"{owner} has a {key} without numbers: load them, or let the network infer its shapes "
            "from a batch, before folding it"
        )
    if value.is_complex():
        raise FoldError(f"{owner} has a complex {key}: only real numbers are folded")
    if value.is_quantized:
        raise FoldError(f"{owner} has a quantized {key}: export the network before quantization")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise FoldError(
            f"{owner} has a {key} that is not finite: the training diverged; train it again"
        )


def _check_statistics(owner: str, norm: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    ours = isinstance(norm, BatchNorm)
    key = "moving_var" if ours else "running_var"
    var = tensors.get(key)
    if var is None:
        raise FoldError(
            f"{owner} keeps no running statistics (track_running_stats=False), so it normalises "
            "by each batch's own, in eval mode too: train it with them"
        )
    lowest, eps = float(var.min()), EPS if ours else float(norm.eps)  # type: ignore[arg-type]
    if lowest < 0:
        raise FoldError(f"{owner} has a negative {key} ({lowest:g}): no data has such a variance")
    if lowest + eps <= 0:
        raise FoldError(
            f"{owner} divides by zero: its {key} is {lowest:g} and its eps {eps:g}; give it an "
            "eps above 0"
        )


def _replace_own_batch_norms(model: nn.Module) -> None:
    """Replace every `training.batch_norm.BatchNorm`, which is torch's with other names."""
    for module in list(model.modules()):
        for key, child in list(module._modules.items()):
            if type(child) is BatchNorm and not has_hooks(child):
                setattr(module, key, _as_torchs(child))


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks, so that calling it does more than its forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _as_torchs(norm: BatchNorm) -> nn.Module:
    kind = nn.BatchNorm1d if norm.gamma.dim() == 2 else nn.BatchNorm2d
    new = kind(norm.gamma.numel(), EPS, dtype=norm.gamma.dtype).requires_grad_(False)
    for key, value in (
        ("weight", norm.gamma),
        ("bias", norm.beta),
        ("running_mean", norm.moving_mean),
        ("running_var", norm.moving_var),
    ):
        getattr(new, key).copy_(value.flatten())
    return new.eval()


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what torch.export prints and logs: the exception says all, on one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _why_untraceable(model: nn.Module, error: Exception) -> str:
    kind, text = type(model).__name__, str(error)
    line = next(iter(text.splitlines()), type(error).__name__)
    if "data-dependent" in text or "data dependent" in text:
        return (
            f"the forward of this {kind} branches on values of its input, and a graph has one way "
            f"only: compute both and choose by torch.where ({line})"
        )
    if "Constraints violated" in text or "specialized" in text:
        return (
            f"the forward of this {kind} takes one number of images only: use x.shape[0] or "
            "x.flatten(1) where it has a number of images"
        )
    return f"torch.export cannot trace this {kind}: {type(error).__name__}: {line}"


def _unlift(program: ExportedProgram) -> tuple[fx.Graph, dict[str, Tensor]]:
    """Return the graph with weights as `get_attr` nodes, and a single value as output."""
    targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs}
    graph, weights, new = fx.Graph(), {}, {}
    inputs = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and (target := targets[node.name]) is not None:
            weights[target] = _tensor(program, target)
            new[node] = graph.get_attr(target)
            new[node].meta = dict(node.meta)
        elif node.op == "output":
            graph.output(_single_output(program, node, new))
        else:
            new[node] = graph.node_copy(node, new.__getitem__)
            inputs += [node.name] if node.op == "placeholder" else []
    if len(inputs) != 1:
        raise FoldError(
            f"the network takes {len(inputs)} inputs ({', '.join(inputs)}): expected one, a batch "
            "of images"
        )
    return graph, weights


def _tensor(program: ExportedProgram, target: str) -> Tensor:
    found = program.constants.get(target, program.state_dict.get(target))
    if not isinstance(found, Tensor):
        raise FoldError(f"the network holds {target}, which is not a tensor: expected tensors only")
    return found.detach()


def _single_output(
    program: ExportedProgram, output: fx.Node, new: Mapping[fx.Node, fx.Node]
) -> fx.Node:
    specs = program.graph_signature.output_specs
    changed = [spec.target for spec in specs if spec.kind.name == "BUFFER_MUTATION"]
    if changed:
        raise FoldError(
            f"the forward changes the buffer {changed[0]} in eval mode, so its answers depend on "
            "what it saw before: expected a forward that changes nothing"
        )
    spec = program.call_spec.out_spec
    (values,) = output.args
    if spec is None or not spec.is_leaf() or not isinstance(values, tuple) or len(values) != 1:
        raise FoldError(
            f"the network returns {_shape_of_outputs(spec, values)}: expected one tensor, the "
            "logits; return only those in eval mode, for example from a small nn.Module around it"
        )
    return new[values[0]]  # type: ignore[index]


def _shape_of_outputs(spec: object, values: object) -> str:
    kind = getattr(getattr(spec, "type", None), "__name__", "several values")
    count = len(values) if isinstance(values, tuple) else 1
    return f"a {kind} of {count} tensors" if kind != "several values" else kind
