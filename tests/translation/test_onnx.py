"""Weights out of an ONNX file under the names and in the shapes of the module that was exported."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import wtools
from wtools.translation import translated
from wtools.translation.onnx_paths import scope_path


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.down = nn.Sequential(nn.Conv2d(width, width, 1), nn.PReLU(width))

    def forward(self, x: Any) -> Any:
        return torch.relu(self.conv1(x)) + self.down(x)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return scores.softmax(-1) @ self.value(x)


class Everything(nn.Module):
    """Modules in lists in lists; products of three axes, whose weights exporters turn."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 6, 1)))
        )
        self.layer1 = nn.Sequential(Block(6), Block(6))
        self.depthwise = nn.Conv2d(6, 12, 3, groups=6, padding=1)
        self.up = nn.ConvTranspose2d(12, 6, 2)
        self.blocks = nn.ModuleList([Attention(6), Attention(6)])
        self.norm = nn.LayerNorm(6)
        self.table = nn.Embedding(9, 6)
        self.mix = nn.MultiheadAttention(6, 2, batch_first=True)
        self.lstm = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(10, 5, batch_first=True)
        self.proj = nn.Linear(5, 3, bias=False)
        self.head = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.randn(2, 2))

    def forward(self, x: Any, ids: Any) -> Any:
        x = self.up(self.depthwise(self.layer1(self.features(x)))).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = x + block(x)
        x = self.norm(x) + self.table(ids)
        x = x + self.mix(x, x, x)[0]
        x = self.gru(self.lstm(x)[0])[0]
        return self.head(self.proj(x).mean(1)) @ self.scale


EXPORTS = {
    "legacy": {"dynamo": False},
    "dynamo": {"dynamo": True, "optimize": True},
    "dynamo as it is": {"dynamo": True, "optimize": False},
}
SOME = ["legacy", *(pytest.param(how, marks=pytest.mark.slow) for how in list(EXPORTS)[1:])]
INPUTS = (torch.randn(1, 3, 6, 6), torch.zeros(1, 1, dtype=torch.int64))


def export(module: nn.Module, path: Path, inputs: tuple[Any, ...], **options: Any) -> None:
    if options["dynamo"]:
        pytest.importorskip("onnxscript")
        options["external_data"] = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, inputs, str(path), verbose=False, **options)


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """No two weights alike, as after training: exporters store equal ones once."""
    generator = torch.Generator().manual_seed(seed)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.randn(value.shape, generator=generator).abs() * 0.3 + 0.01)
    return module.eval()


@pytest.mark.parametrize("how", SOME)
def test_a_module_takes_its_weights_back(how: str, tmp_path: Path) -> None:
    module = trained(Everything())
    export(module, tmp_path / "m.onnx", INPUTS, **EXPORTS[how])
    wtools.convert(tmp_path / "m.onnx", tmp_path / "m.pt")
    state = torch.load(tmp_path / "m.pt", weights_only=True)
    again = Everything().eval()
    again.load_state_dict(state, strict=True)
    for name, value in module.state_dict().items():
        assert state[name].numpy().tobytes() == value.numpy().tobytes(), name
    with torch.no_grad():
        assert torch.equal(again(*INPUTS), module(*INPUTS))


def test_a_simple_recurrent_layer(tmp_path: Path) -> None:
    """torch's newer exporter takes it apart, step by step."""
    module = trained(nn.ModuleDict({"rnn": nn.RNN(3, 4, 2, bidirectional=True)})["rnn"])
    export(module, tmp_path / "m.onnx", (torch.randn(5, 1, 3),), dynamo=False)
    with wtools.open(tmp_path / "m.onnx") as tree:
        found = wtools.translate(tree, "torch")
        assert set(found) == set(module.state_dict())
        for name, value in module.state_dict().items():
            assert np.array_equal(found[name].read(), value.numpy())


@pytest.mark.parametrize("how", SOME)
def test_equal_weights_that_the_exporter_stored_once(how: str, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4)).eval()
    for part in (module[0], module[1]):
        nn.init.constant_(part.bias, 0.5)
    nn.init.constant_(module[2].bias, 0.5)
    export(module, tmp_path / "m.onnx", (torch.randn(2, 4),), **EXPORTS[how])
    with wtools.open(tmp_path / "m.onnx") as tree:
        found = wtools.translate(tree, "torch")
        for name, value in module.state_dict().items():
            assert np.array_equal(found[name].read(), value.numpy())


def test_batch_norm_comes_back_where_it_was_not_folded(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))
    trained(module)
    export(module, tmp_path / "m.onnx", (torch.randn(1, 3, 5, 5),), dynamo=True, optimize=False)
    with wtools.open(tmp_path / "m.onnx") as tree:
        found = wtools.translate(tree, "torch")
    assert set(found) == set(module.state_dict())
    assert found["1.num_batches_tracked"].dtype == "int64"


def test_a_folded_batch_norm_is_spoken_of(tmp_path: Path) -> None:
    module = trained(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    export(module, tmp_path / "m.onnx", (torch.randn(1, 3, 5, 5),), dynamo=False)
    with wtools.open(tmp_path / "m.onnx") as tree:
        found = translated(tree, "torch")
    assert set(found.tree) == {"0.weight", "0.bias"}
    assert any(note.startswith("0: ") and "BatchNorm" in note for note in found.notes)


def test_constants_of_the_graph_are_left_out_and_told(tmp_path: Path) -> None:
    export(trained(Everything()), tmp_path / "m.onnx", INPUTS, dynamo=False)
    report = wtools.convert(tmp_path / "m.onnx", tmp_path / "m.safetensors")
    assert report.summary["layout"] == "onnx to torch"
    assert any("constants of the graph" in note for note in report.notes)


def test_onnx_to_keras_layouts(tmp_path: Path) -> None:
    import keras

    module = trained(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))
    x = torch.randn(2, 7, 4)
    export(module, tmp_path / "m.onnx", (x,), dynamo=False)
    wtools.convert(tmp_path / "m.onnx", tmp_path / "m.h5")
    model = keras.Sequential([keras.layers.Dense(5, "tanh"), keras.layers.Dense(3)])
    model.build((None, 7, 4))
    with wtools.open(tmp_path / "m.h5") as tree:
        model.set_weights(
            [t.read() for name in ("0", "2") for t in tree.select(f"{name}/*").values()]
        )
    wanted = module(x).detach().numpy()
    assert np.allclose(np.asarray(model(x.numpy())), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("fc/MatMul.weight", "fc"),
        ("encoder/layer.0/attention/self/MatMul.weight", "encoder/layer/0/attention/self"),
        ("layer1/layer1.0/conv1/Conv.weight", "layer1/0/conv1"),
        ("layer1/layer1.0/down/down.0/Conv.weight", "layer1/0/down/0"),
        ("features/features.0/features.0.2/features.0.2.0/Conv.weight", "features/0/2/0"),
        ("MatMul_12.weight", ""),
    ],
)
def test_the_path_in_an_exporters_scopes(name: str, path: str) -> None:
    assert scope_path(name) == path


def test_wtools_own_graph_goes_to_torch_by_its_names(tmp_path: Path) -> None:
    """A graph that wtools made of a Keras model; its kernels have torch's axes already."""
    import keras

    x = keras.Input((8, 8, 3))
    y = keras.layers.SeparableConv2D(5, 3, name="sep")(keras.layers.Conv2D(4, 3, name="c1")(x))
    y = keras.layers.GlobalAveragePooling2D()(y)
    keras.Model(x, keras.layers.Dense(2, name="fc")(y)).save(tmp_path / "m.keras")
    wtools.convert(tmp_path / "m.keras", tmp_path / "m.onnx")
    with wtools.open(tmp_path / "m.keras") as direct, wtools.open(tmp_path / "m.onnx") as graph:
        wanted, found = wtools.translate(direct, "torch"), translated(graph, "torch").tree
        assert set(found) == set(wanted)
        for name, tensor in wanted.items():
            assert np.array_equal(found[name].read(), tensor.read())
        home = translated(graph, "keras").tree
        assert {name: t.shape for name, t in home.items()} == {
            n: t.shape for n, t in direct.items()
        }


class Twice(nn.Module):
    """Two products in one module, the first with a bias that is added at once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(4, 5)), nn.Parameter(torch.randn(3, 5))
        self.c = nn.Parameter(torch.randn(5))

    def forward(self, x: Any) -> Any:
        return (x @ self.a + self.c) @ self.b.T


@pytest.mark.parametrize("how", SOME[:2])
def test_no_weight_is_taken_for_a_constant(how: str, tmp_path: Path) -> None:
    module = nn.ModuleDict({"m": trained(Twice())})["m"]
    export(module, tmp_path / "m.onnx", (torch.randn(2, 3, 4),), **EXPORTS[how])
    with wtools.open(tmp_path / "m.onnx") as tree:
        found = translated(tree, "torch")
        values = [t.read().tobytes() for t in found.tree.values() if t.size > 4]
    for value in module.state_dict().values():
        turned = {value.numpy().tobytes(), np.ascontiguousarray(value.numpy().T).tobytes()}
        assert turned & set(values)
