"""Real files that hold one model in two frameworks are recognized as such by `--like`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.conversion import convert

pytestmark = pytest.mark.corpus


def values(path: Path) -> dict[str, np.ndarray]:
    with wtools.open(path) as tree:
        return {name: tensor.read(copy=True) for name, tensor in tree.items()}


def only(corpus: Path, name: str) -> Path:
    [path] = corpus.rglob(name)
    return path


def test_deeplc_in_keras_and_in_torch_are_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    """Conv1D there, Conv2d of height one here; biases among numbered initializers."""
    models = sorted(corpus.rglob("full_hc_*.keras"))
    assert len(models) == 3
    for path in models:
        template = only(corpus, f"{path.stem}.pt")
        report = convert(path, tmp_path / "o.pt", like=str(template), overwrite=True)
        assert report.summary["matched"] == 42 and report.summary["unused"] == []
        found, wanted = values(tmp_path / "o.pt"), values(template)
        assert list(found) == list(wanted)
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)
        back = convert(template, tmp_path / "o.keras", like=str(path), overwrite=True)
        assert back.summary["unmatched"] == []
        home, old = values(tmp_path / "o.keras"), values(path)
        assert all(np.array_equal(home[name], old[name]) for name in old)


def test_silero_as_torchscript_fills_its_onnx_graph(corpus: Path, tmp_path: Path) -> None:
    """Two models in one file: the template is one of them, gates in another order."""
    source, template = only(corpus, "silero_vad.jit"), only(corpus, "silero_vad_16k_sequence.onnx")
    report = convert(source, tmp_path / "o.onnx", like=str(template), only=["_model.*"])
    assert report.summary["matched"] == 14 and report.summary["unmatched"] == []
    both = convert(source, tmp_path / "both.onnx", like=str(template), strict=False, overwrite=True)
    assert both.summary["matched"] == 14 and len(both.summary["unused"]) == 15
    wanted = values(template)
    for name in ("o.onnx", "both.onnx"):
        found = values(tmp_path / name)
        assert all(np.array_equal(found[key], wanted[key]) for key in wanted)


def test_resemblyzer_goes_through_keras_and_onnx(corpus: Path, tmp_path: Path) -> None:
    """To ONNX and Keras and back bit for bit, though Keras has one bias where torch has two."""
    torch = pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    pytest.importorskip("onnx")
    source = only(corpus, "pretrained.pt")
    layers = [keras.layers.LSTM(256, return_sequences=n < 2) for n in range(3)]
    dense = keras.layers.Dense(256, activation="relu")
    keras.Sequential([keras.Input((None, 40)), *layers, dense]).save(tmp_path / "t.keras")

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(40, 256, 3, batch_first=True)
            self.linear = torch.nn.Linear(256, 256)

        def forward(self, x):  # type: ignore[no-untyped-def]
            return torch.relu(self.linear(self.lstm(x)[1][0][-1]))

    x = np.random.default_rng(0).normal(size=(1, 20, 40)).astype("float32")
    module = Encoder().eval()
    torch.onnx.export(module, (torch.from_numpy(x),), str(tmp_path / "t.onnx"), dynamo=False)
    first = values(source)
    own = {n: torch.from_numpy(a) for n, a in first.items() if not n.startswith("similarity")}
    module.load_state_dict(own)
    wanted = module(torch.from_numpy(x)).detach().numpy()

    alone = {"exclude": ["similarity_*"], "overwrite": True}
    convert(source, tmp_path / "o.onnx", like=str(tmp_path / "t.onnx"), **alone)
    convert(tmp_path / "o.onnx", tmp_path / "home.pt", like=str(source), strict=False)
    home = values(tmp_path / "home.pt")
    assert all(np.array_equal(home[name], first[name]) for name in first)

    report = convert(source, tmp_path / "o.keras", like=str(tmp_path / "t.keras"), **alone)
    assert any("cannot tell them apart again" in note for note in report.notes)
    found = keras.models.load_model(tmp_path / "o.keras", compile=False)(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    convert(tmp_path / "o.keras", tmp_path / "k.pt", like=str(source), strict=False)
    convert(tmp_path / "k.pt", tmp_path / "k.keras", like=str(tmp_path / "t.keras"), **alone)
    one, other = values(tmp_path / "o.keras"), values(tmp_path / "k.keras")
    assert all(np.array_equal(one[name], other[name]) for name in one)

    # without a template the file itself keeps what the two biases were
    report = convert(source, tmp_path / "plain.h5")
    assert any("both are kept for the way back" in note for note in report.notes)
    layers = [keras.layers.LSTM(256, return_sequences=n < 2, name=f"lstm_l{n}") for n in range(3)]
    dense = keras.layers.Dense(256, activation="relu", name="linear")
    model = keras.Sequential([keras.Input((None, 40)), *layers, dense])
    model.load_weights(tmp_path / "plain.h5", by_name=True)
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-4, atol=1e-5)
    for there in ("plain.h5", "plain.onnx", "layout.onnx"):
        if there.endswith(".onnx"):
            layout = {"layout": "onnx"} if there == "layout.onnx" else {}
            convert(source, tmp_path / there, **layout)
        convert(tmp_path / there, tmp_path / f"{there}.pt")
        home = values(tmp_path / f"{there}.pt")
        assert home.keys() == first.keys()
        assert all(home[name].tobytes() == first[name].tobytes() for name in first)
