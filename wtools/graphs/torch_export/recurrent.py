"""SimpleRNN, LSTM, GRU, RNN around a cell of theirs, and Bidirectional.

torch.nn has them with their usual activations, unmasked; all others run step by step (parts.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...layouts import keras, reorder_gates, torch
from ...tree import Tensor
from ..onnx_export.activations import name_of
from ..options import both_ways, directions, serialized, series
from .activations import function
from .call import Call, Result, layer
from .code import Code, Value, Weight, moved

_KINDS = {"SimpleRNN": ("rnn", 1, 1), "LSTM": ("lstm", 4, 2), "GRU": ("gru", 3, 1)}
_CELLS = {"SimpleRNNCell": "SimpleRNN", "LSTMCell": "LSTM", "GRUCell": "GRU"}
_TORCH = {"SimpleRNN": "RNN", "LSTM": "LSTM", "GRU": "GRU"}


@dataclass(frozen=True)
class Cell:
    """One direction. plain: torch.nn has it, `options` are that class's; else those of the steps.

    weights: names as in a one-layer torch.nn module, without `_l0`.
    """

    kind: str
    size: int
    units: int
    bias: bool
    plain: bool
    options: str
    weights: Mapping[str, Weight]

    @property
    def states(self) -> int:
        return _KINDS[self.kind][2]


def cell_of(
    call: Call, kind: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, steps: bool
) -> Cell:
    """The layer `kind` of that config; steps: torch.nn will not do for another reason."""
    if config.get("stateful"):
        raise call.unsupported("stateful=True")
    if config.get("time_major"):
        raise call.unsupported("time_major=True")
    found = {role.rpartition("/")[2]: tensor for role, tensor in tensors.items()}
    if "kernel" not in found or "recurrent_kernel" not in found:
        raise call.unsupported(f"the weights {list(tensors)}")
    size, units = found["kernel"].shape[0], found["recurrent_kernel"].shape[0]
    rows = units * _KINDS[kind][1]
    shapes = found["kernel"].shape[1:], found["recurrent_kernel"].shape[1:]
    if shapes != ((rows,), (rows,)) or ("bias" in found and found["bias"].size % rows):
        raise ValueError(f"weights of {[t.shape for t in found.values()]}")
    bias = found.get("bias") if config.get("use_bias", True) else None
    after = kind != "GRU" or bool(config.get("reset_after", False))
    activation = config.get("activation", "tanh")
    gate = config.get("recurrent_activation", config.get("inner_activation", "sigmoid"))
    usual = name_of(activation) == "tanh" and (kind == "SimpleRNN" or name_of(gate) == "sigmoid")
    relu = kind == "SimpleRNN" and name_of(activation) == "relu"
    plain = (usual or relu) and after and not steps
    weights = _weights(kind, found, bias, units, plain=plain, after=after)
    if plain:
        options = ", nonlinearity='relu'" if relu else ""
    else:
        names = [_function(call, activation)]
        names += [_function(call, gate)] if kind != "SimpleRNN" else []
        options = "".join(f", {name}" for name in names) + ("" if after else ", reset_after=False")
    return Cell(kind, size, units, bias is not None, plain, options, weights)


def _function(call: Call, spec: Any) -> str:
    found = function(spec, call.version)
    if found is None:
        raise call.unsupported(f"the activation {spec!r}")
    return found


def _weights(
    kind: str,
    found: Mapping[str, Tensor],
    bias: Tensor | None,
    units: int,
    *,
    plain: bool,
    after: bool,
) -> dict[str, Weight]:
    name, gates, _ = _KINDS[kind]
    before, behind = keras.LAYOUTS[name].gates, torch.LAYOUTS[name].gates

    def ordered(array: Any) -> Any:
        """(gates * units, ...) in torch's order."""
        apart = array.reshape(gates, units, *array.shape[1:])
        return reorder_gates(apart, 0, before, behind).reshape(array.shape)

    def turned(role: str) -> Any:
        known = {} if kind == "SimpleRNN" else {"g": gates}
        turn = moved(name, role, **known)
        return lambda array: ordered(turn(array))

    rows, what = gates * units, "transposed" + (", gates reordered" if before != behind else "")
    made = {
        "weight_ih": Weight(
            (rows, found["kernel"].shape[0]), (found["kernel"],), turned("kernel"), what
        ),
        "weight_hh": Weight(
            (rows, units), (found["recurrent_kernel"],), turned("recurrent_kernel"), what
        ),
    }
    if bias is None:
        return made
    one = (rows,)
    if kind == "GRU" and after:  # (2, 3 * units)
        said = "split, gates reordered"
        made["bias_ih"] = Weight(one, (bias,), lambda b: ordered(b.reshape(2, -1)[0]), said)
        made["bias_hh"] = Weight(one, (bias,), lambda b: ordered(b.reshape(2, -1)[1]), said)
        return made
    made["bias_ih"] = Weight(one, (bias,), ordered, "gates reordered" if kind == "GRU" else "")
    if plain:
        made["bias_hh"] = Weight(one, (bias,), lambda b: b[:rows] * 0, "zeros: one bias is enough")
    return made


@dataclass(frozen=True)
class Made:
    """What a direction gives: its outputs in the order in which they were made, its states."""

    sequence: Value
    states: tuple[Value, ...]


def one_way(
    call: Call,
    path: str,
    cell: Cell,
    x: Value,
    initial: Sequence[Value],
    *,
    backwards: bool,
    zeros: bool = False,
) -> Made:
    """One direction over (batch, time, features)."""
    b = call.b
    given, mask = str(x), "" if x.mask is None else str(x.mask)
    if backwards:
        given, mask = f"{x}.flip(1)", f"{x.mask}.flip(1)" if mask else ""
    bias = "" if cell.bias else ", bias=False"
    if cell.plain:
        head = f"nn.{_TORCH[cell.kind]}({cell.size}, {cell.units}"
        constructor = f"{head}{cell.options}{bias}, batch_first=True)"
    else:
        part = b.part(f"Step{_TORCH[cell.kind]}")
        constructor = f"{part}({cell.size}, {cell.units}{cell.options}{bias})"
    weights = {f"{name}_l0": weight for name, weight in cell.weights.items()}
    ref = b.module(path, constructor, weights)
    shape = (*x.shape[:2], cell.units)
    sequence = b.new(shape)
    states = [b.new((x.shape[0], cell.units)) for _ in range(cell.states)]
    names = [str(state) for state in states]
    if cell.plain:
        target = f"({', '.join(names)})" if len(names) > 1 else names[0]
        wide = [f"{state}.unsqueeze(0)" for state in initial]
        more = f", ({', '.join(wide)})" if len(wide) > 1 else f", {wide[0]}" if wide else ""
        b.assign(f"{sequence}, {target}", f"{ref}({given}{more})", sequence, *states)
        return Made(sequence, tuple(states))
    more = f", ({', '.join(map(str, initial))},)" if initial else ""
    more += f", mask={mask}" if mask else ""
    more += ", zeros=True" if zeros and mask else ""
    target = f"({', '.join(names)},)"
    b.assign(f"{sequence}, {target}", f"{ref}({given}{more})", sequence, *states)
    return Made(sequence, tuple(states))


def _arguments(call: Call, states: int) -> tuple[Value, list[Value]]:
    """(series, initial states): a list of tensors in Keras 2, arguments in Keras 3."""
    x, mask, initial = series(call, states)
    return replace(call.b.last(x), mask=mask), initial


@layer("SimpleRNN", "LSTM", "GRU")
def recurrent(call: Call) -> Result:
    return _single(call, call.layer.kind, call.layer.config)


@layer("RNN")
def rnn(call: Call) -> Result:
    """A cell of the kinds above, or several, one after the other."""
    kind, config = serialized(call.option("cell"))
    if kind == "StackedRNNCells":
        return _stacked(call, config.get("cells", []))
    if kind not in _CELLS:
        raise call.unsupported(f"the cell {kind}")
    return _single(call, _CELLS[kind], config)


def _stacked(call: Call, layers: Sequence[Any]) -> Result:
    """Each cell takes the outputs of the one before, in the order in which they are made."""
    b, (x, initial) = call.b, _arguments(call, 0)
    if x.mask is not None or initial or call.flag("return_state") or not layers:
        raise call.unsupported("stacked cells with a mask or with states")
    made, way = None, call.flag("go_backwards")
    for kind, config in map(serialized, layers):
        name = str(config.get("name"))
        mine = {r: t for r, t in call.layer.weights.items() if name in r.split("/")}
        if kind not in _CELLS:
            raise call.unsupported(f"the cell {kind}")
        cell = cell_of(call, _CELLS[kind], config, mine, steps=False)
        made = one_way(call, f"{call.layer.path}/{name}", cell, x, [], backwards=way)
        x, way = made.sequence, False
    assert made is not None
    return x if call.flag("return_sequences") else _last(b, made)


def _single(call: Call, kind: str, config: Mapping[str, Any]) -> Result:
    b = call.b
    x, initial = _arguments(call, _KINDS[kind][2])
    if call.layer.config.get("stateful"):
        raise call.unsupported("stateful=True")
    cell = cell_of(call, kind, config, call.layer.weights, steps=x.mask is not None)
    backwards, zeros = call.flag("go_backwards"), call.flag("zero_output_for_mask")
    made = one_way(call, call.layer.path, cell, x, initial, backwards=backwards, zeros=zeros)
    if call.flag("return_sequences"):
        y = replace(made.sequence, mask=x.mask)
    else:
        y = _last(b, made)
    if not call.flag("return_state"):
        return y
    return (y, *_states(b, cell, made))


def _last(b: Code, made: Made) -> Value:
    batch, _, units = made.sequence.shape
    return b.value(f"{made.sequence}[:, -1]", (batch, units))


def _states(b: Code, cell: Cell, made: Made) -> list[Value]:
    if not cell.plain:
        return list(made.states)
    return [b.like(state, f"{state}[0]") for state in made.states]


@layer("Bidirectional")
def bidirectional(call: Call) -> Result:
    """One module for both directions where torch.nn has it, else two."""
    (kind, config), (other_kind, other) = both_ways(call)
    if kind not in _KINDS or other_kind not in _KINDS:
        raise call.unsupported(f"the layer {kind or other_kind}")
    x, initial = _arguments(call, _KINDS[kind][2] + _KINDS[other_kind][2])
    ahead, back = directions(call)
    steps = x.mask is not None
    cells = [
        cell_of(call, kind, config, ahead, steps=steps),
        cell_of(call, other_kind, other, back, steps=steps),
    ]
    whole = bool(config.get("return_sequences"))
    alike = [(c.kind, c.size, c.units, c.bias, c.plain, c.options) for c in cells]
    backwards = [bool(config.get("go_backwards")), bool(other.get("go_backwards"))]
    if cells[0].plain and alike[0] == alike[1] and backwards == [False, True]:
        parts, states = _both(call, cells, x, initial, whole=whole)
    else:
        parts, states = _apart(call, cells, x, initial, backwards, whole=whole)
    outputs = _merged(call, parts, x.mask if whole else None)
    if config.get("return_state"):
        return (*outputs, *states)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _apart(
    call: Call,
    cells: Sequence[Cell],
    x: Value,
    initial: Sequence[Value],
    backwards: Sequence[bool],
    *,
    whole: bool,
) -> tuple[list[Value], list[Value]]:
    b, parts, states = call.b, [], []
    halves = [initial[: cells[0].states], initial[cells[0].states :]]
    names = ("forward", "backward")
    for cell, first, way, name in zip(cells, halves, backwards, names, strict=True):
        path = f"{call.layer.path}/{name}_layer"
        made = one_way(call, path, cell, x, first, backwards=way, zeros=whole)
        parts.append(made.sequence if whole else _last(b, made))
        states += _states(b, cell, made)
    if whole:
        parts[1] = b.like(parts[1], f"{parts[1]}.flip(1)")
    return parts, states


def _both(
    call: Call, cells: Sequence[Cell], x: Value, initial: Sequence[Value], *, whole: bool
) -> tuple[list[Value], list[Value]]:
    """(outputs, states) of the two directions of one module, each in the order of time."""
    b, cell = call.b, cells[0]
    weights = {f"{name}_l0": weight for name, weight in cell.weights.items()}
    weights |= {f"{name}_l0_reverse": weight for name, weight in cells[1].weights.items()}
    bias = "" if cell.bias else ", bias=False"
    head = f"nn.{_TORCH[cell.kind]}({cell.size}, {cell.units}{cell.options}{bias}"
    constructor = f"{head}, batch_first=True, bidirectional=True)"
    ref = b.module(call.layer.path, constructor, weights)
    count = cell.states
    pairs = (
        [f"torch.stack(({initial[i]}, {initial[count + i]}))" for i in range(count)]
        if initial
        else []
    )
    more = f", ({', '.join(pairs)})" if len(pairs) > 1 else f", {pairs[0]}" if pairs else ""
    sequence = b.new((*x.shape[:2], 2 * cell.units))
    ends = [b.new((2, x.shape[0], cell.units)) for _ in range(count)]
    names = ", ".join(map(str, ends))
    target = f"({names})" if count > 1 else names
    b.assign(f"{sequence}, {target}", f"{ref}({x}{more})", sequence, *ends)
    shape = (x.shape[0], cell.units)
    states = []
    if (call.option("layer") or {}).get("config", {}).get("return_state"):
        states = [b.value(f"{end}[{way}]", shape) for way in (0, 1) for end in ends]
    if not whole:
        return [b.value(f"{ends[0]}[{way}]", shape) for way in (0, 1)], states
    if call.layer.config.get("merge_mode", "concat") == "concat":
        return [sequence], states
    one, other = (b.new((*x.shape[:2], cell.units)) for _ in range(2))
    b.assign(f"{one}, {other}", f"{sequence}.chunk(2, -1)", one, other)
    return [one, other], states


def _merged(call: Call, parts: Sequence[Value], mask: Value | None) -> list[Value]:
    b, mode = call.b, call.layer.config.get("merge_mode", "concat")
    if mode is None:
        return [replace(part, mask=mask) for part in parts]
    if len(parts) == 1:
        return [replace(parts[0], mask=mask)]
    one, other = parts
    if mode == "concat":
        size = sum(part.shape[-1] or 0 for part in parts)
        text = f"torch.cat(({one}, {other}), dim=-1)"
        return [b.value(text, (*one.shape[:-1], size), mask=mask)]
    texts = {"sum": f"{one} + {other}", "mul": f"{one} * {other}", "ave": f"({one} + {other}) / 2"}
    if mode not in texts:
        raise call.unsupported(f"merge_mode={mode!r}")
    return [b.like(one, texts[mode], mask=mask)]
