"""All analyses of one model, from one pass over its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import WtoolsError
from ..reports import Report
from ..sketch.runner import Scan
from ..tree import WeightTree
from .check import check
from .freeze import freeze_report
from .held import held_sketches, holdable
from .initfit import initfit
from .layer_map import layer_report
from .listing import heading, listing
from .sparsity import sparsity
from .stats import stats
from .turns import in_turns

SCHEMA = "wtools.report/1"


@dataclass(frozen=True)
class ModelReport(Mapping[str, Report]):
    """The report of each analysis, by the name of its command: `ls`, `stats`, `layers`, ..."""

    title: str
    path: str
    format: str
    reports: Mapping[str, Report]

    def __getitem__(self, name: str) -> Report:
        return self.reports[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.reports)

    def __len__(self) -> int:
        return len(self.reports)

    @property
    def failures(self) -> list[WtoolsError]:
        """The tensors that could not be read, each told once."""
        found = (failure for report in self.values() for failure in report.failures)
        return list({str(failure): failure for failure in found}.values())

    @property
    def failed(self) -> bool:
        """Did `check` find an error?"""
        return bool(getattr(self["check"], "failed", False))

    def to_dict(self) -> dict[str, Any]:
        """The stable JSON object as Python values: each report as its command prints it."""
        return {
            "schema": SCHEMA,
            "path": self.path,
            "format": self.format,
            "reports": {name: report.to_dict() for name, report in self.items()},
        }

    def __repr__(self) -> str:
        from ..render.overview import text_of

        return text_of(self)

    def _repr_html_(self) -> str:
        from ..render.overview import fragment

        return fragment(self)


def report(
    tree: WeightTree,
    *,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ModelReport:
    """What `ls`, `stats`, `layers`, `sparsity`, `init`, `check` and `freeze` say of a model.

    Each tensor is read once, whatever the analyses want to see of it: it is held in memory until
    all of them are done with it, or, if it takes more than 128 MiB there, they look at its blocks
    as they pass. threads, progress: as in `stats`.
    """
    held = holdable(tree)
    passes: dict[str, Callable[[Scan], Report]] = {
        "stats": lambda scan: stats(held, scan=scan),
        "sparsity": lambda scan: sparsity(held, threads=threads, scan=scan),
        "init": lambda scan: initfit(held, scan=scan),
        "check": lambda scan: check(held, threads=threads, scan=scan),
    }
    others: dict[str, Callable[[], Report]] = {
        "ls": partial(listing, held),
        "layers": partial(layer_report, held),
        "freeze": partial(freeze_report, held),
    }
    found = in_turns(passes, held_sketches(held, threads=threads, progress=progress))
    found |= {name: analysis() for name, analysis in others.items()}
    order = ("ls", "layers", "stats", "check", "sparsity", "init", "freeze")
    reports = {name: found[name] for name in order}
    return ModelReport(heading(tree), tree.path, tree.format, reports)
