"""A Keras file as a PyTorch module: its source, and the weights that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CorruptError, UnsupportedError
from ..estimators.described import of_tree
from ..extras import need
from ..tree import WeightTree
from .ir import Layer
from .keras_config import graph
from .sklearn_export.torch import export as sklearn_export
from .torch_export import CLASS, export
from .values import left_out


@dataclass(frozen=True)
class TorchModel:
    """A module, not yet written.

    source: the file that defines `Model`. tree: what its load_state_dict takes, named and laid
    out as in torch, read on demand. origins, changes: name there -> the source's tensor, what
    was done to it. notes: what the module leaves out.
    """

    source: str
    tree: WeightTree
    origins: Mapping[str, str]
    changes: Mapping[str, str]
    notes: tuple[str, ...]


def to_torch(tree: WeightTree) -> TorchModel:
    """The whole model of a Keras file, or an estimator of scikit-learn, as the source of a PyTorch
    module and a state dict.

    Reads headers alone. Raises UnsupportedError for what cannot be written, the layer and its
    config named; CorruptError where the file contradicts itself.
    """
    estimator = of_tree(tree)
    layers: list[Layer] = []
    try:
        if estimator is None:
            model = graph(tree)
            layers = [node.layer for node in model.nodes]
        exported = export(model) if estimator is None else sklearn_export(estimator)
    except (CorruptError, UnsupportedError) as error:
        error.path = error.path or tree.path or None
        raise
    made = tree.replace(
        exported.weights.values(),
        separator=".",
        convention="torch",
        architecture=None,
        apart={},
        metadata={},
    )
    notes = left_out(tree, exported.origins.values(), "module", layers)
    return TorchModel(exported.source, made, exported.origins, exported.changes, tuple(notes))


def torch_module(tree: WeightTree) -> Any:
    """The model of an open Keras file, or of an estimator of scikit-learn (`from_estimator`, a
    .skops file), as a live `torch.nn.Module` in eval mode, weights loaded.

    Images stay channels-last at its ends. What is executed is source that wtools has just written
    from names and numbers (see `to_torch`), nothing of the file. Raises what `to_torch` raises,
    and MissingExtraError without torch.
    """
    torch = need("torch", "torch_module")
    made = to_torch(tree)
    names: dict[str, Any] = {"__name__": "wtools_model"}
    exec(compile(made.source, "<model written by wtools>", "exec"), names)
    module = names[CLASS]()
    state = {name: torch.from_numpy(t.read(copy=True)) for name, t in made.tree.items()}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise CorruptError(
            f"its weights are not those that its config asks for: {error}", path=tree.path or None
        ) from error
    return module.eval()
