"""A linear estimator in operators of ai.onnx, computed in float32 as onnxruntime's users expect.

Inputs and outputs are called and shaped as skl2onnx (without its ZipMap) does: X (batch, features);
of a regressor `variable` (batch, outputs); of a classifier `label` (batch,) and `probabilities`
(batch, classes), or, where scikit-learn has no probabilities, `scores`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...estimators.described import Estimator
from ...tree import Tensor
from ..onnx_export import Exported, Port
from ..onnx_export.builder import LITERAL, Builder, Operation
from .linear import Linear, Scaler, linear


def export(estimator: Estimator) -> Exported:
    """The estimator as an ONNX graph. Raises UnsupportedError and CorruptError as `linear`."""
    model = linear(estimator)
    builder = Builder()
    given = value = builder.name("X")
    for scaler in model.scalers:
        builder.scope = scaler.path
        value = _scaled(builder, scaler, value)
    builder.scope = model.path or model.kind
    scores = _scores(builder, model, value)
    outputs = _prediction(builder, model, scores)
    return Exported(
        model.kind,
        (Port(given, (None, model.features), "float32"),),
        tuple(outputs),
        tuple(builder.operations),
        builder.weights,
        builder.origins,
        builder.changes,
        tuple(builder.notes),
    )


def _scaled(builder: Builder, scaler: Scaler, value: str) -> str:
    steps = (
        ("Sub", scaler.shift),
        ("Div", scaler.divisor),
        ("Mul", scaler.factor),
        ("Add", scaler.offset),
    )
    for op, tensor in steps:
        if tensor is not None:
            value = builder.node(op, value, builder.weight(tensor))
    if scaler.clip is not None:
        value = builder.node("Clip", value, *map(builder.number, scaler.clip))
    return value


def _scores(builder: Builder, model: Linear, value: str) -> str:
    """(batch, outputs)."""
    inputs = [value, builder.weight(model.kernel, (model.outputs, model.features))]
    if isinstance(model.bias, Tensor):
        inputs.append(builder.weight(model.bias, (model.outputs,)))
    elif model.bias:
        inputs.append(builder.array("intercept_", [model.bias] * model.outputs))
    return builder.node("Gemm", *inputs, transB=1)


def _prediction(builder: Builder, model: Linear, scores: str) -> list[Port]:
    if model.classes is None:
        made = builder.node("Exp", scores) if model.link == "exp" else scores
        return [_output(builder, "variable", made, (None, model.outputs), "float32")]
    label, dtype = _label(builder, model.classes, scores)
    ports = [_output(builder, "label", label, (None,), dtype)]
    if model.link == "decision":
        ports.append(_output(builder, "scores", scores, (None, model.outputs), "float32"))
    else:
        made = _probabilities(builder, model, scores)
        shape = (None, len(model.classes))
        ports.append(_output(builder, "probabilities", made, shape, "float32"))
    return ports


def _output(
    builder: Builder, name: str, value: str, shape: tuple[int | None, ...], dtype: str
) -> Port:
    name = builder.name(name)
    builder.operations.append(Operation("Identity", f"{name}/Identity", (value,), (name,)))
    return Port(name, shape, dtype)


def _label(builder: Builder, classes: tuple[Any, ...], scores: str) -> tuple[str, str]:
    """(the class of each row, its dtype): the one of the highest score, of two the second where
    the score is positive."""
    if len(classes) == 2:
        positive = builder.node("Greater", scores, builder.number(0.0))
        flat = builder.node("Reshape", positive, builder.constant([-1]))
        index = builder.node("Cast", flat, to=7)
    else:
        index = builder.node("ArgMax", scores, axis=1, keepdims=0)
    if list(classes) == list(range(len(classes))) and type(classes[0]) is int:
        return index, "int64"
    table, dtype = _table(builder, classes)
    return builder.node("Gather", table, index, axis=0), dtype


def _table(builder: Builder, classes: tuple[Any, ...]) -> tuple[str, str]:
    """The classes: a constant of the graph, or a tensor beside the weights where wtools' reader
    would take the constant for one: of floats, of many integers."""
    if type(classes[0]) is float:
        return builder.array("classes", classes), "float32"
    if type(classes[0]) is int and len(classes) > LITERAL:
        return builder.array("classes", classes, np.int64), "int64"
    name = builder.name(f"{builder.scope}/classes")
    values: dict[type, tuple[str, Any, str]] = {
        bool: ("value", np.array(classes), "bool"),
        int: ("value_ints", list(classes), "int64"),
        str: ("value_strings", list(classes), "string"),
    }
    key, value, dtype = values[type(classes[0])]
    builder.operations.append(Operation("Constant", name, (), (name,), {key: value}))
    return name, dtype


def _probabilities(builder: Builder, model: Linear, scores: str) -> str:
    """(batch, classes)."""
    node, number = builder.node, builder.number
    if model.link == "softmax":
        return node("Softmax", scores, axis=1)
    if model.link == "one-vs-rest":
        # sigmoids over their sum: the softmax of their logarithms, which cannot underflow
        logs = node("Neg", node("Softplus", node("Neg", scores)))
        return node("Softmax", logs, axis=1)
    if model.link == "modified_huber":
        cut = node("Clip", scores, number(-1.0), number(1.0))
        one = node("Div", node("Add", cut, number(1.0)), number(2.0))
    else:
        doubled = node("Mul", scores, number(2.0)) if model.link == "sigmoid2" else scores
        one = node("Sigmoid", doubled)
    if model.outputs == 1:
        return node("Concat", node("Sub", number(1.0), one), one, axis=1)
    total = node("ReduceSum", one, builder.constant([1]), keepdims=1)
    none = node("Equal", total, number(0.0))  # of no class: of all alike
    share = number(1.0 / model.outputs)
    return node("Where", none, share, node("Div", one, total))
