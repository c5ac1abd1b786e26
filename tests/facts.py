"""What the frameworks themselves say of the fixtures, and how to hold a tree against it.

fixtures/<format>/facts.json, written by fixtures/make/<format>.py from the framework's own view:

    {"<file>": {"writer": "torch 2.13.0",
                "tensors": {"<name>": {"shape": [2, 3], "dtype": "float32", "sum": 1.5}},
                "apart": {"optimizer": {"tensors": {...}}}}}

`sum` is the float64 sum of the elements (numbers, "NaN", "Infinity", "-Infinity", or [re, im] for
complex ones). A tensor may also say "dequantized_sum", "trainable", "stored", "tied_to" (the name
of the tensor that it is one and the same with). A file may name the `root` to open it with.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from wtools.tree import Tensor, WeightTree, tie_key

ROOT = Path(__file__).resolve().parent.parent / "fixtures"


def load(folder: str) -> dict[str, dict[str, Any]]:
    """file name -> its facts, for one folder of fixtures."""
    facts: dict[str, dict[str, Any]] = json.loads((ROOT / folder / "facts.json").read_text())
    return facts


def check(tree: WeightTree, facts: dict[str, Any]) -> None:
    """Assert that names, shapes, dtypes and sums of `tree` are those of `facts`."""
    assert set(tree) == set(facts["tensors"])
    for name, fact in facts["tensors"].items():
        tensor = tree[name]
        assert list(tensor.shape) == fact["shape"], name
        assert tensor.dtype == fact["dtype"], name
        assert_sum(total(tensor), number(fact["sum"]), tensor)
        if "dequantized_sum" in fact:
            real = tensor.dequantized()
            assert_sum(total(real), number(fact["dequantized_sum"]), real)
        if "trainable" in fact:
            assert tensor.trainable is fact["trainable"], name
        if "stored" in fact:
            assert tensor.stored == fact["stored"], name
        if "tied_to" in fact:
            assert tie_key(tensor) == tie_key(tree[fact["tied_to"]]), name
    for name, below in facts.get("apart", {}).items():
        check(tree.apart[name], below)


def total(tensor: Tensor) -> complex | float:
    """The sum of all elements in double precision."""
    wide = np.complex128 if tensor.dtype.startswith("complex") else np.float64
    with np.errstate(all="ignore"):
        return sum((b.astype(wide).sum() for b in tensor.blocks()), wide(0)).item()


def number(value: Any) -> complex | float:
    if isinstance(value, list):
        return complex(*map(float, value))
    return float(value)


def assert_sum(ours: complex | float, theirs: complex | float, tensor: Tensor) -> None:
    """Equal up to the order of summation, which can lose some 1e-12 of the absolute sum."""
    with np.errstate(all="ignore"):
        scale = sum((np.abs(b.astype(np.complex128)).sum() for b in tensor.blocks()), 0.0)
    bound = 1e-12 * float(scale) if np.isfinite(scale) else 0.0
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=bound, err_msg=tensor.name)
