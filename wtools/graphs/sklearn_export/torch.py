"""A linear estimator as the source of a PyTorch module, and the state dict that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...estimators.described import Estimator
from ...tree import Array, LazyData, Tensor
from ..torch_export.names import MODULE_NAMES, Names
from ..values import as_float32
from .linear import Linear, Scaler, linear

_HEAD = '''"""{title} of scikit-learn, as a PyTorch module.

{outputs}.
"""

{imports}
{arrays}

class Model(nn.Module):
    INPUTS = (((None, {features}), "float32"),)
{classes}
    def __init__(self):
        super().__init__()
{members}

    def forward(self, x):
{steps}
'''
_ARRAYS = '''

class Arrays(nn.Module):
    """Arrays of one number for each feature."""

    def __init__(self, features, *names):
        super().__init__()
        for name in names:
            self.register_buffer(name, torch.zeros(features))
'''


@dataclass
class Exported:
    """source: of the module. weights: its state dict, lazily. origins, changes: name there -> the
    estimator's array, what was done to it."""

    source: str
    weights: dict[str, Tensor] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)


def export(estimator: Estimator) -> Exported:
    """The estimator as a module whose class is `Model`. Raises as `linear`.

    A regressor gives (batch, outputs); a classifier the class of each row (its number where the
    classes are texts) and the probabilities, or the scores where scikit-learn has no others.
    """
    model = linear(estimator)
    made = Exported("")
    names = Names(MODULE_NAMES | {"Model"})
    members: list[str] = []
    steps: list[str] = []
    for scaler in model.scalers:
        attribute = names.new(scaler.path)
        arrays = list(_scaler_arrays(scaler))
        for name, tensor in arrays:
            _put(made, f"{attribute}.{name}", tensor, tensor.shape)
        if arrays:
            called = "".join(f', "{name}"' for name, _ in arrays)
            members.append(f"self.{attribute} = Arrays({model.features}{called})")
        steps += _scaler_steps(scaler, attribute)
    attribute = names.new(model.path or "linear")
    biased = isinstance(model.bias, Tensor) or bool(model.bias)
    sizes = f"{model.features}, {model.outputs}"
    members.append(f"self.{attribute} = nn.Linear({sizes}{'' if biased else ', bias=False'})")
    _put(made, f"{attribute}.weight", model.kernel, (model.outputs, model.features))
    _put_bias(made, f"{attribute}.bias", model)
    steps += [f"x = self.{attribute}(x)", *_prediction(model)]
    if steps[-1] == "return x":
        steps[-2:] = [steps[-2].replace("x =", "return", 1)]
    classes = f"    CLASSES = {list(model.classes)!r}\n" if model.classes else ""
    made.source = _HEAD.format(
        title=" and ".join([*(s.kind for s in model.scalers), model.kind]),
        outputs=_told(model),
        imports=_imports(members, steps),
        arrays=_ARRAYS if any("Arrays(" in member for member in members) else "",
        features=model.features,
        classes=classes,
        members="\n".join(f"        {line}" for line in members),
        steps="\n".join(f"        {line}" for line in steps),
    )
    return made


def _imports(members: list[str], steps: list[str]) -> str:
    """The packages that the source uses."""
    lines = ["from torch import nn"]
    if "torch." in " ".join(steps) or any("Arrays(" in member for member in members):
        lines.insert(0, "import torch")
    if "F." in " ".join(steps):
        lines.append("from torch.nn import functional as F")
    return "\n".join(lines)


def _told(model: Linear) -> str:
    if model.classes is None:
        return "(batch, features) to predictions (batch, outputs)"
    second = "scores" if model.link == "decision" else "probabilities"
    return f"(batch, features) to classes (batch,) and {second}"


def _scaler_arrays(scaler: Scaler) -> Iterator[tuple[str, Tensor]]:
    for tensor in (scaler.shift, scaler.divisor, scaler.factor, scaler.offset):
        if tensor is not None:
            yield tensor.name.rpartition(".")[2], tensor


def _scaler_steps(scaler: Scaler, attribute: str) -> Iterator[str]:
    signs = ("-", scaler.shift), ("/", scaler.divisor), ("*", scaler.factor), ("+", scaler.offset)
    for sign, tensor in signs:
        if tensor is not None:
            yield f"x = x {sign} self.{attribute}.{tensor.name.rpartition('.')[2]}"
    if scaler.clip is not None:
        yield f"x = x.clamp({scaler.clip[0]!r}, {scaler.clip[1]!r})"


def _prediction(model: Linear) -> list[str]:
    if model.classes is None:
        return ["return x.exp()" if model.link == "exp" else "return x"]
    lines = ["label = x.argmax(1)" if model.outputs > 1 else "label = (x[:, 0] > 0).long()"]
    counted = list(model.classes) == list(range(len(model.classes)))
    if type(model.classes[0]) is not str and (not counted or type(model.classes[0]) is not int):
        lines.append("label = torch.tensor(self.CLASSES, device=x.device)[label]")
    if model.outputs == 1:
        lines += {
            "decision": [],
            "sigmoid": ["x = x.sigmoid()", "x = torch.cat([1 - x, x], 1)"],
            "sigmoid2": ["x = (2 * x).sigmoid()", "x = torch.cat([1 - x, x], 1)"],
            "modified_huber": ["x = (x.clamp(-1, 1) + 1) / 2", "x = torch.cat([1 - x, x], 1)"],
        }[model.link]
    else:
        lines += {
            "decision": [],
            "softmax": ["x = x.softmax(1)"],
            "one-vs-rest": ["x = F.logsigmoid(x).softmax(1)"],
            "modified_huber": [
                "x = (x.clamp(-1, 1) + 1) / 2",
                "total = x.sum(1, keepdim=True)",
                "x = torch.where(total == 0, 1 / x.shape[1], x / total)",
            ],
        }[model.link]
    return [*lines, "return label, x"]


def _put(made: Exported, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    found = as_float32(tensor)
    if shape != found.shape:
        data = LazyData(_shaped(found, shape))
        found = replace(found, shape=shape, data=data, storage=None)
        made.changes[name] = "reshaped"
    made.weights[name] = replace(found, name=name, stored=name, layer="", kind="")
    made.origins[name] = tensor.name


def _shaped(tensor: Tensor, shape: tuple[int, ...]) -> Any:
    def compute() -> Array:
        return tensor.read().reshape(shape)

    return compute


def _put_bias(made: Exported, name: str, model: Linear) -> None:
    if isinstance(model.bias, Tensor):
        _put(made, name, model.bias, (model.outputs,))
    elif model.bias:
        value = np.full(model.outputs, model.bias, np.float32)
        made.weights[name] = Tensor.of(name, value)
