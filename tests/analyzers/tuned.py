"""Models with random subsets of their layers trained for one step, and which those are."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import nn

from wtools.tree import Tensor, WeightTree

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]
RATE = 1e-5
BF16 = np.dtype(ml_dtypes.bfloat16)


def through(array: Any, dtype: Any = BF16) -> Any:
    """`array` after a round trip through a narrower dtype; integers as they are."""
    return array.astype(dtype).astype(array.dtype) if array.dtype.kind == "f" else array


@dataclass(frozen=True)
class Tuned:
    """The weights before and after; trained: names of those that gradients moved; statistics:
    those that training mode moved.
    """

    base: Arrays
    tuned: Arrays
    trained: frozenset[str]
    statistics: frozenset[str] = frozenset()


def tree(arrays: Mapping[str, Any], separator: str = ".") -> WeightTree:
    return WeightTree(
        [Tensor.of(name, array) for name, array in arrays.items()], separator=separator
    )


def arrays(model: nn.Module) -> Arrays:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def bert(seed: int = 0) -> nn.Module:
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=300,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():  # as if it had been trained: no zeros, no ones
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class ResNet(nn.Module):
    """The names and the structure of torchvision's, small."""

    def __init__(self, channels: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels, 7, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.layer1 = nn.Sequential(Block(channels), Block(channels))
        self.layer2 = nn.Sequential(Block(channels), Block(channels))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer2(self.layer1(x)).mean((2, 3)))


def resnet(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = ResNet()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def step(model: nn.Module, kind: str, trained: frozenset[str], eval_mode: bool = False) -> None:
    """One step of AdamW at RATE on the parameters of those names."""
    model.train(not eval_mode)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=RATE) if chosen else None
    if kind == "bert":
        ids = torch.randint(0, 300, (8, 24))
        loss = model(ids, labels=torch.arange(8) % 2).loss
    else:
        loss = nn.functional.cross_entropy(model(torch.randn(8, 3, 12, 12)), torch.arange(8))
    if optimizer is not None:
        loss.backward()
        optimizer.step()


def tuned(kind: str, seed: int, start: str = "float32") -> Tuned:
    """kind: "bert" or "resnet", some layers of it trained for a step.

    start: the dtype on whose grid the weights are at first.
    """
    torch.set_num_threads(1)
    model = {"bert": bert, "resnet": resnet}[kind](seed)
    if start == "bfloat16":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.bfloat16().float())
    layers = sorted({name.rpartition(".")[0] for name, _ in model.named_parameters()})
    rng = random.Random(seed)
    chosen = set(rng.sample(layers, rng.randint(1, len(layers) - 1)))
    names = [n for n, _ in model.named_parameters() if n.rpartition(".")[0] in chosen]
    base = arrays(model)
    step(model, kind, frozenset(names))
    moving = frozenset(n for n in base if n.rpartition(".")[2] in ("running_mean", "running_var"))
    counted = frozenset(n for n in base if n.endswith("num_batches_tracked"))
    return Tuned(base, arrays(model), frozenset(names), moving | counted)
