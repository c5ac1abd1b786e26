"""The safetensors files of real packages, as the reference library reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors

from wtools import dtypes, formats

pytestmark = pytest.mark.corpus

# files of the corpus -> how many tensors and parameters its table says they have
FILES = {
    "silero_vad_16k.safetensors": (15, 309_633),
    "model.safetensors": (104, 22_713_728),
}


@pytest.mark.parametrize("name", FILES)
def test_names_shapes_dtypes_and_values_are_the_librarys(name: str, corpus: Path) -> None:
    (path,) = corpus.rglob(name)
    with formats.open(path) as tree, safetensors.safe_open(path, "np") as theirs:
        assert (len(tree), tree.size) == FILES[name]
        assert set(tree) == set(theirs.keys())
        assert dict(tree.metadata) == (theirs.metadata() or {})
        for key, tensor in tree.items():
            view = theirs.get_slice(key)
            assert dtypes.get(tensor.dtype).safetensors == view.get_dtype()
            np.testing.assert_array_equal(tensor.read(), theirs.get_tensor(key), strict=True)


def test_a_package_folder_opens_its_model(corpus: Path) -> None:
    (path,) = corpus.rglob("model.safetensors")
    with formats.open(path.parent) as tree:
        assert tree.path == str(path)
        if (path.parent / "config.json").exists():
            assert tree.architecture["transformers"]["model_type"] == "bert"
