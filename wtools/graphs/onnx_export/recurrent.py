"""SimpleRNN, LSTM, GRU, RNN around their cells, and Bidirectional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..options import both_ways, directions, serialized
from ..options import series as series_of
from ..values import Dim
from .builder import Builder, Value
from .call import Call, Result, layer
from .cells import OPERATORS, Cell, attributes, cell_of, weights
from .masks import compacted, flipped, mask_of, spread, steps

_CELLS = {"SimpleRNNCell": "SimpleRNN", "LSTMCell": "LSTM", "GRUCell": "GRU"}


@dataclass(frozen=True)
class Series:
    """What a direction gives: sequence (batch, time, units), in the order in which it was made
    unless `timed`; last (batch, units); its states."""

    sequence: str
    last: str
    states: tuple[str, ...]


def series(
    b: Builder,
    cells: Sequence[Cell],
    x: str,
    initial: Sequence[Sequence[str]],
    *,
    direction: str = "forward",
    lengths: str = "",
) -> tuple[str, list[str]]:
    """A node over x (batch, time, features): (Y as (time, directions, batch, units), last states
    as (directions, batch, units))."""
    given = [*weights(b, cells), lengths]
    for one in range(cells[0].states if initial else 0):
        wide = [b.node("Unsqueeze", states[one], b.constant([0])) for states in initial]
        given.append(wide[0] if len(wide) == 1 else b.node("Concat", *wide, axis=0))
    while not given[-1]:
        given.pop()
    timed = b.node("Transpose", x, perm=[1, 0, 2])
    outputs = 1 + cells[0].states
    way = None if direction == "forward" else direction
    op = OPERATORS[cells[0].kind]
    made = b.nodes(op, [timed, *given], outputs, direction=way, **attributes(cells))
    return made[0], made[1:]


def one_way(
    call: Call,
    cell: Cell,
    x: Value,
    initial: Sequence[str],
    *,
    backwards: bool,
    zeros: bool,
) -> Series:
    """One direction, backwards or not, over the steps that count."""
    b = call.b
    mask = mask_of(x)
    states = [list(initial)] if initial else []
    if mask is None:
        way = "reverse" if backwards else "forward"
        y, last = series(b, [cell], x.name, states, direction=way)
        sequence = b.node("Squeeze", y, b.constant([1]))
        sequence = b.node("Transpose", sequence, perm=[1, 0, 2])
        if backwards:
            sequence = flipped(b, sequence)
        ends = [b.node("Squeeze", end, b.constant([0])) for end in last]
        return Series(sequence, ends[0], tuple(ends))
    name = x.name
    if backwards:
        name, mask = flipped(b, name), flipped(b, mask)
    counted = steps(b, mask)
    y, last = series(b, [cell], compacted(b, name, counted), states, lengths=counted.lengths)
    sequence = b.node("Squeeze", y, b.constant([1]))
    sequence = b.node("Transpose", sequence, perm=[1, 0, 2])
    sequence = spread(b, sequence, counted, zeros=zeros)
    ends = [b.node("Squeeze", end, b.constant([0])) for end in last]
    output = ends[0]
    if zeros or initial:  # the last output need not be the last state
        output = b.node("Gather", sequence, b.constant(-1), axis=1)
    return Series(sequence, output, tuple(ends))


def _checked(call: Call, config: Mapping[str, Any]) -> None:
    if config.get("stateful"):
        raise call.unsupported("stateful=True")
    if config.get("time_major"):
        raise call.unsupported("time_major=True")


def _arguments(call: Call, states: int) -> tuple[Value, list[Value]]:
    """(series, initial states): a list of tensors in Keras 2, arguments in Keras 3."""
    x, mask, initial = series_of(call, states)
    if isinstance(mask, Value):
        x = replace(x, mask=mask)
    return replace(call.b.last(x), mask=x.mask), initial


def _outputs(
    call: Call, config: Mapping[str, Any], x: Value, made: Series, cells: Sequence[Cell]
) -> Result:
    time: Dim = x.shape[1]
    units = cells[-1].units
    if config.get("return_sequences"):
        y = Value(made.sequence, (x.shape[0], time, units), mask=x.mask)
    else:
        y = Value(made.last, (x.shape[0], units))
    if not config.get("return_state"):
        return y
    sizes = [cell.units for cell in cells for _ in range(cell.states)]
    ends = zip(made.states, sizes, strict=True)
    return (y, *(Value(state, (x.shape[0], size)) for state, size in ends))


@layer("SimpleRNN", "LSTM", "GRU")
def recurrent(call: Call) -> Result:
    config = call.layer.config
    _checked(call, config)
    cell = cell_of(call, call.layer.kind, config, call.layer.weights)
    x, initial = _arguments(call, cell.states)
    made = one_way(
        call,
        cell,
        x,
        [state.name for state in initial],
        backwards=call.flag("go_backwards"),
        zeros=call.flag("zero_output_for_mask"),
    )
    return _outputs(call, config, x, made, [cell])


@layer("RNN")
def rnn(call: Call) -> Result:
    """A cell, or cells one after the other, of the kinds above."""
    config = call.layer.config
    _checked(call, config)
    cells = _cells(call)
    x, initial = _arguments(call, sum(cell.states for cell in cells))
    if x.mask is not None and len(cells) > 1:
        raise call.unsupported("a mask over stacked cells")
    states: list[str] = []
    names = [state.name for state in initial]
    backwards = call.flag("go_backwards")
    zeros = call.flag("zero_output_for_mask")
    made = None
    for cell in cells:
        mine, names = names[: cell.states], names[cell.states :]
        made = one_way(call, cell, x, mine, backwards=backwards, zeros=zeros)
        x = replace(x, name=made.sequence, shape=(*x.shape[:2], cell.units))
        states += made.states
        backwards = False  # what follows takes the outputs in the order in which they are made
    assert made is not None
    return _outputs(call, config, x, replace(made, states=tuple(states)), cells)


def _cells(call: Call) -> list[Cell]:
    cell = call.option("cell")
    kind, config = serialized(cell)
    listed = [cell]
    if kind == "StackedRNNCells":
        listed = config.get("cells", [])
    found = []
    names = [str(serialized(one)[1].get("name", "")) for one in listed]
    for one, name in zip(listed, names, strict=True):
        kind, config = serialized(one)
        if kind not in _CELLS:
            raise call.unsupported(f"the cell {kind}")
        mine = {
            role: tensor
            for role, tensor in call.layer.weights.items()
            if len(listed) == 1 or name in role.split("/")
        }
        found.append(cell_of(call, _CELLS[kind], config, mine))
    if not found:
        raise call.unsupported("no cells")
    return found


@layer("Bidirectional")
def bidirectional(call: Call) -> Result:
    """One node for both directions where nothing is masked and the two are alike."""
    b = call.b
    (kind, config), (other_kind, other) = both_ways(call)
    if kind not in OPERATORS:
        raise call.unsupported(f"the layer {kind}")
    _checked(call, config)
    if other_kind not in OPERATORS:
        raise call.unsupported(f"the backward layer {other_kind}")
    ahead, back = directions(call)
    cells = [cell_of(call, kind, config, ahead), cell_of(call, other_kind, other, back)]
    x, initial = _arguments(call, sum(cell.states for cell in cells))
    mode = call.layer.config.get("merge_mode", "concat")
    names = [state.name for state in initial]
    initials = [names[: cells[0].states], names[cells[0].states :]]
    whole = bool(config.get("return_sequences"))
    if x.mask is None and cells[0].alike(cells[1]) and not config.get("go_backwards"):
        parts, states = _both(b, cells, x, initials if names else [], whole=whole)
    else:
        parts, states = [], []
        for cell, options, first in zip(cells, (config, other), initials, strict=True):
            way = bool(options.get("go_backwards"))
            made = one_way(call, cell, x, first, backwards=way, zeros=whole)
            parts.append(made.sequence if whole else made.last)
            states += made.states
        if whole:
            parts[1] = flipped(b, parts[1])
    outputs = _merged(call, mode, parts, x, [cell.units for cell in cells], whole=whole)
    if config.get("return_state"):
        units = [cell.units for cell in cells for _ in range(cell.states)]
        ends = [Value(s, (x.shape[0], u)) for s, u in zip(states, units, strict=True)]
        return (*outputs, *ends)
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _both(
    b: Builder, cells: Sequence[Cell], x: Value, initial: Sequence[Sequence[str]], *, whole: bool
) -> tuple[list[str], list[str]]:
    """(outputs, states) of the two directions in one node, each in the order of time."""
    y, last = series(b, cells, x.name, initial, direction="bidirectional")
    ends = [
        [b.node("Squeeze", half, b.constant([0])) for half in _halves(b, state, 0)]
        for state in last
    ]
    states = [end[way] for way in (0, 1) for end in ends]
    if not whole:
        return [ends[0][0], ends[0][1]], states
    parts = []
    for half in _halves(b, y, 1):
        flat = b.node("Squeeze", half, b.constant([1]))
        parts.append(b.node("Transpose", flat, perm=[1, 0, 2]))
    return parts, states


def _halves(b: Builder, name: str, axis: int) -> list[str]:
    return b.nodes("Split", [name], 2, axis=axis, num_outputs=2)


_MERGES = {"sum": "Add", "mul": "Mul", "ave": "Mean"}


def _merged(
    call: Call, mode: Any, parts: Sequence[str], x: Value, units: Sequence[int], *, whole: bool
) -> list[Value]:
    b = call.b
    shape: tuple[Dim, ...] = (x.shape[0], x.shape[1]) if whole else (x.shape[0],)
    mask = x.mask if whole else None
    if mode is None:
        return [Value(p, (*shape, u), mask=mask) for p, u in zip(parts, units, strict=True)]
    if mode == "concat":
        name = b.node("Concat", *parts, axis=len(shape))
        return [Value(name, (*shape, sum(units)), mask=mask)]
    if mode not in _MERGES:
        raise call.unsupported(f"merge_mode={mode!r}")
    return [Value(b.node(_MERGES[mode], *parts), (*shape, units[0]), mask=mask)]
