"""diff, check and sparsity on every real file: nothing crashes, and a file is equal to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

import wtools
from wtools.errors import WtoolsError

pytestmark = pytest.mark.corpus


def test_every_model(corpus: Path) -> None:
    opened = 0
    for path in sorted(p for p in corpus.rglob("*") if p.is_file()):
        try:
            tree = wtools.open(path)
        except WtoolsError:
            continue  # what opens is another test's business
        with tree, wtools.open(path) as again:
            assert not wtools.diff(tree, again).summary["differ"], path
            checked = wtools.check(tree)
            assert not {"unreadable", "negative-variance"} & {r.rule for r in checked.rows}, path
            sparse = wtools.sparsity(tree)
            figures = wtools.stats(tree)
            assert not sparse.failures, path
            zeros = {row.name: row.zeros for row in figures.rows}
            assert all(row.zeros == zeros[row.name] for row in sparse.rows), path
        opened += 1
    assert opened > 20
