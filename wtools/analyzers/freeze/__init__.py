"""Freezing: what moved between a model and its fine-tuned copy, and what to freeze of a model."""

from __future__ import annotations

from typing import Any

from ...reports import Report
from ...tree import WeightTree
from .moved import moved
from .plan import Choice, Plan, TensorRow, UnitRow, freeze_report, plan
from .rows import MovedBlockRow, MovedRow


def freeze(model: WeightTree, tuned: WeightTree | None = None, **options: Any) -> Report:
    """What moved from `model` to `tuned` (options: see `moved`); without `tuned` what of the
    model can be frozen (options: see `freeze_report` and `Choice`).
    """
    return freeze_report(model, **options) if tuned is None else moved(model, tuned, **options)


__all__ = [
    "Choice",
    "MovedBlockRow",
    "MovedRow",
    "Plan",
    "TensorRow",
    "UnitRow",
    "freeze",
    "freeze_report",
    "moved",
    "plan",
]
