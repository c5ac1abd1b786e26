"""What may have drawn a tensor: the initializers of the frameworks as data, and their scales.

Keras: keras/src/initializers/random_initializers.py. torch: torch/nn/init.py and the
`reset_parameters` of torch/nn/modules. timm: timm/layers/weight_init.py. transformers:
`_init_weights` of modeling_utils.py and of the models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .fans import Fans
from .laws import FAMILIES, Law

# scheme -> (numerator of the variance, which fan divides it)
SCHEMES: dict[str, tuple[float, str]] = {
    "glorot": (1.0, "avg"),
    "he": (2.0, "in"),
    "lecun": (1.0, "in"),
    "he_fan_out": (2.0, "out"),
    "lecun_fan_out": (1.0, "out"),
    "glorot_relu": (2.0, "avg"),  # torch's xavier_* with calculate_gain("relu")
    "glorot_tanh": (25 / 9, "avg"),
    "he_tanh": (25 / 9, "in"),  # kaiming_* with nonlinearity="tanh"
}

NORMAL_STDS = (0.02, 0.01, 0.05, 0.1, 1.0, 0.001, 0.006, 1e-6)
UNIFORM_BOUNDS = (0.05, 0.1, 0.01, 0.08, 1.0)
TRUNCATED_SCALES = (0.05, 0.02, 0.1, 1.0)  # the std asked for; what is drawn has 0.88 of it
_FOR_BIASES = frozenset({"normal_0.02", "normal_1e-06"})  # of timm and transformers


@dataclass(frozen=True)
class Candidate:
    """name: the initializer. rank: how usual it is for such a tensor; less is more usual."""

    name: str
    law: Law
    rank: int
    fans: Fans | None = None


@dataclass(frozen=True)
class Setting:
    """What the rest of the model says of a tensor.

    units: of a recurrent layer, 0 for others. kernel: fans of the kernel beside a bias.
    depth: number of repeated blocks, 0 if none. head: width of one attention head, 0 if unknown.
    width: of the model's embeddings. std: the `initializer_range` of its config.
    keras: is it a Keras file? table: of embeddings or positions? vector: has it one axis?
    """

    fans: tuple[Fans, ...] = ()
    units: int = 0
    kernel: Fans | None = None
    depth: int = 0
    head: int = 0
    width: int = 0
    std: float = 0.0
    keras: bool = False
    recurrent: bool = False
    table: bool = False
    vector: bool = False
    bias: bool = False


def candidates(at: Setting) -> list[Candidate]:
    """Every distribution that an initializer would have drawn such a tensor from."""
    found = [*_defaults(at), *(() if at.vector else _scaled(at)), *_fixed(at)]
    if at.bias:  # a few numbers fit many things: only what is drawn for a bias; in Keras none is
        if at.keras:
            return []
        found = [*_defaults(at), *(one for one in _fixed(at) if one.name in _FOR_BIASES)]
    best: dict[tuple[str, float], Candidate] = {}
    for one in found:  # one name and law once, the most usual first
        key = (one.name, round(one.law.scale, 15))
        if key not in best or one.rank < best[key].rank:
            best[key] = one
    return list(best.values())


def _defaults(at: Setting) -> Iterator[Candidate]:
    """What the layers of torch and transformers draw if nothing else is asked for."""
    usual = 9 if at.keras else 0
    if at.recurrent and at.units:
        yield Candidate("torch_recurrent_default", _uniform(at.units**-0.5), usual)
    elif at.vector and at.kernel is not None and at.kernel.ins:
        bound = at.kernel.ins**-0.5
        yield Candidate("torch_bias_default", _uniform(bound), usual, at.kernel)
    elif not at.vector and not at.table:
        for fans in at.fans:
            bound = max(1, fans.ins) ** -0.5
            yield Candidate(_named("torch_default", fans), _uniform(bound), usual, fans)
    if at.std:
        yield Candidate("normal_initializer_range", Law("normal", at.std), 1)
        if at.depth:
            std = at.std / math.sqrt(2 * at.depth)
            yield Candidate("normal_residual_scaled", Law("normal", std), 2)
    if at.depth and not at.vector:
        std = 0.02 / math.sqrt(2 * at.depth)
        yield Candidate("normal_residual_scaled", Law("normal", std), 5)
    if at.width and (at.table or at.vector) and not at.bias:
        yield Candidate("normal_width", Law("normal", at.width**-0.5), 5)
    if at.head:
        for fans in at.fans:
            std = (fans.ins * at.head) ** -0.5
            yield Candidate("normal_t5_query", Law("normal", std), 5, fans)


def _scaled(at: Setting) -> Iterator[Candidate]:
    """Scaled by the fans. Glorot's uniform is Keras' default for nearly everything."""
    for place, fans in enumerate(at.fans):
        for step, (scheme, (numerator, mode)) in enumerate(SCHEMES.items()):
            fan = {"avg": (fans.ins + fans.outs) / 2, "in": fans.ins, "out": fans.outs}[mode]
            std = math.sqrt(numerator / max(1.0, fan))
            for family in FAMILIES:
                first = at.keras and not at.table and scheme == "glorot" and family == "uniform"
                rank = 0 if first else 3 + place + (step if step < 3 else 10 + step)
                name = _named(f"{scheme}_{family}", fans)
                yield Candidate(name, Law.of_std(family, std), rank, fans)


def _fixed(at: Setting) -> Iterator[Candidate]:
    """Of a scale that no shape decides."""
    for step, std in enumerate(NORMAL_STDS):
        rank = 2 if at.table and std == 1.0 else 4 if std == 0.02 else 20 + step
        yield Candidate(f"normal_{std:g}", Law("normal", std), rank)
    for step, bound in enumerate(UNIFORM_BOUNDS):
        rank = 0 if at.table and at.keras and bound == 0.05 else 20 + step
        yield Candidate(f"uniform_{bound:g}", _uniform(bound), rank)
    for step, scale in enumerate(TRUNCATED_SCALES):
        name = f"truncated_normal_{scale:g}"
        yield Candidate(name, Law("truncated_normal", scale), 20 + step)


def _uniform(bound: float) -> Law:
    return Law("uniform", bound)


def _named(scheme: str, fans: Fans) -> str:
    return f"{scheme} (fans: {fans.by})" if fans.by else scheme
