"""Small networks and linear models trained on scikit-learn's digits, each in one known way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]

WAYS = (
    *("none", "L2", "L1", "L1 subgradient", "ElasticNet", "ElasticNet subgradient"),
    *("magnitude", "magnitude, tuned", "2:4", "slimming"),
)


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)


def network(hidden: Sequence[int], norms: bool = False) -> nn.Sequential:
    def block(i: int, o: int) -> list[nn.Module]:
        return [nn.Linear(i, o), *([nn.BatchNorm1d(o)] if norms else []), nn.ReLU()]

    widths = (64, *hidden)
    blocks = [layer for i, o in pairwise(widths) for layer in block(i, o)]
    return nn.Sequential(*blocks, nn.Linear(widths[-1], 10))


def trained(way: str, seed: int, epochs: int = 80, hidden: Sequence[int] = (96, 48)) -> Arrays:
    """The weights of a network trained in one of WAYS, as its state dict.

    Half of the runs of SGD end with a learning rate that falls to zero along a cosine.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    net = network(hidden, norms=way == "slimming" or (way == "none" and seed % 3 == 1))
    kernels = [p for p in net.parameters() if p.ndim == 2]
    gammas = [m.weight for m in net.modules() if isinstance(m, nn.BatchNorm1d)]
    x, y = digits()
    lr = float(rng.choice([0.05, 0.1, 0.2]))
    l1 = float(rng.choice([1e-4, 3e-4, 1e-3])) if way in ("L1", "ElasticNet") else 0.0
    l2 = float(rng.choice([3e-3, 1e-2])) if way == "L2" or way.startswith("Elastic") else 0.0
    penalty = float(rng.choice([3e-4, 1e-3])) if way.endswith("subgradient") else 0.0
    slim = float(rng.choice([1e-2, 3e-2])) if way == "slimming" else 0.0
    adam = way in ("none", "L1 subgradient", "magnitude", "2:4", "slimming") and seed % 2 == 0
    optimizer: Any = (
        torch.optim.Adam(net.parameters(), 5e-3 if slim else 2e-3)
        if adam
        else torch.optim.SGD(net.parameters(), lr, momentum=0.9, weight_decay=l2 if not l1 else 0)
    )
    decays = bool(rng.integers(2)) and not adam
    masks: dict[int, torch.Tensor] = {}

    def epoch() -> None:
        # how far a step goes in the long run: the penalty is as strong beside the loss as it says
        reach = optimizer.param_groups[0]["lr"] / (1 - 0.9)
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x[batch]), y[batch])
            loss = loss + penalty * sum(p.abs().sum() for p in kernels)
            loss = loss + slim * sum(p.abs().sum() for p in gammas)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for p in kernels:
                    if l1:  # the proximal step: soft threshold, then the shrinking of L2
                        p.copy_(p.sign() * (p.abs() - reach * l1).clamp(min=0) / (1 + reach * l2))
                    if id(p) in masks:
                        p.mul_(masks[id(p)])

    for k in range(epochs):
        if decays:
            optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * k / epochs)) / 2
        epoch()
    if way.startswith("magnitude"):
        share = float(rng.choice([0.5, 0.7, 0.9]))
        for p in kernels:
            masks[id(p)] = (p.abs() > p.abs().flatten().quantile(share)).float()
    if way == "2:4":
        for p in kernels:
            groups = p.detach().abs().reshape(-1, 4)
            keep = groups.argsort(dim=1)[:, 2:]
            masks[id(p)] = torch.zeros_like(groups).scatter_(1, keep, 1.0).reshape(p.shape)
    with torch.no_grad():
        for p in kernels:
            p.mul_(masks.get(id(p), 1.0))
    for _ in range(5 if "tuned" in way or (way == "2:4" and seed % 3 == 0) else 0):
        epoch()
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


# what `wtools sparsity` should say of each way
EXPECTED = {
    "none": "no sign of pruning or regularization",
    "L2": "L2 (weight decay)",
    "L1": "L1, proximal",
    "ElasticNet": "ElasticNet, proximal",
    "L1 subgradient": "L1, by subgradient",
    "ElasticNet subgradient": "ElasticNet, by subgradient",
    "magnitude": "magnitude pruning",
    "magnitude, tuned": "magnitude pruning",
    "2:4": "2:4 pruning",
    "slimming": "network slimming",
}
# of coefficients alone, which cannot tell more
LINEAR_EXPECTED = {
    "least squares": "least squares or L2 (Ridge)",
    "Ridge": "least squares or L2 (Ridge)",
    "Lasso": "L1 (or ElasticNet), proximal",
    "ElasticNet": "L1 (or ElasticNet), proximal",
    "logistic L1": "L1 (or ElasticNet), proximal",
    "logistic L2": "least squares or L2 (Ridge)",
}


def linear(way: str, seed: int) -> Arrays:
    """The coefficients of a linear model, one of LINEAR_EXPECTED."""
    model = fitted(way, seed)
    return {"coef_": model.coef_, "intercept_": np.atleast_1d(model.intercept_)}


def fitted(way: str, seed: int) -> Any:
    """The estimator itself. Of equal seeds the data and the strength of L1 are the same."""
    from sklearn import linear_model as models

    rng = np.random.default_rng(seed)
    x, y = load_digits(return_X_y=True)
    chosen = rng.permutation(len(x))[:1000]
    x, y = x[chosen] / 16, y[chosen]
    alpha = float(rng.choice([1e-3, 3e-3]))
    model = {
        "least squares": models.LinearRegression(),
        "Ridge": models.Ridge(float(rng.choice([0.1, 1, 10]))),
        "Lasso": models.Lasso(alpha),
        "ElasticNet": models.ElasticNet(2 * alpha, l1_ratio=0.5),
        "logistic L1": models.LogisticRegression(
            l1_ratio=1.0, solver="saga", C=float(rng.choice([0.1, 1])), max_iter=100
        ),
        "logistic L2": models.LogisticRegression(max_iter=100),
    }[way]
    return model.fit(x, y if way.startswith("logistic") else np.eye(10)[y])
