"""The plan of a conversion to a model that runs: a Keras file or an estimator to an ONNX graph."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..estimators.described import of_estimator
from ..graphs.onnx_model import Runnable, to_onnx
from ..tree import WeightTree
from .options import Options
from .plan import Plan, Row

_KERAS = ("legacy h5 model", ".keras archive", "legacy h5 weights", "weights.h5")


def wanted(source: WeightTree, format: str, options: Options) -> bool:
    """Is the whole model asked for? A Keras file or an estimator of scikit-learn to ONNX, unless
    told otherwise.

    A file of Keras weights is among them: it is then refused, for what it lacks.
    """
    if format != "onnx" or options.like or options.weights_only:
        return False
    if options.layout not in (None, "onnx"):  # tensors of a layout that no graph has
        return False
    return of_estimator(source) or (source.format == "keras" and source.variant in _KERAS)


def graph_plan(source: WeightTree, path: Path, format: str, options: Options) -> Plan:
    """How `source` becomes a model that runs.

    Raises UnsupportedError, the layer named, where it cannot; UsageError for options that are for
    tensors alone.
    """
    for name in ("dtype", "only", "exclude", "rename", "strip_prefix"):
        if getattr(options, name):
            raise UsageError(
                f"--{name.replace('_', '-')} is for tensors, and this writes a model that runs",
                advice="--weights-only writes the tensors alone.",
            )
    made = to_onnx(source)
    draft = made.draft(path.name, external_data=options.external_data, metadata=options.metadata)
    return Plan(
        source, path, format, made.tree, draft, _rows(source, made), draft.lost, draft.problems
    )


def _rows(source: WeightTree, made: Runnable) -> list[Row]:
    rows = []
    for name, tensor in made.tree.items():
        origin = made.origins.get(name, "")
        before = source.get(origin, tensor)
        change = made.changes.get(name, "" if origin else "added")
        if before.dtype != tensor.dtype:
            change = f"{change}, cast" if change else "cast"
        rows.append(
            Row(
                origin,
                name,
                before.dtype,
                tensor.dtype,
                before.shape,
                tensor.nbytes,
                change,
                name,
            )
        )
    return rows
