"""TorchScript files, and weights in a module whose Python file the user named, by torch."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import UsageError
from ..extras import need


def load(path: str, module: str) -> Model:
    """The TorchScript model at `path`; or `module` ("/a/model.py:Class") with its weights."""
    torch = need("torch", "running a PyTorch model")
    torch.set_grad_enabled(False)
    if not module:
        return Model(torch, torch.jit.load(path, map_location="cpu").eval())
    file, _, name = module.rpartition(":")
    made = _maker(torch, file, name)()
    made.load_state_dict(_state(torch, path), strict=True)
    return Model(torch, made.eval())


def _maker(torch: Any, file: str, name: str) -> Any:
    """The class or function `name` of the Python file; without a name its only module class.

    Raises UsageError where there is no such, or more than one.
    """
    sys.path.append(os.path.dirname(file))
    spec = importlib.util.spec_from_file_location("wtools_user_module", file)
    if spec is None or spec.loader is None:
        raise UsageError("is no Python file", path=file)
    code = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = code
    spec.loader.exec_module(code)
    if name:
        if not callable(getattr(code, name, None)):
            raise UsageError(f"has no class or function {name!r}", path=file)
        return getattr(code, name)
    classes = {
        key: value
        for key, value in vars(code).items()
        if isinstance(value, type)
        and issubclass(value, torch.nn.Module)
        and value.__module__ == code.__name__
    }
    if "Model" in classes:
        return classes["Model"]
    if len(classes) != 1:
        found = ", ".join(classes) or "none"
        raise UsageError(f"which class? It has {found}: name it as FILE:CLASS", path=file)
    return next(iter(classes.values()))


def _state(torch: Any, path: str) -> dict[str, Any]:
    """The weights: by torch itself where it wrote them, else as wtools reads them."""
    from .. import formats

    with formats.open(path) as tree:
        if tree.format == "pytorch" and not tree.apart:
            found = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(found, dict) and set(found) == set(tree):
                return found
        return {name: torch.from_numpy(t.read(copy=True)) for name, t in tree.items()}


class Model:
    def __init__(self, torch: Any, model: Any) -> None:
        self.torch, self.model = torch, model
        named = {} if _scripted(torch, model) else dict(model.named_modules())
        holders = (torch.nn.Module, torch.nn.ModuleList, torch.nn.ModuleDict)  # never called
        self.layers = {n: m for n, m in named.items() if n and type(m) not in holders}

    def describe(self) -> dict[str, Any]:
        embeddings = [
            layer.num_embeddings
            for layer in self.layers.values()
            if isinstance(layer, self.torch.nn.Embedding)
        ]
        known = getattr(self.model, "INPUTS", ())
        return {
            "version": f"torch {self.torch.__version__}",
            "inputs": [
                {
                    "name": name,
                    "shape": list(known[i][0]) if i < len(known) else None,
                    "dtype": known[i][1] if i < len(known) else "float32",
                    "high": min(embeddings, default=None) if _counts(known, i) else None,
                }
                for i, name in enumerate(self._names())
            ],
            "outputs": [],
            "layers": [
                {"name": name, "kind": type(layer).__name__} for name, layer in self.layers.items()
            ],
        }

    def _names(self) -> list[str]:
        if _scripted(self.torch, self.model):
            given = self.model.forward.schema.arguments[1:]
            return [one.name for one in given if not one.has_default_value()]
        parameters = inspect.signature(self.model.forward).parameters.values()
        return [p.name for p in parameters if p.default is p.empty and p.kind.value < 2]

    def run(self, arrays: Sequence[Any], layers: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
        seen: dict[str, Any] = {}
        hooks = [
            self.layers[name].register_forward_hook(self._watching(name, seen)) for name in layers
        ]
        try:
            made = self.model(*(self.torch.from_numpy(array) for array in arrays))
        finally:
            for hook in hooks:
                hook.remove()
        return [_array(value) for value in self._flat(made)], seen

    def _watching(self, name: str, seen: dict[str, Any]) -> Any:
        def hook(module: Any, given: Any, made: Any) -> None:
            if name in seen:
                return
            outputs = [_array(value) for value in self._flat(made)]
            if isinstance(made, tuple):  # a recurrent layer: (series, last states)
                states = [v for v in self._flat(made[1:]) if v.dim() == 3]
                outputs += [_array(state.transpose(0, 1).flatten(1)) for state in states]
            seen[name] = {
                "output": outputs,
                "input": [_array(value) for value in self._flat(given)],
            }

        return hook

    def _flat(self, value: Any) -> list[Any]:
        if isinstance(value, self.torch.Tensor):
            return [value]
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, (list, tuple)):
            return [tensor for inner in value for tensor in self._flat(inner)]
        return []


def _counts(known: Any, number: int) -> bool:
    """Is that input one of integers?"""
    return number < len(known) and "int" in known[number][1]


def _scripted(torch: Any, model: Any) -> bool:
    return isinstance(model, torch.jit.ScriptModule)


def _array(tensor: Any) -> Any:
    tensor = tensor.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
