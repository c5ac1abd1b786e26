"""What a rule is, what it sees and what it says."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from ...errors import WtoolsError
from ...layers import Meaning, layer_map
from ...sketch import Sketch
from ...tree import Tensor, WeightTree, tie_key

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """What a rule found. tensor: None for what concerns the model. evidence: the figures."""

    message: str
    tensor: Tensor | None = None
    severity: Severity | None = None  # where it is not the rule's own
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and what one pass over it showed.

    sketches: tie key -> sketch of every tensor that could be read; empty where no rule needs
    them. failures: what could not be read, and what else is damaged. like: a model whose tensors
    it should have. looks: id of a rule -> tie key -> what the rule's `look` saw.
    """

    tree: WeightTree
    sketches: Mapping[object, Sketch] = field(default_factory=dict)
    failures: Sequence[WtoolsError] = ()
    like: WeightTree | None = None
    threads: int | None = None
    looks: dict[str, dict[object, Any]] = field(default_factory=dict)

    def expect(self, rules: Iterable[Rule], tensors: Iterable[Tensor]) -> None:
        """Let the rules say, before the pass, what they will look at."""
        wanted = [rule.expect for rule in rules if rule.expect is not None]
        for tensor in tensors:
            for say in wanted:
                say(self, tensor)

    def look(self, rules: Iterable[Rule], tensor: Tensor, sketch: Sketch) -> None:
        """Let the rules look at a tensor while it is at hand."""
        for rule in rules:
            seen = rule.look(self, tensor, sketch) if rule.look is not None else None
            if seen is not None:
                self.looks.setdefault(rule.id, {})[tie_key(tensor)] = seen

    def seen(self, rule: str) -> Mapping[object, Any]:
        """tie key -> what a rule's `look` saw."""
        return self.looks.get(rule, {})

    @cached_property
    def kinds(self) -> Counter[tuple[str, tuple[int, ...]]]:
        """How many tensors there are of each dtype and shape, tied ones counted once."""
        return Counter((tensor.dtype, tensor.shape) for tensor in self.tree.distinct())

    @cached_property
    def meanings(self) -> dict[str, Meaning]:
        """What each tensor is, by name."""
        return {name: role.meaning for name, role in layer_map(self.tree).tensors.items()}

    def measured(self) -> Iterator[tuple[Tensor, Sketch]]:
        """The tensors that could be read, tied ones once."""
        for tensor in self.tree.distinct():
            sketch = self.sketches.get(tie_key(tensor))
            if sketch is not None:
                yield tensor, sketch


@dataclass(frozen=True)
class Rule:
    """id: what `--ignore` takes. severity: of its findings, unless one says otherwise.

    reads: does it need the tensors' data? look: what it has to see of a tensor beyond its sketch;
    called in the pass, before the next tensor, so that nothing is read again where a tensor is
    still in memory. expect: called before the pass, to say what `look` will want of a tensor that
    is too large for that. `find` explains itself in its docstring.
    """

    id: str
    severity: Severity
    find: Callable[[Subject], Iterator[Finding]]
    reads: bool = False
    look: Callable[[Subject, Tensor, Sketch], Any] | None = None
    expect: Callable[[Subject, Tensor], None] | None = None

    @property
    def explanation(self) -> str:
        """What it looks for and why that matters, in one paragraph."""
        return " ".join((inspect.getdoc(self.find) or "").split("\n\n")[0].split())
