"""Tensors drawn by the real initializers of Keras, torch, timm, transformers, and what drew them.

Each case is (who, tree, expected): a tree of fresh weights, and for each tensor of 1,000 elements
or more the names of which one has to be the fit or tied with it.
"""

from __future__ import annotations

import importlib.util
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtools.tree import Tensor, WeightTree

LEAST = 1000  # elements of a tensor that is held against the truth


@dataclass(frozen=True)
class Case:
    """who: the framework; what: layer and initializer; expected: tensor -> names that are right.
    again: are these numbers those of an earlier case?"""

    who: str
    what: str
    tree: WeightTree
    expected: dict[str, set[str]]
    again: bool = False


def cases(seeds: Sequence[int]) -> Iterator[Case]:
    """All of them, for each seed."""
    for seed in seeds:
        yield from torch_defaults(seed)
        yield from torch_functions(seed)
        yield from timm_functions(seed)
        yield from keras_initializers(seed)
        yield from keras_layers(seed)
        yield from transformers_models(seed)


def of_module(module: Any, config: dict[str, Any] | None = None) -> WeightTree:
    tensors = [Tensor.of(k, v.detach().numpy()) for k, v in module.state_dict().items()]
    architecture = {"transformers": config} if config else None
    return WeightTree(tensors, format="pytorch", separator=".", architecture=architecture)


def expecting(tree: WeightTree, name_of: Callable[[Tensor], str]) -> dict[str, set[str]]:
    found = {t.name: set(name_of(t).split("|")) for t in tree.values() if t.size >= LEAST}
    return {name: names for name, names in found.items() if names != {""}}


# --- torch ---


def torch_defaults(seed: int) -> Iterator[Case]:
    """Layers as torch.nn draws them."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    width = int(rng.integers(16, 80))
    layers: dict[str, nn.Module] = {
        "linear": nn.Linear(int(rng.integers(30, 300)), int(rng.integers(40, 200))),
        "square_linear": nn.Linear(width, width),
        "conv1d": nn.Conv1d(width, 24, 5),
        "conv2d": nn.Conv2d(int(rng.integers(8, 32)), 32, 3),
        "conv3d": nn.Conv3d(4, 16, 3),
        "conv2d_transpose": nn.ConvTranspose2d(24, 12, 4),
        "depthwise": nn.Conv2d(128, 128, 3, groups=128),
        "embedding": nn.Embedding(int(rng.integers(60, 400)), width),
        "lstm": nn.LSTM(width, 32, num_layers=2, bidirectional=True),
        "gru": nn.GRU(width, 40),
        "rnn": nn.RNN(64, 50),
        "attention": nn.MultiheadAttention(48, 4),
    }

    def expected(what: str, tensor: Tensor) -> str:
        if what in ("lstm", "gru", "rnn"):
            return "torch_recurrent_default"
        if what == "embedding":
            return "normal_1"
        return "glorot_uniform" if "in_proj" in tensor.name else "torch_default"

    for what, layer in layers.items():
        # between two other layers, because what a layer is shows by its neighbours
        model = nn.Sequential()
        if what == "depthwise":
            model.append(nn.Conv2d(3, 128, 1))
        model.add_module(what, layer)
        tree = of_module(model)
        truth = expecting(tree, lambda t, w=what: expected(w, t))  # type: ignore[misc]
        yield Case("torch", f"{what}, default", tree, truth)
    tree = of_module(nn.TransformerEncoderLayer(32, 4, 96))
    truth = expecting(tree, lambda t: "glorot_uniform" if "in_proj" in t.name else "torch_default")
    yield Case("torch", "TransformerEncoderLayer, default", tree, truth)
    tree = of_module(nn.Transformer(32, 4, 1, 1, 96))
    yield Case("torch", "Transformer, default", tree, expecting(tree, lambda _: "glorot_uniform"))


def torch_functions(seed: int) -> Iterator[Case]:
    """Every function of torch.nn.init on dense and convolution weights."""
    import torch
    from torch import nn

    init = nn.init
    functions: dict[str, tuple[Callable[[Any], Any], str]] = {
        "xavier_uniform_": (init.xavier_uniform_, "glorot_uniform"),
        "xavier_normal_": (init.xavier_normal_, "glorot_normal"),
        "xavier_uniform_(relu)": (
            lambda w: init.xavier_uniform_(w, init.calculate_gain("relu")),
            "glorot_relu_uniform",
        ),
        "xavier_normal_(tanh)": (lambda w: init.xavier_normal_(w, 5 / 3), "glorot_tanh_normal"),
        "kaiming_uniform_": (init.kaiming_uniform_, "he_uniform"),
        "kaiming_normal_": (init.kaiming_normal_, "he_normal"),
        "kaiming_normal_(fan_out)": (
            lambda w: init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
            "he_fan_out_normal",
        ),
        "kaiming_normal_(linear)": (
            lambda w: init.kaiming_normal_(w, nonlinearity="linear"),
            "lecun_normal",
        ),
        "normal_(std=0.02)": (lambda w: init.normal_(w, std=0.02), "normal_0.02"),
        "normal_(std=0.01)": (lambda w: init.normal_(w, std=0.01), "normal_0.01"),
        "uniform_(-0.1, 0.1)": (lambda w: init.uniform_(w, -0.1, 0.1), "uniform_0.1"),
        "trunc_normal_(std=0.02)": (lambda w: init.trunc_normal_(w, std=0.02), "normal_0.02"),
        "trunc_normal_(std=1)": (init.trunc_normal_, "truncated_normal_1"),
        "orthogonal_": (init.orthogonal_, "orthogonal"),
        "orthogonal_(gain 2**0.5)": (lambda w: init.orthogonal_(w, 2**0.5), "orthogonal"),
        "zeros_": (init.zeros_, "zeros"),
        "ones_": (init.ones_, "ones"),
        "constant_(0.3)": (lambda w: init.constant_(w, 0.3), "constant 0.3"),
    }
    torch.manual_seed(1000 + seed)
    rng = np.random.default_rng(seed)
    for what, (draw, name) in functions.items():
        layers = [
            nn.Linear(int(rng.integers(25, 400)), int(rng.integers(40, 120))),
            nn.Conv2d(int(rng.integers(4, 24)), int(rng.integers(32, 64)), 3),
        ]
        for layer in layers:
            draw(layer.weight.data)
            tree = of_module(nn.Sequential(layer))
            truth = expecting(tree, lambda _, n=name: n)  # type: ignore[misc]
            yield Case("torch", f"{type(layer).__name__}, {what}", tree, truth)
    layer = nn.Linear(40, 40)
    init.eye_(layer.weight.data)
    tree = of_module(nn.Sequential(layer))
    yield Case("torch", "Linear, eye_", tree, expecting(tree, lambda _: "identity"))
    conv = nn.Conv2d(24, 32, 3)
    init.dirac_(conv.weight.data)
    tree = of_module(nn.Sequential(conv))
    yield Case("torch", "Conv2d, dirac_", tree, expecting(tree, lambda _: "dirac"))


# --- timm ---


def timm_initializers() -> Any:
    """timm/layers/weight_init.py alone, which needs torch only; None without timm."""
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "layers" / "weight_init.py"
    own = importlib.util.spec_from_file_location("timm_weight_init", path)
    assert own is not None and own.loader is not None
    module = importlib.util.module_from_spec(own)
    own.loader.exec_module(module)
    return module


def timm_functions(seed: int) -> Iterator[Case]:
    timm = timm_initializers()
    if timm is None:
        return
    import torch
    from torch import nn

    torch.manual_seed(2000 + seed)
    rng = np.random.default_rng(seed)
    functions: dict[str, tuple[Callable[[Any], Any], str]] = {
        "trunc_normal_(std=0.02)": (lambda w: timm.trunc_normal_(w, std=0.02), "normal_0.02"),
        "trunc_normal_tf_(std=0.02)": (
            lambda w: timm.trunc_normal_tf_(w, std=0.02),
            "truncated_normal_0.02",
        ),
        "lecun_normal_": (timm.lecun_normal_, "lecun_truncated_normal"),
        "variance_scaling_(2, fan_out, normal)": (
            lambda w: timm.variance_scaling_(w, 2.0, "fan_out", "normal"),
            "he_fan_out_normal",
        ),
        "variance_scaling_(1, fan_avg, uniform)": (
            lambda w: timm.variance_scaling_(w, 1.0, "fan_avg", "uniform"),
            "glorot_uniform",
        ),
    }
    for what, (draw, name) in functions.items():
        layer = nn.Linear(int(rng.integers(25, 400)), int(rng.integers(40, 120)))
        draw(layer.weight.data)
        tree = of_module(nn.Sequential(layer))
        truth = expecting(tree, lambda _, n=name: n)  # type: ignore[misc]
        yield Case("timm", f"Linear, {what}", tree, truth)
    model = nn.ModuleDict({"fc1": nn.Linear(48, 96), "fc2": nn.Linear(96, 48)})
    for name, module in model.named_modules():
        timm.init_weight_vit(module, name)
    tree = of_module(model)
    yield Case("timm", "init_weight_vit", tree, expecting(tree, lambda _: "normal_0.02"))
    model = nn.ModuleDict({"fc1": nn.Linear(48, 96), "conv": nn.Conv2d(8, 32, 3)})
    for name, module in model.named_modules():
        timm.init_weight_jax(module, name)
    tree = of_module(model)
    truth = expecting(
        tree, lambda t: "lecun_truncated_normal" if "conv" in t.name else "glorot_uniform"
    )
    yield Case("timm", "init_weight_jax", tree, truth)


# --- Keras ---


def keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    import keras

    return keras


_KERAS = {
    "glorot_uniform": "glorot_uniform",
    "glorot_normal": "glorot_truncated_normal",
    "he_uniform": "he_uniform",
    "he_normal": "he_truncated_normal",
    "lecun_uniform": "lecun_uniform",
    "lecun_normal": "lecun_truncated_normal",
    "random_uniform": "uniform_0.05",
    "random_normal": "normal_0.05",
    "truncated_normal": "truncated_normal_0.05",
    "orthogonal": "orthogonal",
    "zeros": "zeros",
    "ones": "ones",
}


def keras_initializers(seed: int) -> Iterator[Case]:
    """Every initializer of Keras on shapes of every kind of layer."""
    initializers = keras().initializers
    rng = np.random.default_rng(seed)
    for name, truth in _KERAS.items():
        ins, outs = int(rng.integers(20, 200)), int(rng.integers(50, 150))
        shapes: dict[str, tuple[int, ...]] = {
            "Dense": (ins, outs),
            "Conv2D": (3, 3, int(rng.integers(4, 20)), 32),
            "Conv1D": (5, 16, 40),
            "Conv2DTranspose": (4, 4, 8, 24),
            "Embedding": (200, ins),
        }
        for kind, shape in shapes.items():
            if name in ("zeros", "ones"):
                draw = initializers.get(name)
            else:  # a seed of its own: equal ones give equal numbers, times the scale
                own = zlib.crc32(f"{seed} {name} {kind}".encode())
                draw = initializers.get({"class_name": name, "config": {"seed": own}})
            leaf = "embeddings" if kind == "Embedding" else "kernel"
            tensor = Tensor.of(f"one/{leaf}", np.asarray(draw(shape)), layer="one", kind=kind)
            tree = WeightTree([tensor], format="keras", separator="/")
            yield Case("keras", f"{kind}, {name}", tree, {tensor.name: {truth}})


def keras_layers(seed: int) -> Iterator[Case]:
    """Layers as Keras draws them, through variables of the names that its files have."""
    k = keras()
    k.utils.set_random_seed(seed)
    layers = k.layers
    built: dict[str, tuple[Any, tuple[int, ...]]] = {
        "lstm": (layers.LSTM(32), (None, 5, 24)),
        "gru": (layers.GRU(32), (None, 5, 24)),
        "rnn": (layers.SimpleRNN(40), (None, 5, 32)),
        "conv_lstm": (layers.ConvLSTM2D(8, 3), (None, 3, 8, 8, 4)),
        "separable": (layers.SeparableConv2D(64, 3), (None, 8, 8, 32)),
        "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2), (None, 8, 8, 64)),
        "einsum": (layers.EinsumDense("abc,cde->abde", (None, 4, 12)), (None, 6, 30)),
    }
    for what, (layer, shape) in built.items():
        layer.build(shape)
        yield _of_layer(what, layer)
    attention = layers.MultiHeadAttention(4, 16)
    attention.build((None, 6, 40), (None, 6, 40))
    yield _of_layer("attention", attention)
    table = layers.Embedding(100, 24)
    table.build()
    yield _of_layer("embedding", table)


def _of_layer(what: str, layer: Any) -> Case:
    kind = type(layer).__name__
    tensors = []
    for variable in layer.weights:
        name = f"{what}/" + variable.path.partition("/")[2]
        tensors.append(Tensor.of(name, np.asarray(variable), layer=what, kind=kind))
    tree = WeightTree(tensors, format="keras", separator="/")

    def truth(tensor: Tensor) -> str:
        if what == "embedding":
            return "uniform_0.05"
        if "recurrent" in tensor.name:
            return "orthogonal"
        return "glorot_uniform" if tensor.ndim > 1 else ""

    return Case("keras", f"{what}, default", tree, expecting(tree, truth))


# --- transformers ---


def transformers_models(seed: int) -> Iterator[Case]:
    """Models of the library, small, from their configs."""
    import torch
    import transformers as tf

    tf.logging.set_verbosity_error()
    small: dict[str, Any] = {"hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96}
    torch.manual_seed(3000 + seed)
    gpt2 = tf.GPT2Config(n_embd=48, n_layer=3, n_head=4, vocab_size=300, n_positions=64)
    models: dict[str, tuple[Any, Callable[[Tensor], str]]] = {
        "GPT-2": (
            tf.GPT2LMHeadModel(gpt2),
            lambda t: "normal_residual_scaled" if "c_proj" in t.name else _INITIAL,
        ),
        "BERT": (
            tf.BertModel(tf.BertConfig(vocab_size=300, num_hidden_layers=2, **small)),
            lambda t: _INITIAL,
        ),
        "LLaMA": (
            tf.LlamaForCausalLM(tf.LlamaConfig(vocab_size=300, num_hidden_layers=2, **small)),
            lambda t: _INITIAL,
        ),
        "ViT": (
            tf.ViTModel(tf.ViTConfig(image_size=32, patch_size=8, num_hidden_layers=2, **small)),
            lambda t: _INITIAL,
        ),
        "T5": (
            tf.T5ForConditionalGeneration(
                tf.T5Config(vocab_size=300, d_model=48, d_kv=16, d_ff=96, num_layers=2, num_heads=4)
            ),
            _of_t5,
        ),
    }
    for what, (model, name_of) in models.items():
        for told in (model.config.to_dict(), None):
            tree = of_module(model, told)
            yield Case("transformers", what, tree, expecting(tree, name_of), again=told is None)


_INITIAL = "normal_initializer_range|normal_0.02"


def _of_t5(tensor: Tensor) -> str:
    if "shared" in tensor.name or "embed_tokens" in tensor.name or "lm_head" in tensor.name:
        return "normal_1"
    if tensor.name.endswith(".q.weight"):
        return "normal_t5_query"
    return "lecun_normal"
