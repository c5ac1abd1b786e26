"""Ready code that freezes exactly what a plan does not train: torch, Keras, and name patterns.

Names are put together where all below a path is trained: "encoder.layer.11." stands for every
name that begins so, a name without a dot at its end for itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    from .plan import Plan

CODES = ("torch", "keras", "peft")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_ADAPTED = frozenset({"dense", "conv1d", "conv2d", "conv3d"})

_TORCH = """\
import torch

# A name, or what names begin with (a dot at the end); {meaning}.
TRAINED = {table}


def found(name):
    return next((s for s in TRAINED if name == s or (s.endswith(".") and name.startswith(s))), None)


for name, parameter in model.named_parameters():
    parameter.requires_grad_(found(name) is not None)
"""
_GROUPS = """
groups = {}
for name, parameter in model.named_parameters():
    if parameter.requires_grad:
        groups.setdefault(TRAINED[found(name)], []).append(parameter)
optimizer = torch.optim.AdamW([{"params": group, "lr": lr} for lr, group in groups.items()])
"""
_NORMS = """
# Frozen batch norms: in training mode their statistics would still move. Repeat after each
# `model.train()`.
FROZEN_NORMS = {table}
for name in FROZEN_NORMS:
    model.get_submodule(name).eval()
"""
_KERAS = """\
import keras

TRAINED = {table}


def leaves(model, above=""):
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer, above + layer.name + "/")
        else:
            yield above + layer.name, layer


model.trainable = True
for path, layer in leaves(model):
    layer.trainable = path in TRAINED
"""
_KERAS_RATES = """
# The learning rate of each layer, for a training loop of your own: the optimizers of Keras have
# one rate for all variables.
RATES = {table}
"""
_PEFT = """\
from peft import LoraConfig

# What is trained, by `re.match` on the names of parameters.
TRAINED = {pattern}

# With adapters instead: on these matrices (PEFT matches whole names of modules); layers without
# matrices, and the head, are trained themselves.
config = LoraConfig(
    target_modules={targets},
    modules_to_save={saved},
)
"""


def written(made: Plan, code: str) -> str:
    """The program. Raises UsageError where the tree's names are of another framework."""
    if code == "keras":
        if made.tree.separator != "/" or made.tree.format == "onnx":
            raise UsageError(
                "code for Keras needs the layers of a Keras model", path=made.tree.path or None
            )
        return _keras(made)
    if made.tree.separator != ".":
        raise UsageError(
            f"code for {code} needs the parameter names of a torch model",
            path=made.tree.path or None,
        )
    return _torch(made) if code == "torch" else _peft(made)


def beginnings(wanted: Iterable[str], others: Iterable[str], separator: str = ".") -> list[str]:
    """The fewest names and beginnings of names that cover all `wanted` and none of `others`.

    A beginning ends with the separator.
    """
    barred: set[str] = set()
    for name in others:
        barred.update(_above(name, separator))
    found: dict[str, None] = {}
    for name in wanted:
        free = (path for path in _above(name, separator) if path not in barred)
        found[next(free, name)] = None
    return list(found)


def _above(name: str, separator: str) -> list[str]:
    """The beginnings of a name that end with the separator, short ones first."""
    ends = [at + len(separator) for at in range(len(name)) if name.startswith(separator, at)]
    return [name[:end] for end in ends]


def _split(made: Plan) -> tuple[list[str], list[str]]:
    """(names trained, names frozen); statistics are no parameters and in neither."""
    trained = [role.tensor.name for role in made.learned if role.tensor.name in made.trained]
    frozen = [role.tensor.name for role in made.learned if role.tensor.name not in made.trained]
    return trained, frozen


def _torch(made: Plan) -> str:
    trained, frozen = _split(made)
    rates = {name: made.rate(name) for name in trained}
    if any(rate is not None for rate in rates.values()):
        table: dict[str, float | None] = {}
        for rate in dict.fromkeys(rates.values()):
            same = [name for name in trained if rates[name] == rate]
            rest = [name for name in trained if rates[name] != rate]
            table.update(dict.fromkeys(beginnings(same, [*rest, *frozen]), rate))
        text = _TORCH.format(table=_dict(table), meaning="its learning rate")
        text += _GROUPS
    else:
        text = _TORCH.format(table=_list(beginnings(trained, frozen)), meaning="all else is frozen")
    norms = frozen_norms(made)
    return text + (_NORMS.format(table=_list(norms)) if norms else "")


def frozen_norms(made: Plan) -> list[str]:
    """Layers with running statistics of which nothing is trained."""
    open_layers = {path for path, trained in made.layers() if trained}
    return [
        role.layer
        for role in made.found.tensors.values()
        if role.meaning.role == "moving_mean" and role.layer and role.layer not in open_layers
    ]


def names_pattern(made: Plan) -> str:
    """A regular expression that, from their beginning, matches the names of what is trained."""
    starts = beginnings(*_split(made))
    return _any_of(starts, lambda start: "" if start.endswith(".") else "$")


def _any_of(names: Iterable[str], end: Callable[[str], str] = lambda name: "") -> str:
    """A regular expression for any of the names, those that differ in a number put together."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        found = _NUMBER.search(name)
        before, number, after = name, "", ""
        if found:
            before, number, after = name[: found.start()], found[0], name[found.end() :]
        groups.setdefault((re.escape(before), re.escape(after) + end(name)), []).append(number)
    parts = []
    for (before, after), numbers in groups.items():
        several = f"(?:{'|'.join(numbers)})" if len(numbers) > 1 else numbers[0]
        parts.append(before + several + after)
    return f"(?:{'|'.join(parts)})" if parts else "(?!)"


def _peft(made: Plan) -> str:
    head = {layer for unit in made.units if unit.kind == "head" for layer in unit.layers}
    trained = [role for role in made.learned if role.tensor.name in made.trained and role.layer]
    adapted = {
        role.layer: None
        for role in trained
        if role.meaning.role == "kernel" and role.meaning.kind in _ADAPTED
        if role.layer not in head
    }
    saved = dict.fromkeys(role.layer for role in trained if role.layer not in adapted)
    lines = _list(saved).replace("\n", "\n    ")
    return _PEFT.format(
        pattern=_raw(names_pattern(made)), targets=_raw(_any_of(adapted)), saved=lines
    )


def _keras(made: Plan) -> str:
    trained = [path for path, does in made.layers() if does]
    text = _KERAS.format(table=_list(trained))
    rates = {path: made.rates[path] for path in trained if path in made.rates}
    if rates:
        text += _KERAS_RATES.format(table=_dict(rates))
    return text


def _raw(pattern: str) -> str:
    """A Python literal of a regular expression, raw where it can be."""
    plain = pattern.isprintable() and '"' not in pattern and not pattern.endswith("\\")
    return f'r"{pattern}"' if plain else repr(pattern)


def _list(names: Iterable[str]) -> str:
    lines = [f"    {json.dumps(name)},\n" for name in names]
    return "[\n" + "".join(lines) + "]" if lines else "[]"


def _dict(table: dict[str, float] | dict[str, float | None]) -> str:
    lines = [f"    {json.dumps(name)}: {float(rate or 0):.6g},\n" for name, rate in table.items()]
    return "{\n" + "".join(lines) + "}"
