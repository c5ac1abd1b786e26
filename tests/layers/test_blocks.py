"""Blocks: stem, stages, layers, head, and what repeats."""

from __future__ import annotations

from collections.abc import Callable

import layers_nets as nets
import numpy as np
import pytest
import transformers
from layers_truth import tree_of
from models_torchvision import VGG16, DenseNet121, InceptionV3, MobileNetV2, ResNet50
from torch import nn

from wtools.layers import Block, blocks, layer_map
from wtools.tree import Tensor, WeightTree

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=100))


def t5() -> nn.Module:
    config = transformers.T5Config(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    return transformers.T5Model(config)


def found_in(model: nn.Module) -> Block:
    return blocks(layer_map(tree_of(model.state_dict())))


def units(model: nn.Module) -> list[tuple[str, str]]:
    return [(unit.kind, unit.path) for unit in found_in(model).units()]


def families(block: Block) -> set[str]:
    return {below.family for below in block.walk() if below.family}


def test_resnet_has_stem_stages_blocks_and_head() -> None:
    root = found_in(ResNet50(width=8))
    assert [child.kind for child in root.children] == ["stem", *["stage"] * 4, "head"]
    assert root.children[0].layers == ("conv1", "bn1") and root.children[-1].layers == ("fc",)
    counts = [sum(b.kind == "block" for b in stage.walk()) for stage in root.children[1:-1]]
    assert counts == [3, 4, 6, 3]
    assert families(root) == {
        "layer1.{1..2}",
        "layer2.{1..3}",
        "layer3.{1..5}",
        "layer4.{1..2}",
    }


def test_encoder_layers_of_bert() -> None:
    root = found_in(bert())
    assert families(root) == {"encoder.layer.{0..2}"}
    assert [unit.kind for unit in root.units()] == ["stem", *["encoder_layer"] * 3, "head"]
    layer = root.units()[1]
    assert [child.path for child in layer.children if child.kind == "attention"]


def test_encoder_and_decoder_of_t5() -> None:
    kinds = [kind for kind, _ in units(t5())]
    assert kinds.count("encoder_layer") == kinds.count("decoder_layer") == 2
    assert {"encoder", "decoder"} <= {block.kind for block in found_in(t5()).walk()}


def test_a_decoder_is_known_by_its_second_attention() -> None:
    root = found_in(nets.torch_transformer())
    kinds = {block.path: block.kind for block in root.walk()}
    assert kinds["encoder.layers.1"] == "encoder_layer"
    assert kinds["decoder.layers.1"] == "decoder_layer"


def test_inception_and_mobilenet_blocks() -> None:
    paths = [path for kind, path in units(InceptionV3()) if kind == "block"]
    last = {5: "bcd", 6: "abcde", 7: "abc"}
    assert paths == [f"Mixed_{i}{letter}" for i, letters in last.items() for letter in letters]
    paths = [path for kind, path in units(MobileNetV2()) if kind == "block"]
    assert paths == [f"features.{i}" for i in range(1, 18)]


def test_without_repetition_there_are_body_and_head() -> None:
    found = found_in(VGG16(width=8)).units()
    assert [len(unit.layers) for unit in found] == [13, 3] and found[-1].kind == "head"
    assert [kind for kind, _ in units(nets.mnist())] == ["body", "head"]


def keras_resnet() -> WeightTree:
    """A flat tree with the names of keras.applications' ResNet50."""
    names = ["conv1_conv", "conv1_bn"]
    for stage, count in ((2, 3), (3, 4)):
        for block in range(1, count + 1):
            for part in ("0", "1", "2", "3") if block == 1 else ("1", "2", "3"):
                names += [f"conv{stage}_block{block}_{part}_{kind}" for kind in ("conv", "bn")]
    tensors = []
    for name in [*names, "predictions"]:
        leaves = ("gamma", "beta", "moving_mean", "moving_variance")
        shapes = dict.fromkeys(leaves, (8,)) if name.endswith("bn") else {"kernel": (1, 1, 8, 8)}
        shapes = {"kernel": (8, 10)} if name == "predictions" else shapes
        tensors += [Tensor.of(f"{name}/{k}", np.zeros(v, "f4")) for k, v in shapes.items()]
    return WeightTree(tensors)


def test_flat_names_have_blocks_too() -> None:
    root = blocks(layer_map(keras_resnet()))
    found = [(unit.kind, unit.path) for unit in root.units()]
    assert found[0][0] == "stem" and found[-1][0] == "head"
    wanted = [("block", f"conv2_block{i}") for i in range(1, 4)]
    assert found[1:-1] == wanted + [("block", f"conv3_block{i}") for i in range(1, 5)]
    assert families(root) == {"conv2_block{2..3}", "conv3_block{2..4}"}
    assert [child.kind for child in root.children] == ["stem", "stage", "stage", "head"]


@pytest.mark.parametrize(
    "make", [ResNet50, DenseNet121, InceptionV3, nets.UNet, nets.ConvNext, bert, t5, nets.mnist]
)
@pytest.mark.parametrize("by_text", [False, True], ids=["stored order", "sorted by text"])
def test_units_hold_every_layer_once(make: Callable[[], nn.Module], by_text: bool) -> None:
    state = dict(make().state_dict())
    tree = tree_of(dict(sorted(state.items())) if by_text else state)
    found = layer_map(tree)
    layers = [layer for unit in blocks(found).units() for layer in unit.layers]
    assert len(layers) == len(set(layers))
    assert set(layers) == set(found.layers())
