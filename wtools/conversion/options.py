"""What a conversion is asked to change. Nothing by default."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import NameNotFoundError, UsageError
from ..tree import Tensor, WeightTree
from .rounding import OnOverflow

Rule = tuple[str, str]


@dataclass(frozen=True)
class Options:
    """The changes, all off by default.

    dtype: "bfloat16", or a cast for some dtypes only, see `cast.casts`.
    on_overflow: "error", "saturate" or "inf", see `rounding.rounded`.
    only, exclude: glob patterns of names. rename: (regular expression, replacement), each applied
    to every name in turn. strip_prefix: taken off the names that begin with it, before renaming.
    drop_optimizer: leave out the optimizer's tensors where the target could keep them.
    metadata: added to, or put in place of, the source's. dequantize: write the real values of
    quantized tensors. layout: "keep" copies names and axes as they are, "keras", "torch" or "onnx"
    says whose they become; by default those of the target's format. heads: attention layer ->
    its number of heads; flatten: dense layer -> the image before it, channels last; kinds: layer
    -> its kind; where weights alone do not tell. like: a template file; mapping: a JSON file of
    what is what in it; strict: must all of both be matched? rules: are known architectures looked
    up? weights_only: no graph from a Keras model, but its tensors as they are. shard_size,
    external_data: for the formats that know these options (bytes a shard may have; tensors beside
    the ONNX model or in it).
    """

    dtype: str | Mapping[str, str] | None = None
    on_overflow: OnOverflow = "error"
    only: Sequence[str] = ()
    exclude: Sequence[str] = ()
    rename: Sequence[Rule] = ()
    strip_prefix: str = ""
    drop_optimizer: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    dequantize: bool = False
    layout: str | None = None
    heads: Mapping[str, int] = field(default_factory=dict)
    flatten: Mapping[str, Sequence[int]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    like: str | None = None
    mapping: str | None = None
    strict: bool = True
    rules: bool = True
    weights_only: bool = False
    shard_size: int | None = None
    external_data: bool | None = None

    def for_writer(self) -> dict[str, Any]:
        """The options that were given and that concern the target's format alone."""
        given = {"shard_size": self.shard_size, "external_data": self.external_data}
        return {name: value for name, value in given.items() if value is not None}


def chosen(tree: WeightTree, options: Options) -> list[Tensor]:
    """The tensors that `only` and `exclude` leave.

    Raises NameNotFoundError for a pattern that matches nothing: it is more likely a slip.
    """
    kept = tree.select(*options.only) if options.only else tree
    if not options.exclude:
        return list(kept.values())
    left_out: set[str] = set()
    for pattern in options.exclude:
        found = {t.name for t in tree.values() if _matches(t, pattern)}
        if not found:
            raise NameNotFoundError(pattern, tree, path=tree.path or None)
        left_out |= found
    return [tensor for tensor in kept.values() if tensor.name not in left_out]


def _matches(tensor: Tensor, pattern: str) -> bool:
    names = {tensor.name, tensor.stored}
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def new_names(tensors: Iterable[Tensor], options: Options) -> dict[str, str]:
    """name -> name after `strip_prefix` and `rename`.

    Raises UsageError for a regular expression that is none and for a rule that changes nothing.
    """
    names = {tensor.name: tensor.name for tensor in tensors}
    if options.strip_prefix:
        stripped = {old: new.removeprefix(options.strip_prefix) for old, new in names.items()}
        if stripped == names:
            raise NameNotFoundError(options.strip_prefix, names, what="prefix")
        names = stripped
    for pattern, replacement in options.rename:
        try:
            changed = {old: re.sub(pattern, replacement, new) for old, new in names.items()}
        except (re.error, IndexError) as error:
            raise UsageError(f"{pattern!r} = {replacement!r} is no rule: {error}") from None
        if changed == names:
            raise UsageError(
                f"the rule {pattern!r} = {replacement!r} changes no name",
                advice="It is a regular expression, searched for anywhere in a name.",
            )
        names = changed
    return names


def rule(text: str) -> Rule:
    """'REGEX=REPL' as a pair; an equals sign of the expression itself is written `\\=`.

    Raises UsageError where there is no equals sign.
    """
    parts = re.split(r"(?<!\\)=", text, maxsplit=1)
    if len(parts) != 2 or not parts[0]:
        raise UsageError(f"{text!r} is not of the form REGEX=REPL")
    return parts[0].replace(r"\=", "="), parts[1]


def rules_of(path: str) -> list[Rule]:
    """The rules of a file, one a line; empty lines and those that begin with # are passed over.

    Raises UsageError.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot be read: {error}", path=path) from None
    return [rule(line) for line in lines if line.strip() and not line.startswith("#")]
