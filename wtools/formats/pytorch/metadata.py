"""The plain values of a checkpoint (epoch, learning rate, configuration) as bounded JSON."""

from __future__ import annotations

from typing import Any

from .structure import Structure, children, is_module, is_optimizer, is_script, leaf, text
from .values import Global, NumpyDType, Object

_MOST_VALUES, _MOST_TEXT, _DEEPEST = 5_000, 1_000, 16
_MOST_INT = 1 << 64
_NOTHING = object()


def plain(structure: Structure, value: Any) -> dict[str, Any]:
    """What `value`, a container, says beside its tensors; {} if nothing."""
    if is_module(value) or is_script(value) or leaf(value) is not None:
        return {}
    told = _Telling(structure).tell(value, 0)
    if isinstance(told, dict):
        return told
    return {} if told is _NOTHING else {"value": told}


class _Telling:
    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._left = _MOST_VALUES

    def tell(self, value: Any, depth: int) -> Any:
        """`value` in JSON's types, tensors and what only holds tensors left out."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return "…"
        if value is None or isinstance(value, bool | float):
            return value
        if isinstance(value, int):
            return value if -_MOST_INT < value < _MOST_INT else "a large integer"
        if isinstance(value, str):
            return str(value) if len(value) <= _MOST_TEXT else value[:_MOST_TEXT] + "…"
        if isinstance(value, bytes | bytearray):
            return f"{len(value)} bytes"
        if isinstance(value, complex | Global):
            return str(value)
        if isinstance(value, NumpyDType):
            return value.spelling
        if leaf(value) is not None or is_module(value) or is_script(value):
            return _NOTHING
        return self._container(value, depth)

    def _container(self, value: Any, depth: int) -> Any:
        if depth and is_optimizer(value) and self._structure.holds(value):
            return _NOTHING  # told with the optimizer itself
        if isinstance(value, set | frozenset):
            value = list(value)
        if isinstance(value, list | tuple):
            items = []
            for item in value:
                if self._left <= 0:
                    items.append("…")
                    break
                told = self.tell(item, depth + 1)
                if told is not _NOTHING:
                    items.append(told)
            return items if items or not value else _NOTHING
        if isinstance(value, dict):
            return self._pairs(value, depth)
        if isinstance(value, Object):
            name = str(value.constructor) if isinstance(value.constructor, Global) else "object"
            below = self._pairs(dict(children(value)), depth)
            return {f"<{name}>": below} if below else f"<{name}>"
        return f"<{type(value).__name__}>"

    def _pairs(self, value: dict[Any, Any], depth: int) -> Any:
        pairs: dict[str, Any] = {}
        for key, child in value.items():
            if self._left <= 0:
                pairs["…"] = "…"
                break
            told = self.tell(child, depth + 1)
            if told is not _NOTHING:
                pairs[text(key)[:_MOST_TEXT]] = told
        return pairs if pairs or not value else _NOTHING
