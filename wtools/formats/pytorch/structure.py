"""Walking what a pickle holds: which containers hold tensors, and under which names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ...errors import UnsafeError
from .values import ArrayValue, Global, Object, StorageValue, TensorValue

DEEPEST = 100  # containers inside each other on the way to a tensor
_NAMES_FLOOR, _NAMES = 20_000, 4  # how many names a file's tensors may have, times their number

Value = TensorValue | ArrayValue


@dataclass(frozen=True)
class Entry:
    """A tensor under its name, with what the module around it says."""

    name: str
    value: Value
    layer: str = ""
    kind: str = ""
    trainable: bool | None = None


def leaf(value: Any) -> Value | None:
    """`value` as a tensor, if it is one by itself."""
    if isinstance(value, TensorValue):
        return None if value.layout == "wrapper" and value.wrapper else value
    if isinstance(value, StorageValue):  # torch.save of a bare storage
        return TensorValue(
            storage=value,
            size=(value.numel,),
            stride=(1,),
            dtype=value.dtype or "uint8",
            device=value.location,
        )
    return value if isinstance(value, ArrayValue) else None


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """The named parts of a container; nothing for anything else."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield text(key), child
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield str(index), child
    elif isinstance(value, TensorValue):
        yield from children(value.wrapper)
    elif isinstance(value, Object):
        yield from children(value.attributes or value.state)
        for key, child in value.pairs:
            yield text(key), child
        yield from children(value.items)
        if not value.state:
            yield from children(value.args)


def _below(value: Any) -> Iterable[Any]:
    """As `children`, without the names."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, Object):
        return (child for _, child in children(value))
    return value.wrapper.values() if isinstance(value, TensorValue) else ()


def _several(ids: Any) -> Iterable[int]:
    return (ids,) if isinstance(ids, int) else ids


def text(key: Any) -> str:
    """A dict's key as a part of a name."""
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("utf-8", "replace")
    if isinstance(key, int) and abs(key) < 1 << 64:
        return str(key)
    return str(key)[:80] if isinstance(key, float | Global | None) else type(key).__name__


def is_module(value: Any) -> bool:
    """Is it a pickled nn.Module (torch/nn/modules/module.py, `__getstate__`)?"""
    return isinstance(value, Object) and all(
        isinstance(value.attributes.get(name), dict) for name in ("_parameters", "_modules")
    )


def is_script(value: Any) -> bool:
    """Is it an object of TorchScript, whose class is in the archive's own code?"""
    return (
        isinstance(value, Object)
        and isinstance(value.constructor, Global)
        and value.constructor.module.partition(".")[0] == "__torch__"
    )


def is_optimizer(value: Any) -> bool:
    """Has it the two parts of every torch.optim state dict?"""
    parts = value.attributes if isinstance(value, Object) else value
    return isinstance(parts, dict) and "param_groups" in parts and "state" in parts


@dataclass
class Structure:
    """One pickle's value with the containers that hold tensors, however deep.

    script: TorchScript's lists of parameters and buffers, by class; see `torchscript`.
    leaves: how many tensors there are. classes: those of the modules that `entries` went through.
    """

    value: Any
    script: Any = None
    leaves: int = 0
    classes: set[str] = field(default_factory=set)
    _holders: set[int] = field(default_factory=set)
    _named: int = 0

    def __post_init__(self) -> None:
        above: dict[int, Any] = {id(self.value): ()}  # a container's id: its parent's, or several
        pending, direct = [self.value], []
        found: set[int] = set()
        while pending:
            container = pending.pop()
            here = id(container)
            for child in _below(container):
                if child.__class__ in _ATOMS:
                    continue
                if leaf(child) is not None:
                    direct.append(here)
                    found.add(id(child))
                elif isinstance(child, _CONTAINERS):
                    there = id(child)
                    if there not in above:
                        above[there] = here
                        pending.append(child)
                    elif isinstance(above[there], set):
                        above[there].add(here)
                    else:
                        above[there] = {*_several(above[there]), here}
        self.leaves = len(found) + (leaf(self.value) is not None)
        while direct:
            container_id = direct.pop()
            if container_id not in self._holders:
                self._holders.add(container_id)
                direct.extend(_several(above[container_id]))

    def holds(self, value: Any) -> bool:
        """Is there a tensor anywhere in this container?"""
        return id(value) in self._holders

    def entries(self, value: Any, without: frozenset[int] = frozenset()) -> list[Entry]:
        """All tensors below `value`, named by the path to them.

        without: ids of containers to leave out. Raises UnsafeError for a structure that shares
        its parts so often that naming them all would not end.
        """
        alone = leaf(value)
        if alone is not None:
            return [Entry("tensor", alone)]
        return list(self._walk(value, "", 0, set(without)))

    def _walk(self, value: Any, name: str, depth: int, around: set[int]) -> Iterator[Entry]:
        if id(value) in around or not self.holds(value):
            return
        if depth > DEEPEST:
            raise UnsafeError(f"tensors more than {DEEPEST} containers deep")
        around.add(id(value))
        if is_module(value):
            parts = self._module(value, name)
        elif is_script(value) and self.script is not None:
            parts = self.script.parts(value, name)
        else:
            parts = (Entry(_join(name, key), child, name) for key, child in children(value))
        for part in parts:
            child = leaf(part.value)
            if child is None:
                yield from self._walk(part.value, part.name, depth + 1, around)
                continue
            self._named += 1
            if self._named > max(_NAMES_FLOOR, _NAMES * self.leaves):
                raise UnsafeError(f"{self.leaves} tensors under more than {self._named - 1} names")
            yield Entry(part.name, child, part.layer, part.kind, part.trainable)
        around.discard(id(value))

    def _module(self, module: Object, name: str) -> Iterator[Entry]:
        """What state_dict() would list: parameters, persistent buffers, then the submodules."""
        state, kind = module.attributes, module.class_name
        self.classes.add(str(module.constructor))
        for key, child in children(state["_parameters"]):
            yield Entry(_join(name, key), child, name, kind)
        passing = state.get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, set | list | tuple) else ()
        for key, child in children(state.get("_buffers", {})):
            if key not in passing:
                yield Entry(_join(name, key), child, name, kind, False)
        for key, child in children(state["_modules"]):
            yield Entry(_join(name, key), child, name, kind)


_ATOMS = frozenset((type(None), bool, int, float, str, bytes))
_CONTAINERS = (dict, list, tuple, Object, TensorValue)


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def layer_of(name: str) -> str:
    """The module a state dict's key belongs to."""
    return name.rpartition(".")[0]
