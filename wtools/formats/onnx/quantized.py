"""Which scale and zero point belong to a weight, as the operators around it say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ... import dtypes
from .collect import Weight
from .scopes import Scope, Use

_LAST = -1
# op_type -> {input: (input of its scale, of its zero point, axis of a scale per channel)}
_QLINEAR: dict[str, dict[int, tuple[int, int, int]]] = {
    "QLinearConv": {3: (4, 5, 0)},
    "QLinearMatMul": {3: (4, 5, _LAST), 0: (1, 2, -2)},
    "QGemm": {3: (4, 5, _LAST)},
    "DynamicQuantizeMatMul": {1: (2, 3, _LAST)},
    "MatMulIntegerToFloat": {1: (3, 5, _LAST)},
    "DynamicQuantizeLSTM": {1: (8, 9, 0), 2: (10, 11, 0)},
}
# A bias in units of input scale times weight scale: op_type -> {input: (the two scales)}
_BIAS: dict[str, dict[int, tuple[int, int]]] = {
    "QLinearConv": {8: (1, 4)},
    "QGemm": {6: (1, 4)},
}
_INTEGER = {"MatMulInteger": (1, 3, _LAST), "ConvInteger": (1, 3, 0)}  # weight, zero point, axis


@dataclass(frozen=True)
class Scheme:
    """real = (stored - zero) * product of `scales`, per tensor, along `axis`, or per block."""

    scales: tuple[Weight, ...]
    zero: Weight | None = None
    axis: int | None = None
    block_size: int | None = None


def scheme(weight: Weight) -> Scheme | None:
    """How the weight's integers stand for real numbers, or None where nothing says it."""
    dtype = dtypes.get(weight.elements.dtype)
    narrow = dtype.bits <= 16 and dtype.name not in ("bool", "float16", "bfloat16")
    if not (narrow or dtype.name == "int32") or not weight.value:
        return None
    for use in weight.scope.uses.get(weight.value, ()):
        found = _of_use(weight, use, narrow)
        if found is not None:
            return found
    return None


def _of_use(weight: Weight, use: Use, narrow: bool) -> Scheme | None:
    node = use.node
    if node.op_type == "DequantizeLinear" and use.index == 0:
        return _dequantize_linear(weight, use)
    if use.index in _BIAS.get(node.op_type, {}):
        scales = tuple(_input(use, i) for i in _BIAS[node.op_type][use.index])
        known = tuple(scale for scale in scales if scale is not None)
        return _fitted(weight, known, None, 0) if len(known) == 2 else None
    if not narrow:
        return None
    if use.index in _QLINEAR.get(node.op_type, {}):
        scale, zero, axis = _QLINEAR[node.op_type][use.index]
        if node.op_type == "QGemm" and node.attribute("transB", 0):
            axis = 0
        return _fitted(weight, (_input(use, scale),), _input(use, zero), axis)
    if node.op_type in _INTEGER and use.index == _INTEGER[node.op_type][0]:
        _, zero, axis = _INTEGER[node.op_type]
        return _fitted(weight, (_scale_after(use),), _input(use, zero), axis)
    if node.op_type == "Cast":
        return _cast_and_multiply(weight, use)
    return None


def _dequantize_linear(weight: Weight, use: Use) -> Scheme | None:
    axis, block = use.node.attribute("axis", 1), use.node.attribute("block_size", 0)
    scale, zero = _input(use, 1), _input(use, 2)
    if not isinstance(axis, int) or not isinstance(block, int) or scale is None:
        return None
    if block <= 0:
        return _fitted(weight, (scale,), zero, axis)
    shape = weight.elements.shape
    if not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    wanted = tuple(-(-n // block) if i == axis else n for i, n in enumerate(shape))
    if any(part is not None and part.elements.shape != wanted for part in (scale, zero)):
        return None
    return Scheme((scale,), zero, axis, block)


def _cast_and_multiply(weight: Weight, use: Use) -> Scheme | None:
    """Cast, perhaps Sub of a zero point, then Mul by a scale: dequantization written out."""
    zero = None
    for after in _next(use):
        other = _other(after)
        if after.node.op_type == "Sub" and after.index == 0 and other is not None:
            zero = other
            after = next(iter(_next(after)), after)
            other = _other(after)
        if after.node.op_type == "Mul" and other is not None:
            return _fitted(weight, (other,), zero, None)
    return None


def _scale_after(use: Use) -> Weight | None:
    """The weight's scale where an integer product is cast and multiplied afterwards."""
    for cast in _next(use):
        for product in _next(cast) if cast.node.op_type == "Cast" else ():
            if product.node.op_type != "Mul":
                continue
            direct = _other(product)
            if direct is not None:
                return direct
            made = product.scope.producer(product.node.inputs[1 - product.index])
            if made is not None and made[1].op_type == "Mul":
                scope, node = made
                known = [scope.find(name) for name in node.inputs]
                return next((w for w in known if isinstance(w, Weight)), None)
    return None


def _fitted(
    weight: Weight, scales: Sequence[Weight | None], zero: Weight | None, axis: int | None
) -> Scheme | None:
    """The scheme if the scales have a shape that fits: one value, one per channel of `axis`, or
    one that broadcasts (`axis` None: find the one axis it varies along).
    """
    known = tuple(scale for scale in scales if scale is not None)
    if len(known) < len(scales):
        return None
    shape = weight.elements.shape
    wide = [scale.elements.shape for scale in known if _size(scale.elements.shape) != 1]
    wide += [zero.elements.shape] if zero and _size(zero.elements.shape) != 1 else []
    if not wide:
        return Scheme(known, zero)
    if len(set(map(_size, wide))) > 1:
        return None
    if axis is None:
        axis = _varying(wide[0], shape)
    if axis is None or not -len(shape) <= axis < len(shape):
        return None
    axis %= len(shape)
    return Scheme(known, zero, axis) if _size(wide[0]) == shape[axis] else None


def _varying(shape: tuple[int, ...], target: tuple[int, ...]) -> int | None:
    """The one axis of `target` along which an array of `shape` broadcast to it varies."""
    if len(shape) > len(target):
        return None
    start = len(target) - len(shape)
    axes = [start + i for i, n in enumerate(shape) if n != 1]
    return axes[0] if len(axes) == 1 else None


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _next(use: Use) -> Iterator[Use]:
    for name in use.node.outputs[:1]:
        yield from use.scope.uses.get(name, ())


def _other(use: Use) -> Weight | None:
    """The constant that is the other input of a node with two."""
    return _input(use, 1 - use.index) if len(use.node.inputs) == 2 else None


def _input(use: Use, index: int) -> Weight | None:
    names = use.node.inputs
    return _constant(use.scope, names[index]) if index < len(names) and names[index] else None


def _constant(scope: Scope, name: str) -> Weight | None:
    found = scope.find(name)
    return found if isinstance(found, Weight) else None
