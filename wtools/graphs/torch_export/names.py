"""Names from a file as Python identifiers: nothing of a hostile one reaches the source as code."""

from __future__ import annotations

import keyword
import re

LONGEST = 80
DEEPEST = 8

# What an attribute of a module cannot be called: nn.Module's own public names (torch 2.13; a test
# compares them).
_PUBLIC = """
T_destination add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule
half ipu load_state_dict modules mtia named_buffers named_children named_modules named_parameters
parameters register_backward_hook register_buffer register_forward_hook register_forward_pre_hook
register_full_backward_hook register_full_backward_pre_hook register_load_state_dict_post_hook
register_load_state_dict_pre_hook register_module register_parameter
register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
set_submodule share_memory state_dict to to_empty train training type xpu zero_grad INPUTS
"""
MODULE_NAMES = frozenset(_PUBLIC.split())
# What the source of forward() uses.
LOCALS = frozenset({"self", "torch", "nn", "F", "x", "float", "OrderedDict"})


class Names:
    """Identifiers that are free in one namespace."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def new(self, text: str) -> str:
        """An identifier like `text` that nothing else here has."""
        base = identifier(text)
        name, count = base, self._next.get(base, 1)
        while name in self._taken:
            name, count = f"{base}_{count}", count + 1
        self._next[base] = count
        self._taken.add(name)
        return name


def identifier(text: str) -> str:
    """`text` as an ASCII identifier that is no keyword and no name of Python's own."""
    name = re.sub(r"[^0-9A-Za-z_]+", "_", text)[:LONGEST].strip("_")
    if not name or name[0].isdigit():
        name = f"layer_{name}".rstrip("_")
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


class Attributes:
    """Where each layer lives in the module: `encoder/dense` as `encoder.dense`."""

    def __init__(self) -> None:
        self._spaces: dict[tuple[str, ...], Names] = {}
        self._known: dict[tuple[tuple[str, ...], str, bool], str] = {}
        self.containers: list[tuple[str, ...]] = []  # in order: nn.Modules that only hold others

    def of(self, path: str) -> tuple[str, ...]:
        """The attributes that lead to the layer of that path; its containers are made."""
        parts = path.split("/")
        if len(parts) > DEEPEST:
            parts = [*parts[: DEEPEST - 1], "_".join(parts[DEEPEST - 1 :])]
        where: tuple[str, ...] = ()
        for part in parts[:-1]:
            known = (where, part, True)
            if known not in self._known:
                self._known[known] = self._new(where, part)
                self.containers.append((*where, self._known[known]))
            where = (*where, self._known[known])
        known = (where, parts[-1], False)
        if known not in self._known:
            self._known[known] = self._new(where, parts[-1])
        return (*where, self._known[known])

    def _new(self, where: tuple[str, ...], part: str) -> str:
        return self._spaces.setdefault(where, Names(MODULE_NAMES)).new(part)
