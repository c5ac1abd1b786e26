"""Options of layers as Keras means them, whatever a model is exported to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..tree import Tensor
from .calls import LayerCall
from .shapes import axes_of, numbers, product, same, valid
from .values import Dim, Laid, Shape

AnyCall = LayerCall[Any, Any]
V = TypeVar("V", bound=Laid)


def option_axes(call: AnyCall, x: Laid, default: Any = -1) -> list[int]:
    """The option `axis` of a normalisation, as positive numbers."""
    axes = call.option("axis", default)
    axes = list(axes) if isinstance(axes, (list, tuple)) else [axes]
    if not all(type(axis) is int for axis in axes):
        raise call.unsupported(f"axis={axes!r}")
    return axes_of(axes, x.rank)


def spatial(call: AnyCall, x: Laid) -> list[int]:
    """The image's axes in Keras' order."""
    return list(range(2, x.rank)) if call.channels_first else list(range(1, x.rank - 1))


def sides(call: AnyCall, option: str, count: int) -> list[tuple[int, int]]:
    """(before, after) for each axis: one number for all, one an axis, or two an axis."""
    value = call.option(option)
    if isinstance(value, int):
        return [(value, value)] * count
    if count == 1 and isinstance(value, (list, tuple)) and len(value) == 2:
        value = [value]
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise call.unsupported(f"{option}={value!r}")
    pairs = [one if isinstance(one, (list, tuple)) else (one, one) for one in value]
    return [(int(before), int(after)) for before, after in pairs]


def window(
    call: AnyCall, sizes: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int]
) -> tuple[list[tuple[int, int]] | None, list[Dim]]:
    """(what is added before and after each axis, output sizes) of a window moved over axes.

    kernel: the extents, dilation included. None in place of the pads: they depend on a size that
    is not known.
    """
    padding = call.text("padding", "valid").lower()
    if padding == "causal" and len(kernel) == 1:
        ahead, size = kernel[0] - 1, sizes[0]
        longer = None if size is None else size + ahead
        return [(ahead, 0)], [valid(longer, kernel[0], strides[0])]
    if padding not in ("valid", "same"):
        raise call.unsupported(f"padding={padding!r}")
    axes = list(zip(sizes, kernel, strides, strict=True))
    if padding == "valid":
        return [(0, 0)] * len(axes), [valid(*axis) for axis in axes]
    out = [None if n is None else -(-n // s) for n, _, s in axes]
    pads = [same(*axis) for axis in axes]
    known = [pad for pad in pads if pad is not None]
    return (known if len(known) == len(pads) else None), out


def target_shape(call: AnyCall, x: Laid) -> list[Dim]:
    """The option of a Reshape, its -1 worked out where the input's size is known."""
    wanted = call.option("target_shape")
    if not numbers(wanted):
        raise call.unsupported(f"target_shape={wanted!r}")
    size = product(x.shape[1:])
    rest = math.prod(n for n in wanted if n != -1)
    return [n if n != -1 else (None if size is None or not rest else size // rest) for n in wanted]


def dot_axes(call: AnyCall) -> list[int]:
    """The option `axes` of a Dot: one axis of each of its two inputs."""
    axes = call.option("axes", -1)
    pair = [axes, axes] if isinstance(axes, int) else list(axes)
    if len(pair) != 2 or not all(type(axis) is int for axis in pair):
        raise call.unsupported(f"axes={axes!r}")
    return pair


def einsum_equation(call: AnyCall, x: Laid, kernel: Tensor) -> tuple[str, Shape]:
    """(the equation of an EinsumDense with its ellipsis written out, the shape)."""
    equation = call.text("equation").replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    left, comma, right = inputs.partition(",")
    if not (arrow and comma):
        raise call.unsupported(f"equation={equation!r}")
    letters = "".join(c for c in "zyxwvutsrqponmlkjihgfedcba" if c not in equation)
    hidden = letters[: x.rank - len(left.replace("...", ""))]
    left, output = left.replace("...", hidden), output.replace("...", hidden)
    sizes: dict[str, Any] = {**dict(zip(right, kernel.shape, strict=True))}
    sizes |= dict(zip(left, x.shape, strict=True))
    return f"{left},{right}->{output}", tuple(sizes[letter] for letter in output)


def attention_heads(call: AnyCall) -> tuple[int, int, int]:
    """(query heads, key and value heads, the size of each)."""
    if call.layer.kind == "MultiHeadAttention":
        heads = call.integer("num_heads")
        return heads, heads, call.integer("key_dim")
    heads = call.integer("num_query_heads")
    return heads, call.integer("num_key_value_heads"), call.integer("head_dim")


def attention_inputs(call: AnyCall, last: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    """(query, value, key or None) of a MultiHeadAttention whose options can be exported."""
    query, value = last(call.argument(0, "query")), last(call.argument(1, "value", call.only))
    key = call.argument(2, "key")
    if query.rank != 3 or value.rank != 3:
        raise call.unsupported(f"{query.rank} axes")
    axes = call.option("attention_axes", [1])
    if list(axes if isinstance(axes, (list, tuple)) else [axes]) not in ([1], [-2]):
        raise call.unsupported(f"attention_axes={axes!r}")
    for option in ("use_gate", "sliding_window"):
        if call.option(option):
            raise call.unsupported(f"{option}={call.option(option)!r}")
    return query, value, None if key is None else last(key)


def serialized(value: Any) -> tuple[str, Mapping[str, Any]]:
    """(class, config) of a layer in another's config; nothing where there is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("config"), Mapping):
        return "", {}
    return str(value.get("class_name")).rpartition(">")[2], value["config"]


def both_ways(call: AnyCall) -> list[tuple[str, Mapping[str, Any]]]:
    """(class, config) of the two layers of a Bidirectional, forwards first."""
    kind, config = serialized(call.option("layer"))
    other_kind, other = serialized(call.layer.config.get("backward_layer"))
    if not other_kind:
        other_kind, other = kind, {**config, "go_backwards": not config.get("go_backwards")}
    return [(kind, config), (other_kind, other)]


def directions(call: AnyCall) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of the two layers, by the first part of their role."""
    heads = list(dict.fromkeys(role.partition("/")[0] for role in call.layer.weights))
    if len(heads) != 2:
        raise call.unsupported(f"the weights {list(call.layer.weights)}")
    backward = next((head for head in heads if head.startswith("backward")), heads[1])
    ahead: dict[str, Tensor] = {}
    back: dict[str, Tensor] = {}
    for role, tensor in call.layer.weights.items():
        (back if role.partition("/")[0] == backward else ahead)[role] = tensor
    return ahead, back


def series(call: LayerCall[Any, V], states: int) -> tuple[V, V | None, list[V]]:
    """(series, mask, initial states) that a recurrent layer is called with: a list of tensors in
    Keras 2, arguments in Keras 3."""
    given = call.args[0] if call.args else None
    more = call.argument(1, "initial_state", [])
    x, *initial = call.inputs if isinstance(given, (list, tuple)) else [call.x]
    initial = initial or (list(more) if isinstance(more, (list, tuple)) else [more])
    if len(initial) not in (0, states) or not all(isinstance(v, call.VALUE) for v in initial):
        raise call.unsupported(f"{len(initial)} initial states")
    return x, call.argument(2, "mask", x.mask), initial


def pool_window(call: AnyCall, count: int) -> tuple[list[int], list[int]]:
    """(extents, strides) of a pooling; Keras 1 has another name for the extent of a series."""
    option = "pool_length" if "pool_length" in call.layer.config else "pool_size"
    extents = call.integers(option, count, 2)
    return extents, extents if call.option("strides") is None else call.integers("strides", count)


def config_array(call: AnyCall, option: str) -> Any:
    """An array, or a number, written out in the config. Raises UnsupportedError for none."""
    value = call.option(option)
    if isinstance(value, Mapping):
        config = value.get("config")
        value = config.get("value") if isinstance(config, Mapping) else None
    array = np.asarray(value, np.float32) if value is not None else np.zeros(0, np.float32)
    if not array.size:
        raise call.unsupported(f"neither a {option} in its weights nor one in its config")
    return array


def normalization(call: AnyCall, x: Laid) -> tuple[list[Tensor], list[int]]:
    """(mean and variance, the shape that broadcasts against x) of a Normalization."""
    axes = [] if call.layer.config.get("axis", -1) is None else option_axes(call, x)
    sizes = [x.shape[i] if i in axes else 1 for i in range(x.rank)]
    shape = [n for n in sizes if n is not None]
    if len(shape) < x.rank:
        raise call.unsupported(f"axis={axes!r} of unknown size")
    if call.optional("mean") is not None:
        return [call.weight("mean"), call.weight("variance")], shape
    made = [Tensor.of(name, config_array(call, name)) for name in ("mean", "variance")]
    return made, shape


def only_weight(call: AnyCall) -> Tensor:
    """The vector of a layer that has nothing else."""
    weights = list(call.layer.weights.values())
    if len(weights) != 1 or weights[0].ndim != 1:
        raise call.unsupported(f"the weights {list(call.layer.weights)}")
    return weights[0]


def paddings(call: AnyCall, x: Laid) -> dict[int, tuple[int, int]]:
    """How many zeros a ZeroPadding adds before and after each axis of the image."""
    axes = spatial(call, x)
    return dict(zip(axes, sides(call, "padding", len(axes)), strict=True))


def croppings(call: AnyCall, x: Laid) -> dict[int, slice]:
    """What a Cropping leaves of each axis of the image."""
    axes = spatial(call, x)
    around = sides(call, "cropping", len(axes))
    pairs = zip(axes, around, strict=True)
    return {axis: slice(a or None, -z if z else None) for axis, (a, z) in pairs}


def upsampled(call: AnyCall, x: Laid) -> tuple[dict[int, int], Shape]:
    """(axis of the image -> factor, the shape)."""
    axes = spatial(call, x)
    factors = dict(zip(axes, call.integers("size", len(axes), 2), strict=True))
    sizes = enumerate(x.shape)
    return factors, tuple(None if n is None else n * factors.get(i, 1) for i, n in sizes)


def resized(call: AnyCall, x: Laid) -> tuple[str, tuple[int, int], Shape]:
    """(interpolation, (height, width), the shape) of a Resizing."""
    for option in ("crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"):
        if call.flag(option):
            raise call.unsupported(f"{option}=True")
    mode = call.text("interpolation", "bilinear")
    if mode not in ("nearest", "bilinear") or x.rank != 4:
        raise call.unsupported(f"interpolation={mode!r}")
    shape = list(x.shape)
    high, wide = spatial(call, x)
    size = call.integer("height"), call.integer("width")
    shape[high], shape[wide] = size
    return mode, size, tuple(shape)
