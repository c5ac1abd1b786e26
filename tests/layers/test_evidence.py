"""What a file says of its layers is believed: configs, pickled classes, ONNX graphs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import layers_nets as nets
import numpy as np
import pytest
import torch
from layers_truth import OTHER, truth_of
from models_torchvision import MobileNetV2, ResNet50
from torch import nn

import wtools
from wtools.layers import layer_map
from wtools.layers.kinds import KINDS, WRAPPERS, kind_of_class
from wtools.tree import Tensor, WeightTree

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def kinds(tree: WeightTree) -> dict[str, str]:
    return {name: role.meaning.kind for name, role in layer_map(tree).tensors.items()}


def bare(tree: WeightTree) -> WeightTree:
    """The names, shapes and values of a tree, and nothing of what the file says beside them."""
    return tree.replace(
        [replace(t, kind="", layer="", facts={}) for t in tree.values()], architecture=None
    )


KERAS = ["zoo.keras", "keras2_zoo.h5", "keras2_zoo.keras", "nested.h5", "nested.keras"]


@pytest.mark.parametrize("name", [*KERAS, "mnist_cnn.h5", "shared.h5", "int8.keras"])
def test_keras_files_say_every_kind(name: str, fixtures: Path) -> None:
    with wtools.open(fixtures / "keras" / name) as tree:
        found = layer_map(tree)
        for tensor_name, role in found.tensors.items():
            assert role.meaning.evidence == "config" and role.meaning.confidence == 1
            kind, wanted = role.meaning.kind, kind_of_class(role.tensor.kind)
            assert kind in KINDS and kind != "unknown", tensor_name
            if role.tensor.kind not in WRAPPERS:
                assert kind in (wanted, "quantized_linear"), tensor_name


def test_wrappers_name_the_layer_inside(fixtures: Path) -> None:
    with wtools.open(fixtures / "keras" / "zoo.keras") as tree:
        found = {name: role.meaning for name, role in layer_map(tree).tensors.items()}
    backward = found["bi/backward_l/lstm_cell/recurrent_kernel"]
    assert (backward.kind, backward.within, backward.part) == ("lstm", "bidirectional", "backward")
    assert (found["td/each/bias"].kind, found["td/each/bias"].within) == (
        "dense",
        "time_distributed",
    )
    assert found["stack/stacked_rnn_cells/c1/kernel"].kind == "lstm"
    assert found["stack/stacked_rnn_cells/c2/kernel"].kind == "gru"
    assert found["gru/gru_cell/bias"].note == "reset_after"


@pytest.mark.parametrize(
    ("name", "least"), [("zoo.keras", 0.97), ("keras2_zoo.h5", 0.99), ("mnist_cnn.h5", 0.99)]
)
def test_keras_names_alone_tell_most(name: str, least: float, fixtures: Path) -> None:
    """Not an EinsumDense with two axes, nor group norm from layer norm: they look alike."""
    with wtools.open(fixtures / "keras" / name) as tree:
        truth, found = kinds(tree), kinds(bare(tree))
        right = sum(t.size for t in tree.distinct() if found[t.name] == truth[t.name])
        assert right / tree.size >= least


@pytest.mark.parametrize(
    "make",
    [lambda: ResNet50(width=8), nets.UNet, nets.Cells, nets.instance_normed, nets.Attention],
)
def test_pickled_modules_say_their_classes(make: Callable[[], nn.Module], tmp_path: Path) -> None:
    """Also what names and shapes cannot tell: instance norm."""
    model = make()
    torch.save(model, tmp_path / "model.pt")
    truth = truth_of(model)
    with wtools.open(tmp_path / "model.pt") as tree:
        for name, kind in kinds(tree).items():
            assert kind == truth[name] or (truth[name] == "other" and kind in OTHER), name


def test_a_class_beats_the_guess(tmp_path: Path) -> None:
    """A square transposed convolution without a telling name."""
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ConvTranspose2d(8, 8, 3), nn.GroupNorm(2, 8))
    torch.save(model, tmp_path / "model.pt")
    with wtools.open(tmp_path / "model.pt") as tree:
        found = layer_map(tree).tensors
        assert found["1.weight"].meaning.kind == "conv2d_transpose"
        assert found["1.weight"].meaning.axes == "i o h w"
        assert found["2.weight"].meaning.kind == "group_norm"
        assert kinds(bare(tree))["1.weight"] == "conv2d"


def export(model: nn.Module, inputs: tuple[Any, ...], path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = torch.onnx.TrainingMode.PRESERVE  # batch norms are not folded into convolutions
        torch.onnx.export(
            model.eval(), inputs, str(path), dynamo=False, opset_version=17, training=kept
        )


def assert_graph_is_right(model: nn.Module, path: Path) -> None:
    """Every initializer that is one of the model's tensors has its module's kind."""
    truth = truth_of(model)
    by_value: dict[object, set[str]] = {}
    for name, value in model.state_dict().items():
        for array in (value.numpy(), value.numpy().T):
            by_value.setdefault((array.shape, array.tobytes()), set()).add(truth[name])
    seen = 0
    with wtools.open(path) as tree:
        for name, role in layer_map(tree).tensors.items():
            wanted = by_value.get((role.tensor.shape, role.tensor.read().tobytes()))
            if wanted is None or "other" in wanted or len(set(role.tensor.read().flat)) < 2:
                continue
            assert role.meaning.kind in wanted, name
            assert role.meaning.evidence == "graph", name
            seen += role.tensor.size
        assert seen > 0.5 * tree.size


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: ResNet50(width=8), (1, 3, 64, 64)),
        (MobileNetV2, (1, 3, 64, 64)),
        (nets.mnist_module, (1, 1, 28, 28)),
        (nets.perceptron, (2, 20)),
        (nets.generator, (1, 100, 1, 1)),
        (lambda: nn.LSTM(4, 5, bidirectional=True), (3, 2, 4)),
        (lambda: nn.GRU(4, 5), (3, 2, 4)),
    ],
)
def test_onnx_graphs_say_every_kind(
    make: Callable[[], nn.Module], shape: tuple[int, ...], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = make()
    export(model, (torch.randn(shape),), tmp_path / "model.onnx")
    assert_graph_is_right_or_recurrent(model, tmp_path / "model.onnx")


def assert_graph_is_right_or_recurrent(model: nn.Module, path: Path) -> None:
    if not isinstance(model, nn.RNNBase):
        return assert_graph_is_right(model, path)
    with wtools.open(path) as tree:
        found = {r.meaning.role: r.meaning for r in layer_map(tree).tensors.values()}
    both = "bidirectional" if model.bidirectional else ""
    for role in ("kernel", "recurrent_kernel", "biases"):
        assert (found[role].kind, found[role].within) == (model.mode.lower(), both)
        assert found[role].evidence == "graph"
    return None


class Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        if hasattr(self.model, "decoder"):
            return self.model(input_ids=inputs[0], decoder_input_ids=inputs[0])[0]
        return self.model(inputs[0])[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bert", "t5", "vit"])
def test_onnx_graphs_of_transformers_say_every_kind(name: str, tmp_path: Path) -> None:
    import transformers as hf

    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    models = {
        "bert": lambda: hf.BertForMaskedLM(hf.BertConfig(**small, intermediate_size=96)),
        "t5": lambda: hf.T5Model(hf.T5Config(d_model=64, d_ff=96, num_layers=2, vocab_size=200)),
        "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**small, intermediate_size=96)),
    }
    torch.manual_seed(0)
    model = models[name]()
    for parameter in model.parameters():  # so that no two tensors are the same ones
        nn.init.normal_(parameter)
    inputs = torch.randn(1, 3, 224, 224) if name == "vit" else torch.randint(1, 100, (1, 8))
    wrapped = Logits(model)
    export(wrapped, (inputs,), tmp_path / "model.onnx")
    assert_graph_is_right(wrapped, tmp_path / "model.onnx")


def test_quantized_graphs(fixtures: Path) -> None:
    for name in ("qdq", "qoperator", "dynamic"):
        with wtools.open(fixtures / "onnx" / f"{name}.onnx") as tree:
            found = layer_map(tree).tensors
            assert found["conv.weight_quantized"].meaning.kind == "conv2d"
            assert found["conv.weight_scale"].meaning.kind == "quantization"
            assert found["head.weight_quantized"].meaning.kind == "dense"


def test_linear_models(fixtures: Path) -> None:
    with wtools.open(fixtures / "onnx" / "sklearn_logistic.onnx") as tree:
        found = {name: role.meaning for name, role in layer_map(tree).tensors.items()}
    kernel = found["LinearClassifier.coefficients"]
    assert (kernel.kind, kernel.role, kernel.axes, kernel.evidence) == (
        *("linear_model", "kernel"),
        *("o i", "graph"),
    )
    assert found["Scaler.offset"].kind == "normalization"


@pytest.mark.parametrize("config", [True, 3, "x", None, {"layers": 3}, [[]], {"layers": [None]}])
def test_a_config_that_is_none_says_nothing(config: object) -> None:
    known = {"keras": {"class_name": "Functional", "config": config}}
    tensor = Tensor.of("dense/kernel", np.zeros((2, 3)), layer="dense", kind="Dense")
    found = layer_map(WeightTree([tensor], architecture=known))
    assert found.tensors["dense/kernel"].meaning.kind == "dense"
