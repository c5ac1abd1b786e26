"""Which layers of a Keras model take a flattened image, and of what shape.

Keras flattens an image channels last, torch channels first: the weights of a dense layer after
it, and of a norm between the two, lie in another order. A sequence (of a recurrent layer, of
embeddings) is flattened alike in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..errors import WtoolsError
from ..tree import WeightTree
from .calls import given, input_dtype, input_shape, made
from .ir import Graph, Node, Ref
from .keras_config import graph
from .torch_export import families
from .torch_export.call import TABLE, Call
from .torch_export.code import Code, Value

_THROUGH = frozenset({"BatchNormalization"})  # takes the image's order on, and has weights itself


def flattened(tree: WeightTree) -> dict[str, tuple[int, ...]]:
    """Path of a layer -> the shape, channels last, of the image that is flattened before it; ()
    where there is none, or none whose order would differ.

    Without layers that take images of several shapes. Empty for a file without a config; layers
    that wtools does not know hide what comes after them. Reads headers alone.
    """
    try:
        model = graph(tree)
    except WtoolsError:
        return {}
    found: dict[str, set[tuple[int, ...]]] = {}
    for path, image in _flat(model):
        found.setdefault(path, set()).add(image)
    alone = {path: images.pop() for path, images in found.items() if len(images) == 1}
    return {path: image if math.prod(image[:-1]) > 1 else () for path, image in alone.items()}


def _flat(model: Graph) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(layer, image) for each call of a layer with weights; () where it is no image."""
    families()
    code = Code()
    values: dict[Ref, Value] = {}
    images: dict[Ref, tuple[int, ...]] = {}
    for number, node in enumerate(model.nodes):
        refs = list(node.refs())
        image = images.get(refs[0], ()) if len(refs) == 1 else ()
        if node.layer.kind in ("Dense", *_THROUGH) and all(ref in values for ref in refs):
            yield node.layer.path, image
        for output, value in enumerate(_called(code, node, values, model.version)):
            here = Ref(number, output)
            values[here] = value
            passed = (
                image if node.layer.kind in _THROUGH or _same(node, values, refs, value) else ()
            )
            images[here] = value.flat or passed


def _called(code: Code, node: Node, values: dict[Ref, Value], version: int) -> tuple[Value, ...]:
    """What a layer makes; nothing where that cannot be told."""
    code.scope = node.layer.path or node.layer.kind
    try:
        if node.layer.kind == "InputLayer":
            return (code.new(input_shape(node.layer), input_dtype(node.layer)),)
        args, kwargs = given(node.args, values), given(dict(node.kwargs), values)
        return made(Call(code, node.layer, args, kwargs, version, True), TABLE)
    except WtoolsError:
        return ()


def _same(node: Node, values: dict[Ref, Value], refs: list[Ref], value: Value) -> bool:
    """Is it a layer without weights that leaves every element where it is?"""
    known = len(refs) == 1 and refs[0] in values and not node.layer.weights
    return known and node.layer.kind in _POINTWISE and values[refs[0]].shape == value.shape


_POINTWISE = frozenset(
    {
        *("Dropout", "Activation", "ReLU", "LeakyReLU", "ELU", "ThresholdedReLU", "Identity"),
        *("GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization"),
    }
)
