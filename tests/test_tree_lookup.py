"""Looking a name up: by name, by stored name, and cheaply where it is not there."""

from __future__ import annotations

import numpy as np
import pytest

from wtools import errors
from wtools.tree import Tensor, WeightTree


@pytest.fixture
def tree() -> WeightTree:
    one = Tensor.of("dense/kernel", np.zeros(3), stored="layers/dense/vars/0")
    return WeightTree([one, Tensor.of("", np.ones(2), stored="unnamed")])


def test_a_tensor_is_found_by_either_name(tree: WeightTree) -> None:
    assert tree["dense/kernel"] is tree["layers/dense/vars/0"]
    assert "dense/kernel" in tree and "layers/dense/vars/0" in tree and "" in tree


def test_an_absent_name_is_not_in_it(tree: WeightTree) -> None:
    assert "dense/bias" not in tree and 3 not in tree
    with pytest.raises(errors.NameNotFoundError, match="Did you mean 'dense/kernel'"):
        tree["dense/kernal"]


def test_asking_whether_a_name_is_there_seeks_no_near_ones(
    tree: WeightTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("difflib.get_close_matches")
    assert "dense/bias" not in tree
    assert tree.get("dense/bias") is None and tree.get("dense/bias", 3) == 3
    assert tree.get("layers/dense/vars/0") is tree["dense/kernel"]
