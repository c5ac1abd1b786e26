"""How sure `--like` says it is, against pairs of models whose layers are known to belong together.

WTOOLS_UPDATE_DOCS=1 python -m pytest tests/convert/test_like_confidence.py -m ""
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("keras")
pytest.importorskip("transformers")

from like_pairs import Outcome, cases, outcome, table, variants

PAGE = Path(__file__).resolve().parents[2] / "docs" / "like.md"
MEASURED = re.compile(r"(<!-- measured: confidence -->\n).*?(<!-- end -->)", re.DOTALL)


@pytest.mark.slow
def test_pairs_that_are_called_sure_are_right_and_the_page_has_the_figures() -> None:
    rows: list[tuple[str, str, Outcome]] = []
    for case in cases():
        rows += [(case.name, label, outcome(made)) for label, made in variants(case)]
    sure = sum(o.sure for _, _, o in rows)
    assert sure > 1500
    assert sum(o.sure_wrong for _, _, o in rows) / sure < 0.005
    likely = sum(o.likely for _, _, o in rows)
    assert sum(o.likely_wrong for _, _, o in rows) / likely < 0.1
    plain = [o for _, label, o in rows if label == "as they are"]
    assert not any(o.sure_wrong or o.undecided for o in plain)
    hidden = [o for _, label, o in rows if label == "anonymous and shuffled"]
    assert all(o.undecided > 0.7 * o.layers for o in hidden)  # nothing tells, and that is said
    text = PAGE.read_text()
    fresh = MEASURED.sub(lambda m: f"{m[1]}{table(rows)}\n{m[2]}", text)
    if os.environ.get("WTOOLS_UPDATE_DOCS"):
        PAGE.write_text(fresh)
    assert fresh == PAGE.read_text(), "docs/like.md is out of date: run with WTOOLS_UPDATE_DOCS=1"
