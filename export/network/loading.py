"""Build a network from an import string, and load its weights. Nothing is ever unpickled."""

import copy
import importlib
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from export.errors import NetworkError, one_line
from export.folding.tracing import unwrap
from export.network.input_format import InputFormat

NAMED = 5  # keys named in a message; the others are counted

# What training loops put a state dict under, beside epochs and optimisers.
NESTED = ("state_dict", "model_state_dict", "model")
# What DataParallel and torch.compile put before every key.
PREFIXES = ("module.", "_orig_mod.")


@dataclass(frozen=True)
class Network:
    """A network in eval mode on the CPU, in float32, and what it takes and gives."""

    module: nn.Module
    input_format: InputFormat
    num_classes: int  # K


def build(import_string: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the module that a factory makes.

    Args:
        import_string: "package.module:factory"; the working directory is searched too.
        arguments: keyword arguments for the factory.

    Raises:
        NetworkError: the module or factory does not exist, or does not return a module.
    """
    factory = _factory(import_string)
    try:
        made = factory(**arguments)
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise NetworkError(f"{import_string}({given}) raises {one_line(error)}") from error
    if not isinstance(made, nn.Module):
        raise NetworkError(f"{import_string} returns {_article(made)}: expected a torch.nn.Module")
    return unwrap(made)


def _factory(import_string: str) -> Callable[..., Any]:
    module_name, _, attributes = import_string.partition(":")
    if not module_name or not attributes:
        raise NetworkError(
            f"--network {import_string}: expected MODULE:FACTORY, such as "
            "torchvision.models:resnet18"
        )
    # A module of the user's stands in the working directory; `fashion-lenet` does not search that.
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise NetworkError(f"importing {module_name} raises {one_line(error)}") from error
        raise NetworkError(
            f"there is no module {module_name}: name one that is installed or in the working "
            "directory"
        ) from error
    except Exception as error:
        raise NetworkError(f"importing {module_name} raises {one_line(error)}") from error
    for name in attributes.split("."):
        if not hasattr(found, name):
            raise NetworkError(f"module {module_name} has no attribute {attributes}")
        found = getattr(found, name)
    if not callable(found):
        raise NetworkError(
            f"{import_string} is {_article(found)}: expected a function or class that returns a "
            "torch.nn.Module"
        )
    return found  # type: ignore[no-any-return]


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a safetensors file, or in a `.pt` read with `weights_only=True`.

    A state dict under "state_dict", "model_state_dict" or "model" is found, and "module." and
    "_orig_mod." before every key are taken away.

    Raises:
        NetworkError: the file cannot be read, or holds something else.
    """
    if not path.is_file():
        raise NetworkError(
            f"{path} is not a file: name a state dict, as safetensors or as torch.save writes it"
        )
    tensors = _read_pickle_free(path) if path.suffix in (".pt", ".pth", ".bin") else _read(path)
    for prefix in PREFIXES:
        if tensors and all(key.startswith(prefix) for key in tensors):
            tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise NetworkError(
            f"{path} is not a complete safetensors file ({error}): name a safetensors file, or a "
            ".pt that holds a state dict"
        ) from error


def _read_pickle_free(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise NetworkError(
            f"{path} holds pickled Python objects, which are never loaded: expected a state dict, "
            "which torch.save(model.state_dict(), PATH) writes"
        ) from error
    except Exception as error:  # torch's own have no common base class
        raise NetworkError(
            f"{path} is not a complete file of torch.save: {one_line(error)}"
        ) from error
    for key in NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        content = f"the keys {_some(found)}" if isinstance(found, dict) else _article(found)
        raise NetworkError(
            f"{path} holds {content}: expected a state dict of tensors, which "
            "torch.save(model.state_dict(), PATH) writes"
        )
    return {str(key): value for key, value in found.items()}


def with_weights(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Return the module with these weights loaded, in eval mode; path is for messages.

    Raises:
        NetworkError: keys are missing, unexpected, or of another shape; a weight is not finite.
    """
    # A buffer that is not persistent is no part of a state dict, and keeps the factory's value.
    own = module.state_dict()
    faults = [
        f"{what} {_some(keys)}"
        for what, keys in (
            ("lacks", [key for key in own if key not in weights]),
            ("has unexpected", [key for key in weights if key not in own]),
        )
        if keys
    ]
    faults += _other_shapes(own, weights)
    if faults:
        raise NetworkError(f"{path} does not fit the network: it {'; it '.join(faults)}")
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise NetworkError(f"{path} does not fit the network: {one_line(error)}") from error
    return module.eval()


def _other_shapes(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> list[str]:
    others = [
        f"{key} of shape {tuple(weights[key].shape)}, expected {tuple(value.shape)}"
        for key, value in own.items()
        if key in weights and isinstance(value, Tensor) and weights[key].shape != value.shape
    ]
    return [f"has {_some(others)}"] if others else []


def network(module: nn.Module, input_format: InputFormat) -> Network:
    """Return a module in eval mode as a network: a copy of it on the CPU, in float32.

    Raises:
        NetworkError: a part is in train mode; a weight is not finite; the module does not take
            (N, C, H, W) float32 or does not return logits (N, K) with K at least 2.
    """
    module = copy.deepcopy(unwrap(module)).cpu().float()
    for name, part in module.named_modules():
        if part.training:
            raise NetworkError(
                f"{f'layer {name}' if name else 'the network'} is in train mode, where a batch "
                "decides on its own statistics: call .eval() first"
            )
    for key, value in module.state_dict().items():
        if isinstance(value, Tensor) and not torch.isfinite(value).all():
            raise NetworkError(
                f"the network's {key} is not finite: the training diverged; train it again"
            )
    return Network(module, input_format, _num_classes(module, input_format))


def _num_classes(module: nn.Module, input_format: InputFormat) -> int:
    images = torch.zeros(2, *input_format.shape, dtype=torch.uint8)
    try:
        with torch.no_grad():
            logits = module(input_format.normalise(images, torch.float32))
    except Exception as error:
        raise NetworkError(
            f"the network cannot compute images of {input_format} (--image): {one_line(error)}"
        ) from error
    if not isinstance(logits, Tensor):
        raise NetworkError(
            f"the network returns {_article(logits)}: expected one tensor, the logits (N, K); "
            "wrap it in a module that returns them"
        )
    shape = tuple(logits.shape)
    if len(shape) != 2 or shape[0] != 2 or shape[1] < 2 or not logits.is_floating_point():
        raise NetworkError(
            f"for 2 images of {input_format} the network returns {logits.dtype} {shape}: expected "
            "logits (2, K), for K classes, 2 or more"
        )
    return shape[1]


def _some(names: Iterable[Any]) -> str:
    """Return the first few names, and how many others there are."""
    all_names = list(map(str, names))
    more = f" and {len(all_names) - NAMED} more" if len(all_names) > NAMED else ""
    return ", ".join(all_names[:NAMED]) + more


def _article(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
