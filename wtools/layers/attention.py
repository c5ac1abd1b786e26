"""Which layers together are an attention: query, key, value and output stay the layers they are."""

from __future__ import annotations

import re

from .context import Context

_PARTS: dict[str, str] = {
    **dict.fromkeys(("q", "query", "queries", "wq", "qproj", "toq", "qlin", "theta"), "query"),
    **dict.fromkeys(("k", "key", "keys", "wk", "kproj", "tok", "klin"), "key"),
    **dict.fromkeys(("v", "value", "values", "wv", "vproj", "tov", "vlin"), "value"),
    **dict.fromkeys(("qkv", "wqkv", "qkvproj", "toqkv", "cattn", "querykeyvalue"), "qkv"),
    **dict.fromkeys(("kv", "tokv", "wkv", "kvproj"), "key_value"),
    **dict.fromkeys(("o", "out", "wo", "oproj", "outproj", "toout", "outlin"), "output"),
    **dict.fromkeys(("output", "proj", "cproj", "attentionoutput", "dense"), "output"),
}
_AFFIXES = re.compile(
    r"(proj|projection|lin|linear|dense|layer)$|^(linear|to|proj|in)(?=[qkv]|out)"
)


def attentions(context: Context) -> dict[str, str]:
    """Path of a layer -> its part ("query", "key", "value", "qkv", "output") in an attention.

    An attention is where query, key and value, or one layer that is all of them, have one parent.
    """
    below: dict[tuple[str, ...], dict[str, str]] = {}
    for group in context.groups:
        if group.parts:
            below.setdefault(group.parts[:-1], {})[group.parts[-1]] = group.path
    found: dict[str, str] = {}
    for group in context.groups:
        if any(leaf in group.members for leaf in ("in_proj_weight", "q_proj_weight")):
            found[f"{group.path}{group.separator}out_proj".lstrip(group.separator)] = "output"
    for parent, children in below.items():
        parts = {child: part_of(child) for child in children}
        have = set(parts.values())
        if not (
            {"query", "key", "value"} <= have or {"query", "key_value"} <= have or "qkv" in have
        ):
            continue
        own = {children[child]: part for child, part in parts.items() if part}
        if "output" not in have:
            own |= _output(parent, context)
        found |= own
    return found


def part_of(name: str) -> str:
    """The part that a layer of this name has in an attention, "" if none: "q_proj" -> "query"."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    return _PARTS.get(plain) or _PARTS.get(_AFFIXES.sub("", plain), "")


def _output(parent: tuple[str, ...], context: Context) -> dict[str, str]:
    """An output projection that stands in a module of its own, beside or below the parent."""
    if not context.groups:
        return {}
    separator = context.groups[0].separator
    for base in (parent, parent[:-1]):
        for tail in (("to_out", "0"), ("out", "0"), ("output", "dense"), ("out", "proj")):
            path = separator.join((*base, *tail))
            if path in context.by_path:
                return {path: "output"}
    return {}
