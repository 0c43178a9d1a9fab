"""Which layers a batch norm can be folded into, and when the two fit together.

Only these exact classes: a subclass may compute something else, and so may a
layer with hooks, which weight normalisation and pruning add.
"""

from typing import TypeGuard

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from training.batch_norm import BatchNorm

Layer = _ConvNd | nn.Linear
BatchNormLike = BatchNorm | _BatchNorm

# The ranks of their inputs, including the batch axis.
LAYERS: dict[type[nn.Module], int] = {
    nn.Conv1d: 3,
    nn.Conv2d: 4,
    nn.Conv3d: 5,
    nn.ConvTranspose1d: 3,
    nn.ConvTranspose2d: 4,
    nn.ConvTranspose3d: 5,
    nn.Linear: 2,
}

# The ranks of the inputs that they accept.
NORMS: dict[type[nn.Module], tuple[int, ...]] = {
    BatchNorm: (2, 4),  # each instance takes one of them, given by the shape of its gamma
    nn.BatchNorm1d: (2, 3),
    nn.BatchNorm2d: (4,),
    nn.BatchNorm3d: (5,),
    nn.SyncBatchNorm: (2, 3, 4, 5),
}


def is_batch_norm(module: nn.Module) -> TypeGuard[BatchNormLike]:
    """Return whether a module is a batch norm, of these classes or a subclass."""
    return isinstance(module, BatchNorm | _BatchNorm)


def is_layer(module: nn.Module) -> TypeGuard[Layer]:
    """Return whether a module is a layer that can absorb a batch norm."""
    return type(module) in LAYERS


def is_transposed(layer: Layer) -> TypeGuard[_ConvTransposeNd]:
    """Return whether a layer is a transposed convolution, whose weight has the inputs first."""
    return isinstance(layer, _ConvTransposeNd)


def has_hooks(module: nn.Module) -> bool:
    """Return whether a module has hooks, so that calling it does more than its forward."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def num_channels(norm: BatchNormLike) -> int:
    """Return the number of channels of a batch norm."""
    return norm.gamma.numel() if isinstance(norm, BatchNorm) else norm.num_features


def misfit_after(layer: Layer, norm: BatchNormLike) -> str | None:
    """Return why a batch norm directly after this layer does not fit; None if it fits."""
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return _other_axis(layer, norm) or _other_count("gives", outputs, norm)


def misfit_before(norm: BatchNormLike, layer: Layer, flattened: bool) -> str | None:
    """Return why this layer cannot absorb a batch norm directly before it; None if it can.

    Args:
        norm: the batch norm.
        layer: the layer.
        flattened: whether (N, C, ...) becomes (N, C * ...) in between.
    """
    if isinstance(layer, nn.Linear):
        inputs = layer.in_features
        if flattened:
            fits = inputs % num_channels(norm) == 0
            return None if fits else _other_count("takes", inputs, norm)
        return _other_axis(layer, norm) or _other_count("takes", inputs, norm)
    if is_transposed(layer):
        return (
            "which is transposed: its outputs at the border sum fewer inputs than those "
            "inside, so the shift of the batch norm cannot be a single bias"
        )
    if flattened:
        return "after a flatten"
    if layer.padding_mode == "zeros" and _is_padded(layer):
        return (
            f"whose padding (padding={layer.padding!r}) puts zeros where the batch norm would "
            "have put its shift"
        )
    return _other_axis(layer, norm) or _other_count("takes", layer.in_channels, norm)


def _is_padded(layer: _ConvNd) -> bool:
    if layer.padding == "same":
        return any(size > 1 for size in layer.kernel_size)
    return layer.padding != "valid" and any(layer.padding)


def _other_axis(layer: Layer, norm: BatchNormLike) -> str | None:
    """Return an error if the ranks differ: channels are axis 1, a linear layer's the last one."""
    ranks = (norm.gamma.dim(),) if isinstance(norm, BatchNorm) else NORMS[type(norm)]
    rank = LAYERS[type(layer)]
    if rank in ranks:
        return None
    taken = " or ".join(map(str, ranks))
    return f"which computes in {rank} dimensions, but the batch norm takes {taken}"


def _other_count(verb: str, count: int, norm: BatchNormLike) -> str | None:
    if count == num_channels(norm):
        return None
    return f"which {verb} {count} channels, but the batch norm has {num_channels(norm)}"
