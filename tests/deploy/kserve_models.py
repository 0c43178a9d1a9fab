"""Read InferenceServices with KServe's own models, in their own environment.

Called as `python kserve_models.py < MANIFESTS`; prints what they do not know in each, or is of
another type, as a JSON list of lists.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import yaml
from kserve import models as kserve_models
from kubernetes.client import models as kubernetes_models

PRIMITIVES = {"str": str, "int": int, "bool": bool}


def faults(value: Any, kind: str, path: str) -> Iterator[str]:
    """Yield what in a value is not as its type has it, in the generated models' notation."""
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        for index, item in enumerate(value):
            yield from faults(item, inner[1], f"{path}[{index}]")
    elif inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
        for name, item in value.items():
            yield from faults(item, inner[1], f"{path}.{name}")
    elif model := getattr(kserve_models, kind, None) or getattr(kubernetes_models, kind, None):
        kinds = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
        for name, item in value.items():
            if name in kinds:
                yield from faults(item, kinds[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is not known"
    elif kind in PRIMITIVES and not isinstance(value, PRIMITIVES[kind]):
        yield f"{path} is {value!r}, {kind} is right"


manifests = yaml.safe_load_all(sys.stdin)
found = [list(faults(manifest, "V1beta1InferenceService", "$")) for manifest in manifests]
print(json.dumps(found))
