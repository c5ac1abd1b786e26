"""A Keras file as a PyTorch module: its weights laid out as torch has them, its source beside."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..errors import UsageError
from ..files import atomic
from ..graphs.torch_model import TorchModel, to_torch
from ..tree import WeightTree
from .options import Options
from .plan import Plan, Row, plan

_HOLDERS = ("pytorch", "safetensors", "npz")
_FOR_TENSORS = ("only", "exclude", "rename", "strip_prefix", "like", "layout")


@dataclass(frozen=True)
class ModulePlan:
    """weights: how the state dict is written. path, source: the module's file."""

    weights: Plan
    path: str
    source: str

    @contextlib.contextmanager
    def writing(self, *, overwrite: bool = False) -> Iterator[None]:
        """Put the module's file in place when the block, which writes the weights, ends well.

        Raises OutputError when it exists (unless `overwrite`) or cannot be written.
        """
        with atomic(self.path, overwrite=overwrite) as temporary:
            temporary.write_text(self.source, "utf-8")
            yield


def module_plan(
    source: WeightTree,
    target: str | os.PathLike[str],
    module: str | os.PathLike[str],
    *,
    to: str | None = None,
    options: Options | None = None,
) -> ModulePlan:
    """How the Keras model `source` becomes a state dict at `target` and a Python file `module`,
    whose class `Model` takes it with load_state_dict(strict=True).

    Raises UnsupportedError, the layer named, where it cannot; UsageError for options that are for
    tensors alone and for a target that is not made for torch's tensors.
    """
    options = options or Options()
    for name in _FOR_TENSORS:
        if getattr(options, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for tensors, and this writes a model that runs",
                advice="Without --module the weights alone are converted.",
            )
    if os.path.realpath(module) == os.path.realpath(target):
        raise UsageError("the module and its weights cannot be one file", path=str(target))
    made = to_torch(source)
    planned = plan(made.tree, target, to=to, options=replace(options, layout="keep"))
    if planned.format not in _HOLDERS:
        raise UsageError(
            f"{planned.format} holds no state dict of torch", advice=f"--to {_HOLDERS[0]}"
        )
    rows = [_row(row, source, made) for row in planned.rows]
    weights = replace(planned, source=source, rows=rows, lost=[*planned.lost, *made.notes])
    return ModulePlan(weights, os.fspath(module), made.source)


def _row(row: Row, source: WeightTree, made: TorchModel) -> Row:
    """The row of a state dict's entry, told from the tensor that it is made of."""
    origin = made.origins.get(row.name, "")
    before = source.get(origin)
    change = [made.changes.get(row.name, "") or ("renamed" if origin != row.name else "")]
    if row.change:
        change.append(row.change)
    return replace(
        row,
        name=origin,
        dtype=before.dtype if before is not None else row.dtype,
        shape=before.shape if before is not None else row.shape,
        change=", ".join(filter(None, change)),
    )
