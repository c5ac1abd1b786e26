"""Putting a tree's tensors into a copy of a file that has tensors of the same names.

Most formats keep a tensor's bytes plainly in the file, so the copy is the template with those
ranges replaced: everything else, the architecture above all, is what it was, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..files import Source
from ..streams import FileWriter
from ..tree import Tensor, WeightTree, tie_key


@dataclass(frozen=True)
class Match:
    """pairs: (new tensor, the template's). kept: names that stay as the template has them."""

    pairs: Sequence[tuple[Tensor, Tensor]]
    kept: Sequence[str]
    problems: Sequence[str]

    @property
    def stored(self) -> dict[str, str]:
        """Name of each new tensor -> its name in the file."""
        return {new.name: old.stored for new, old in self.pairs}

    @property
    def found(self) -> dict[str, str]:
        """Name of each new tensor -> its name in the template's tree."""
        return {new.name: old.name for new, old in self.pairs}


def match(
    tree: WeightTree,
    template: WeightTree,
    *,
    optional: Callable[[Tensor], bool] = lambda old: False,
    fixed: Callable[[Tensor], str] = lambda old: "",
) -> Match:
    """Which tensor goes where: by name, else by stored name; shapes and dtypes must agree.

    optional: may this tensor of the template stay as it is? Any other must be given.
    fixed: why this tensor of the template cannot be replaced, "" where it can.
    """
    pairs, problems = [], []
    met: set[str] = set()
    for new in tree.values():
        old = template.get(new.name) or template.get(new.stored)
        if old is None:
            problems.append(
                f"the template has no {new.name!r}: --rename it, or --exclude leaves it out"
            )
        elif reason := fixed(old):
            problems.append(
                f"{old.name!r} of the template cannot be replaced, it is {reason}: "
                "--exclude leaves it as it is"
            )
        elif old.name in met:
            problems.append(f"{new.name!r} is not the only one meant for {old.name!r}")
        elif old.shape != new.shape:
            problems.append(
                f"{new.name!r} has the shape {list(new.shape)}, the template {list(old.shape)}"
            )
        elif old.dtype != new.dtype:
            problems.append(
                f"{new.name!r} is {new.dtype}, in the template {old.dtype}: "
                f"--dtype {new.dtype}={old.dtype}"
            )
        else:
            pairs.append((new, old))
            met.add(old.name)
    absent = [old for old in template.values() if old.name not in met]
    met_keys = {tie_key(old) for _, old in pairs}
    absent = [old for old in absent if tie_key(old) not in met_keys]
    stay = [old for old in absent if optional(old) or fixed(old)]
    kept = [old.name for old in stay]
    if not problems:
        problems += [
            f"the template needs {old.name!r} ({old.dtype} {list(old.shape)}), which is not given"
            for old in absent
            if old.name not in kept
        ]
    return Match(pairs, kept, problems)


@dataclass(frozen=True)
class Patch:
    """A range of the template that a tensor's bytes replace."""

    offset: int
    tensor: Tensor

    @property
    def end(self) -> int:
        return self.offset + self.tensor.nbytes


def patches(pairs: Iterable[tuple[Tensor, Tensor]]) -> list[Patch]:
    """For the template tensors that lie plainly in it, in the file's order, tied ones once."""
    found = {old.raw.offset: new for new, old in pairs if old.raw is not None and old.nbytes}
    return [Patch(offset, found[offset]) for offset in sorted(found)]


def copy_patched(
    file: FileWriter, source: Source, start: int, stop: int, patches: Sequence[Patch]
) -> None:
    """Append the template's bytes [start, stop), patched."""
    for patch in patches:
        if start <= patch.offset and patch.end <= stop:
            file.copy(source, start, patch.offset)
            file.tensor(patch.tensor)
            start = patch.end
    file.copy(source, start, stop)
