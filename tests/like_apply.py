"""Apply to a torch module what `wtools convert --like` says that it must change."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Changes = Sequence[Mapping[str, Any]]


def apply(module: nn.Module, changes: Changes) -> None:
    """Set every attribute that is named, on every module that a glob means."""
    for change in changes:
        if change["attribute"] not in ("eps", "stride", "padding", "dilation"):
            continue
        meant = [m for n, m in module.named_modules() if fnmatch.fnmatchcase(n, change["module"])]
        assert meant, change
        for inner in meant:
            if hasattr(inner, change["attribute"]):
                value = change["value"]
                new = tuple(value) if isinstance(value, list) else value
                setattr(inner, change["attribute"], new)


@contextlib.contextmanager
def pooling(changes: Changes) -> Iterator[None]:
    """The arguments of functions that modules call."""
    counted = [c["value"] for c in changes if c["attribute"] == "avg_pool2d.count_include_pad"]
    original = F.avg_pool2d

    def pooled(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if counted:
            kwargs["count_include_pad"] = counted[-1]
        return original(x, *args, **kwargs)

    F.avg_pool2d = pooled  # type: ignore[assignment]
    try:
        yield
    finally:
        F.avg_pool2d = original


def run(module: nn.Module, changes: Changes, x: Any) -> Any:
    """The module's outputs on channels-last images, with the changes applied."""
    apply(module, changes)
    module.eval()
    with torch.no_grad(), pooling(changes):
        return module(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
