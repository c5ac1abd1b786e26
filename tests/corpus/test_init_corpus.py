"""`wtools init` on the real models: they are trained, and hardly any tensor may pass for fresh."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import wtools


@pytest.mark.corpus
def test_real_models_are_trained(corpus: Path) -> None:
    """Of what is called untouched, only what the models' authors left so remains."""
    counts, untouched = Counter[str](), []
    for path in sorted(corpus.rglob("*")):
        if path.suffix in (".pt", ".onnx", ".keras", ".hdf5", ".safetensors", ".tar", ".jit"):
            with wtools.open(path) as tree:
                for r in wtools.init(tree).rows:
                    counts[r.verdict] += 1
                    if r.verdict == "untouched" and not r.evidence.get("exact"):
                        untouched.append((path.name, r.name))
    # CHGNet's last layer of angles feeds nothing; MiniLM was trained without its pooler
    others = [at for at in untouched if "angle_layers.2" not in at[1] and "pooler" not in at[1]]
    assert len(others) <= 0.01 * sum(counts.values()), others
