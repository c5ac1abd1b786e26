"""Which attributes of a TorchScript object are its parameters and buffers.

The classes in an archive's `code/` folder say so in lists of strings (torch/csrc/jit/serialization/
python_print.cpp); they are searched as text, never compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..zips import Zip
from .structure import Entry, children, is_script, leaf
from .values import Global, Object

_MOST_CODE = 16 << 20
_CLASS = re.compile(r"^class (\w+)\(", re.M)
_LIST = re.compile(r"^  __(parameters|buffers)__ = \[([^\]]*)\]", re.M)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass
class Script:
    """The code of one archive, read as far as its classes are asked for."""

    archive: Zip
    folder: str
    attributes: bool = False  # list the tensors that are neither parameters nor buffers instead
    _lists: dict[str, dict[str, tuple[set[str], set[str]]]] = field(default_factory=dict)

    def parts(self, module: Object, name: str) -> Iterator[Entry]:
        """Parameters and buffers in stored order, then the submodules."""
        parameters, buffers = self._of(module.constructor)
        below = []
        for key, child in children(module.attributes):
            here = f"{name}.{key}" if name else key
            if leaf(child) is None:
                if self.attributes or is_script(child):
                    below.append(Entry(here, child))
            elif (key in parameters or key in buffers) != self.attributes:
                trainable = False if key in buffers else None
                yield Entry(here, child, name, module.class_name, trainable)
        yield from below

    def _of(self, constructor: Any) -> tuple[set[str], set[str]]:
        """The names of a class's parameters and of its buffers."""
        if not isinstance(constructor, Global):
            return set(), set()
        module = constructor.module
        if module not in self._lists:
            self._lists[module] = self._read(module)
        return self._lists[module].get(constructor.name, (set(), set()))

    def _read(self, module: str) -> dict[str, tuple[set[str], set[str]]]:
        name = f"{self.folder}code/{module.replace('.', '/')}.py"
        if name not in self.archive:
            return {}
        code = self.archive.read(name, most=_MOST_CODE).decode("utf-8", "replace")
        starts = [(match.start(), match[1]) for match in _CLASS.finditer(code)]
        ends = [start for start, _ in starts[1:]] + [len(code)]
        found = {}
        for (start, kind), end in zip(starts, ends, strict=True):
            lists = {m[1]: set(_QUOTED.findall(m[2])) for m in _LIST.finditer(code, start, end)}
            found[kind] = lists.get("parameters", set()), lists.get("buffers", set())
        return found
