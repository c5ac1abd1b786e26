"""Small networks trained on scikit-learn's digits, with layers frozen at random or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from init_drawn import keras, of_module

from wtools.tree import Tensor, WeightTree


@dataclass(frozen=True)
class Trained:
    """frozen: the layers that training left as they were drawn."""

    what: str
    tree: WeightTree
    frozen: frozenset[str]


def digits() -> tuple[Any, Any]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def trained(seeds: Sequence[int]) -> Iterator[Trained]:
    for seed in seeds:
        yield from torch_networks(seed)
        yield keras_network(seed)


def torch_networks(seed: int) -> Iterator[Trained]:
    """Perceptron, convolutions, LSTM, transformer layer: each with its own optimizer and draw."""
    import torch
    from torch import nn

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # for such small products more only wait for one another
    nets: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "perceptron": (
            nn.Sequential(
                *(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 96), nn.ReLU()),
                *(nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 10)),
            ),
            (64,),
        ),
        "convolutions": (
            nn.Sequential(
                *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()),
                *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
                *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Flatten()),
                *(nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10)),
            ),
            (1, 8, 8),
        ),
        "lstm": (_Last(nn.LSTM(8, 40, num_layers=2, batch_first=True)), (8, 8)),
        "transformer": (_Last(nn.TransformerEncoderLayer(8, 2, 128, batch_first=True), 8), (8, 8)),
    }
    for what, (model, shape) in nets.items():
        scheme = str(
            rng.choice(["default", "xavier_uniform_", "kaiming_normal_", "xavier_normal_"])
        )
        if scheme != "default":
            for weight in model.parameters():
                if weight.ndim > 1:
                    getattr(nn.init, scheme)(weight.data)
        layers = [n for n, m in model.named_modules() if list(m.parameters(recurse=False))]
        share = rng.choice([0.0, 0.4])
        frozen = {n for n in layers[:-1] if rng.random() < share}
        for name, module in model.named_modules():
            if name in frozen:
                for weight in module.parameters(recurse=False):
                    weight.requires_grad_(False)
        optimizer = str(rng.choice(["SGD", "Adam", "AdamW"]))
        epochs = int(rng.integers(5, 21))
        _train(model, shape, optimizer, epochs)
        story = f"torch {what}, {scheme}, {optimizer}, {epochs} epochs"
        yield Trained(story, of_module(model), frozenset(frozen))


def _train(model: Any, shape: tuple[int, ...], optimizer: str, epochs: int) -> None:
    import torch

    x, y = (torch.from_numpy(a) for a in digits())
    x = x.reshape(-1, *shape)
    rate = {"SGD": {"lr": 0.05, "momentum": 0.9}}.get(optimizer, {"lr": 1e-3})
    live = [p for p in model.parameters() if p.requires_grad]
    step = getattr(torch.optim, optimizer)(live, **rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(64):
            step.zero_grad()
            torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            step.step()


def _Last(inner: Any, width: int = 40) -> Any:
    """The rows of the image one after the other; the last state to ten classes."""
    from torch import nn

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            self.head = nn.Linear(width, 10)

        def forward(self, x: Any) -> Any:
            found = self.inner(x)
            return self.head((found[0] if isinstance(found, tuple) else found)[:, -1])

    return Rows()


def keras_network(seed: int) -> Trained:
    """Dense, convolution and LSTM networks by turns."""
    k = keras()
    k.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    x, y = digits()
    scheme = str(rng.choice(["glorot_uniform", "he_normal", "lecun_normal", "he_uniform"]))
    own: dict[str, Any] = {"activation": "relu", "kernel_initializer": scheme}
    layers = k.layers
    if seed % 3 == 0:
        inner = [layers.Dense(128, **own), layers.Dense(64, **own)]
    elif seed % 3 == 1:
        inner = [
            layers.Reshape((8, 8, 1)),
            layers.Conv2D(24, 3, **own),
            layers.Conv2D(24, 3, **own),
        ]
        inner += [layers.Flatten(), layers.Dense(48, **own)]
    else:
        inner = [layers.Reshape((8, 8)), layers.LSTM(40), layers.Dense(48, **own)]
    model = k.Sequential([k.Input((64,)), *inner, layers.Dense(10)])
    own_weights = [layer for layer in model.layers if layer.weights]
    share = rng.choice([0.0, 0.4])
    for layer in own_weights[:-1]:
        layer.trainable = bool(rng.random() >= share)
    optimizer = str(rng.choice(["sgd", "adam", "rmsprop"]))
    loss = k.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    epochs = int(rng.integers(5, 21))
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    tensors = []
    for layer in own_weights:
        for variable in layer.weights:
            name = variable.path
            kind = type(layer).__name__
            tensors.append(Tensor.of(name, np.asarray(variable), layer=layer.name, kind=kind))
    frozen = frozenset(layer.name for layer in own_weights if not layer.trainable)
    tree = WeightTree(tensors, format="keras", separator="/")
    return replace(Trained("", tree, frozen), what=f"keras, {scheme}, {optimizer}, {epochs} epochs")
