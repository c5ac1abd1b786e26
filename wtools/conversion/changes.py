"""What a module must change for outputs equal to those of the model whose weights it takes.

Weights do not tell strides, epsilons or how a mean treats its padding; a Keras config and an ONNX
graph do. Where rules know both sides (`translation.architectures`) they say what differs; else
everything that the source's graph says of a layer is said, whether or not the module has it so
already, since a state dict does not tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from ..translation.architectures import Applied
from .recognition import Model, Recognition
from .wiring import Step, Wiring

_EPSILON = {"torch": "eps", "keras": "epsilon", "onnx": "epsilon"}
_STRIDE = {"torch": "stride", "keras": "strides", "onnx": "strides"}
_NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
_DEFAULT = {"torch": 1e-5, "onnx": 1e-5, "keras": 1e-3}


@dataclass(frozen=True)
class Change:
    """One setting of the target for equal outputs.

    module: a glob of the target's module names; "" for the model as a whole. attribute: of the
    module, as its framework calls it; `avg_pool2d.count_include_pad` is an argument of a function
    that the module calls; `output` is what the other model does with what the module gives.
    value: a JSON value. why: a sentence. evidence: "config", or "rules" and the file's name.
    """

    module: str
    attribute: str
    value: Any
    why: str
    evidence: str = "config"

    def to_dict(self) -> dict[str, Any]:
        return {
            "module": self.module,
            "attribute": self.attribute,
            "value": self.value,
            "why": self.why,
            "evidence": self.evidence,
        }


def changes(found: Recognition, applied: Applied | None, to: str) -> list[Change]:
    """All settings that are known; to: the target's convention."""
    if applied is not None:
        name = applied.architecture.name
        known = applied.architecture.changes.get("keras" if to == "keras" else "torch", ())
        ruled = [
            Change(c["module"], c["attribute"], c["value"], c["why"], f"rules {name}")
            for c in known
        ]
        return [*ruled, *(c for c in _generic(found, to) if c.attribute == "output")]
    return list(_generic(found, to))


def sentences(found: Iterable[Change], most: int = 3) -> list[str]:
    """The changes for people: equal ones together."""
    grouped: dict[tuple[str, str, str], list[str]] = {}
    for one in found:
        grouped.setdefault((one.attribute, repr(one.value), one.why), []).append(one.module)
    lines = []
    for (attribute, value, why), modules in grouped.items():
        more = f" and {len(modules) - most} more" if len(modules) > most else ""
        where = f"{', '.join(modules[:most])}{more}: " if modules != [""] else ""
        lines.append(f"for equal outputs: {where}{attribute} = {value} ({why})")
    return lines


def _generic(found: Recognition, to: str) -> Iterator[Change]:
    source, target = found.source, found.target
    wired, other = source.wiring, target.wiring
    names = _names(target, to)
    if wired is None:
        yield from _of_template(found, to)
        return
    for there, here in found.pairs.items():
        own = _settings(wired, here)
        known = _settings(other, there) if other is not None else {}
        kind = target.units[there].layer.kind
        if kind in _NORMS and "epsilon" in own and own["epsilon"] != known.get("epsilon"):
            why = "the epsilon of the source's layer"
            yield Change(names[there], _EPSILON[to], own["epsilon"], why)
        whole = source.units[here].projection != "pointwise"  # strides and pads are the other's
        if "conv" in kind and "transpose" not in kind and whole:
            known_too = other is not None
            yield from _of_convolution(wired, here, names[there], own, known, to, known_too)
    yield from _of_steps(wired, to)


def _names(model: Model, convention: str) -> list[str]:
    separator = "/" if convention == "keras" else "."
    return [unit.layer.path.replace("/", separator) for unit in model.units]


def _settings(wired: Wiring, unit: int) -> dict[str, Any]:
    """Epsilon, strides, dilation and padding of a layer, by one name for both frameworks."""
    config = wired.configs.get(unit, {})
    found: dict[str, Any] = {}
    epsilon = config.get("epsilon")
    if isinstance(epsilon, float):
        found["epsilon"] = float(f"{epsilon:.7g}")  # ONNX keeps it in single precision
    for name, key in (
        ("strides", "strides"),
        ("dilation_rate", "dilation"),
        ("dilations", "dilation"),
    ):
        value = config.get(name)
        if _numbers(value):
            found[key] = list(value)
    return found


def _of_convolution(
    wired: Wiring,
    unit: int,
    module: str,
    own: Mapping[str, Any],
    known: Mapping[str, Any],
    to: str,
    target_known: bool,
) -> Iterator[Change]:
    strides = own.get("strides")
    usual = [1] * len(strides or ()) if target_known else None  # a graph leaves out what is usual
    if strides and strides != known.get("strides", usual):
        yield Change(module, _STRIDE[to], strides, "the stride of the source's layer")
    dilation = own.get("dilation")
    if dilation and any(n != 1 for n in dilation) and dilation != known.get("dilation"):
        name = "dilation_rate" if to == "keras" else "dilation"
        yield Change(module, name, dilation, "the dilation of the source's layer")
    if to != "torch" or wired.framework != "keras":
        return
    pads = _padding(wired, unit)
    if pads is None:
        return
    if all(first == last for first, last in pads):
        value = [first for first, _ in pads]
        yield Change(module, "padding", value, "the padding of the source's layer")
    else:
        why = "the source pads more at the end: pad its input with zeros, and set padding to 0"
        yield Change(module, "pad", [list(pair) for pair in pads], why)


def _padding(wired: Wiring, unit: int) -> list[tuple[int, int]] | None:
    """(first, last) rows of zeros for each spatial axis of a Keras convolution.

    With `same` and a stride they depend on the size of the image: for one that the stride divides.
    """
    config = wired.configs.get(unit, {})
    kernel, strides = config.get("kernel_size"), config.get("strides")
    if not _numbers(kernel) or not _numbers(strides):
        return None
    rates = config.get("dilation_rate")
    rates = rates if _numbers(rates) else [1] * len(kernel)
    if config.get("padding") == "same":
        wide = [(k - 1) * r + 1 for k, r in zip(kernel, rates, strict=False)]
        total = [max(0, w - s) for w, s in zip(wide, strides, strict=False)]
        return [(n // 2, n - n // 2) for n in total]
    before = _step_before(wired, unit)
    given = before.config.get("padding") if before and before.kind.startswith("ZeroPadding") else 0
    if isinstance(given, int):
        return [(given, given)] * len(kernel)
    if _numbers(given) and len(given) == len(kernel):
        return [(p, p) for p in given]
    if isinstance(given, (list, tuple)) and all(_numbers(p) and len(p) == 2 for p in given):
        return [(first, last) for first, last in given]
    return None


def _numbers(value: Any) -> TypeGuard[Sequence[int]]:
    return isinstance(value, (list, tuple)) and all(isinstance(n, int) for n in value)


def _step_before(wired: Wiring, unit: int) -> Step | None:
    step = wired.steps[wired.place[unit]]
    makers = {value: one for one in wired.steps for value in one.made}
    return makers.get(step.taken[0]) if step.taken else None


def _of_steps(wired: Wiring, to: str) -> Iterator[Change]:
    """What steps without weights do otherwise than torch's usual ones."""
    if wired.framework != "keras":
        return
    last = wired.steps[-1]
    activation = last.config.get("activation")
    if isinstance(activation, str) and activation not in ("linear", "") and to == "torch":
        why = f"the source's last layer has {activation} as its activation"
        yield Change("", "output", activation, why)
    kinds = {(s.kind, str(s.config.get("padding"))) for s in wired.steps}
    if to == "torch" and any(k.startswith("AveragePooling") and p == "same" for k, p in kinds):
        why = "Keras leaves the padding out of the mean"
        yield Change("*", "avg_pool2d.count_include_pad", False, why)
    strided = [
        s
        for s in wired.steps
        if "Pooling" in s.kind and s.config.get("padding") == "same" and _reduces(s.config)
    ]
    if to == "torch" and strided:
        why = "Keras pads more at the end where it pools with a stride"
        yield Change("*", "pool.padding", "same", why)


def _reduces(config: Mapping[str, Any]) -> bool:
    strides: Any = config.get("strides")
    return isinstance(strides, Sequence) and any(n != 1 for n in strides)


def _of_template(found: Recognition, to: str) -> Iterator[Change]:
    """The source says nothing: what the template's norms have, if the other has its default."""
    wired = found.target.wiring
    if wired is None:
        return
    usual = _DEFAULT.get(found.source.canonical.convention, 1e-5)
    names = _names(found.target, to)
    for there in found.pairs:
        epsilon = _settings(wired, there).get("epsilon")
        if found.target.units[there].layer.kind in _NORMS and epsilon not in (None, usual):
            why = f"if the source's module has its default; the template has {epsilon:g}"
            yield Change(names[there], _EPSILON[to], usual, why)
