"""wtools: inspect, analyze and convert neural-network weight files.

    import wtools
    with wtools.open("model.h5") as tree:
        tree["dense/kernel"].read()
        wtools.stats(tree)

Names are resolved on first use, so that `import wtools` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyzers.check import check
    from .analyzers.diff import diff
    from .analyzers.everything import report
    from .analyzers.freeze import freeze
    from .analyzers.initfit import initfit as init
    from .analyzers.layer_map import layer_report
    from .analyzers.listing import listing as ls
    from .analyzers.sparsity import sparsity
    from .analyzers.stats import merged, stats
    from .conversion import convert, verify_bits
    from .errors import WtoolsError
    from .estimators.live import from_estimator
    from .formats import open
    from .graphs.torch_model import torch_module
    from .reports import Report
    from .sketch import Sketch
    from .translation import translate
    from .tree import Tensor, WeightTree
    from .verification import verify

__version__ = "0.1.0"

_HOME = {
    "open": "formats",
    "ls": "analyzers.listing:listing",
    "check": "analyzers.check",
    "diff": "analyzers.diff",
    "freeze": "analyzers.freeze",
    "from_estimator": "estimators.live",
    "init": "analyzers.initfit:initfit",
    "layer_report": "analyzers.layer_map",
    "report": "analyzers.everything",
    "sparsity": "analyzers.sparsity",
    "stats": "analyzers.stats",
    "merged": "analyzers.stats",
    "convert": "conversion",
    "verify_bits": "conversion",
    "torch_module": "graphs.torch_model",
    "translate": "translation",
    "verify": "verification",
    "Tensor": "tree",
    "WeightTree": "tree",
    "Report": "reports",
    "Sketch": "sketch",
    "WtoolsError": "errors",
}

__all__ = [
    "Report",
    "Sketch",
    "Tensor",
    "WeightTree",
    "WtoolsError",
    "check",
    "convert",
    "diff",
    "freeze",
    "from_estimator",
    "init",
    "layer_report",
    "ls",
    "merged",
    "open",
    "report",
    "sparsity",
    "stats",
    "torch_module",
    "translate",
    "verify",
    "verify_bits",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'wtools' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(import_module(f".{module}", __name__), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
