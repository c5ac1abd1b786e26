"""Pairs of models whose layers are known to be one another's, and how `--like` does on them.

Names, shapes and graphs alone, no values. The assignment's constants were set on Keras' and
torchvision's ResNet50, VGG16, InceptionV3, DenseNet121 and MobileNetV2, with names and order as
they are, without the graph, anonymous, and shuffled; the pairs here were not looked at then.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from wtools.conversion.recognition import Model
from wtools.translation import canonical
from wtools.translation.assignment import assign
from wtools.tree import LazyData, Tensor, WeightTree

Truth = Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """Two models and their pairs: path in the source -> path in the target."""

    name: str
    source: WeightTree
    target: WeightTree
    truth: Truth


@dataclass(frozen=True)
class Outcome:
    """Layers that have a partner; pairs by confidence, and how many of them are wrong."""

    layers: int
    sure: int
    sure_wrong: int
    likely: int
    likely_wrong: int
    undecided: int


def lazy(name: str, shape: Sequence[int], **fields: Any) -> Tensor:
    size = tuple(shape)
    return Tensor(name, size, "float32", LazyData(lambda: np.zeros(size, "float32")), **fields)


def of_torch(module: Callable[[], torch.nn.Module]) -> WeightTree:
    with torch.device("meta"):
        state = module().state_dict()
    tensors = [lazy(name, value.shape) for name, value in state.items() if value.ndim]
    return WeightTree(tensors, format="pytorch", separator=".", convention="torch")


def of_keras(model: Any) -> WeightTree:
    tensors = []
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name}/{variable.path.split('/')[-1]}"
            kind = type(layer).__name__
            tensors.append(lazy(name, variable.shape, layer=layer.name, kind=kind))
    config = {"class_name": type(model).__name__, "config": model.get_config()}
    known = {"keras": json.loads(json.dumps(config, default=_plain)), "version": "3.0"}
    return WeightTree(tensors, format="keras", convention="keras", architecture=known)


def _plain(value: Any) -> Any:
    import keras

    return keras.saving.serialize_keras_object(value)


# --- whose layer is whose ------------------------------------------------------------------------


def by_kind(source: WeightTree, target: WeightTree) -> Truth:
    """Layers of one kind in the order in which both were made."""
    sides = []
    for tree in (source, target):
        groups: dict[str, list[str]] = {}
        for layer in canonical(tree).layers:
            if layer.kind != "normalization":
                groups.setdefault(layer.kind, []).append(layer.path)
        sides.append(groups)
    truth: dict[str, str] = {}
    for kind, paths in sides[0].items():
        others = sides[1].get(kind, [])
        assert len(paths) == len(others), (kind, len(paths), len(others))
        truth |= zip(paths, others, strict=True)
    return truth


def renaming(source: WeightTree, rules: Sequence[tuple[str, str]]) -> Truth:
    truth = {}
    for layer in canonical(source).layers:
        path = layer.path
        for pattern, replacement in rules:
            path = re.sub(pattern, replacement, path)
        truth[layer.path] = path
    return truth


def _resnet_hf_to_torchvision(source: WeightTree) -> Truth:
    truth = {}
    for layer in canonical(source).layers:
        path = layer.path
        found = re.fullmatch(
            r".*stages/(\d)/layers/(\d)/(shortcut|layer/(\d))/(convolution|normalization)", path
        )
        if found:
            block = f"layer{int(found[1]) + 1}/{found[2]}"
            norm = found[5] == "normalization"
            if found[3] == "shortcut":
                truth[path] = f"{block}/downsample/{int(norm)}"
            else:
                truth[path] = f"{block}/{'bn' if norm else 'conv'}{int(found[4]) + 1}"
        elif "embedder" in path:
            truth[path] = "bn1" if path.endswith("normalization") else "conv1"
        else:
            truth[path] = "fc"
    return truth


def _resnet_keras_to_torchvision(source: WeightTree) -> Truth:
    truth = {}
    for layer in canonical(source).layers:
        found = re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer.path)
        if found:
            block = f"layer{int(found[1]) - 1}/{int(found[2]) - 1}"
            number = int(found[3])
            own = f"{found[4]}{number}" if number else f"downsample/{int(found[4] == 'bn')}"
            truth[layer.path] = f"{block}/{own}"
        else:
            truth[layer.path] = {"conv1_conv": "conv1", "conv1_bn": "bn1"}.get(layer.path, "fc")
    return truth


# --- the cases -----------------------------------------------------------------------------------


def cases() -> Iterator[Case]:
    """Held back while the constants were set."""
    import keras
    import transformers as hf
    from models_torchvision import MobileNetV2, ResNet50

    hf_resnet = of_torch(lambda: hf.ResNetForImageClassification(hf.ResNetConfig(num_labels=1000)))
    torchvision = of_torch(ResNet50)
    truth = _resnet_hf_to_torchvision(hf_resnet)
    yield Case("transformers ResNet-50, torchvision", hf_resnet, torchvision, truth)
    back = {other: one for one, other in truth.items()}
    keras_resnet = of_keras(keras.applications.ResNet50(weights=None))
    own = {k: back[t] for k, t in _resnet_keras_to_torchvision(keras_resnet).items()}
    yield Case("Keras ResNet50, transformers", keras_resnet, hf_resnet, own)

    hf_mobile = of_torch(
        lambda: hf.MobileNetV2ForImageClassification(hf.MobileNetV2Config(num_labels=1000))
    )
    keras_mobile = of_keras(keras.applications.MobileNetV2(weights=None))
    mobile = of_torch(MobileNetV2)
    yield Case(
        *("Keras MobileNetV2, transformers", keras_mobile, hf_mobile),
        by_kind(keras_mobile, hf_mobile),
    )
    yield Case(
        *("transformers MobileNetV2, torchvision", hf_mobile, mobile), by_kind(hf_mobile, mobile)
    )
    hf_efficient = of_torch(
        lambda: hf.EfficientNetForImageClassification(
            hf.EfficientNetConfig(
                width_coefficient=1.0,
                depth_coefficient=1.0,
                hidden_dim=1280,
                image_size=224,
                num_labels=1000,
            )
        )
    )
    efficient = of_keras(keras.applications.EfficientNetB0(weights=None))
    yield Case(
        *("Keras EfficientNetB0, transformers", efficient, hf_efficient),
        by_kind(efficient, hf_efficient),
    )
    bert = of_torch(lambda: hf.BertModel(hf.BertConfig(num_hidden_layers=6)))
    rules = [
        ("encoder(.)layer", r"transformer\1h"),
        ("attention(.)self", "attn"),
        ("intermediate(.)dense", r"mlp\1fc_in"),
        ("LayerNorm", "ln"),
    ]
    yield Case("BERT, its modules renamed", bert, bert.rename(rules), renaming(bert, rules))
    distil = of_torch(lambda: hf.DistilBertModel(hf.DistilBertConfig(n_layers=6)))
    block, there = r"transformer/layer/(\d+)", r"encoder/layer/\1"
    rules = [
        (rf"{block}/attention/q_lin", rf"{there}/attention/self/query"),
        (rf"{block}/attention/k_lin", rf"{there}/attention/self/key"),
        (rf"{block}/attention/v_lin", rf"{there}/attention/self/value"),
        (rf"{block}/attention/out_lin", rf"{there}/attention/output/dense"),
        (rf"{block}/sa_layer_norm", rf"{there}/attention/output/LayerNorm"),
        (rf"{block}/ffn/lin1", rf"{there}/intermediate/dense"),
        (rf"{block}/ffn/lin2", rf"{there}/output/dense"),
        (rf"{block}/output_layer_norm", rf"{there}/output/LayerNorm"),
    ]
    yield Case("DistilBERT, transformers BERT", distil, bert, renaming(distil, rules))


def anonymous(tree: WeightTree, seed: int = 1) -> tuple[WeightTree, dict[str, str]]:
    """The tree with a random word for each layer, and the paths these were."""
    rng = random.Random(seed)
    names: dict[str, str] = {}
    tensors = []
    for tensor in tree.values():
        layer, leaf = tensor.name.rsplit(tree.separator, 1)
        word = names.setdefault(layer, "".join(rng.choices("abcdefghij", k=9)))
        name = f"{word}{tree.separator}{leaf}"
        own = word if tensor.layer else ""
        tensors.append(replace(tensor, name=name, stored=name, layer=own))
    paths = {word: layer.replace(tree.separator, "/") for layer, word in names.items()}
    return tree.replace(tensors, architecture=None), paths


def shuffled(tree: WeightTree, seed: int = 1) -> WeightTree:
    """The tree with its layers in another order."""
    groups: dict[str, list[Tensor]] = {}
    for tensor in tree.values():
        groups.setdefault(tensor.name.rsplit(tree.separator, 1)[0], []).append(tensor)
    keys = list(groups)
    random.Random(seed).shuffle(keys)
    return tree.replace(tensor for key in keys for tensor in groups[key])


def variants(case: Case) -> Iterator[tuple[str, Case]]:
    """The case as it is, and with what it tells taken away."""
    yield "as they are", case
    if case.source.architecture is not None:
        yield "no graph", replace(case, source=_bare(case.source))
    yield "template shuffled", replace(case, target=shuffled(case.target))
    unnamed, paths = anonymous(case.target)
    back = {old: word for word, old in paths.items()}
    truth = {one: back.get(other, "?") for one, other in case.truth.items()}
    yield "template anonymous", replace(case, target=unnamed, truth=truth)
    yield "anonymous and shuffled", replace(case, target=shuffled(unnamed), truth=truth)


def _bare(tree: WeightTree) -> WeightTree:
    return tree.replace(tree.values(), architecture=None)


def outcome(case: Case) -> Outcome:
    one, other = (Model.of(tree, canonical(tree)) for tree in (case.source, case.target))
    result = assign(one.side, other.side)
    there = {item.path for item in other.side.items}
    partners = {s: t for s, t in case.truth.items() if t in there}
    counts = [0, 0, 0, 0]
    for pair in result.pairs:
        right = partners.get(one.side.items[pair.source].path)
        at = 0 if pair.confidence >= 0.9 else 2
        counts[at] += 1
        counts[at + 1] += right != other.side.items[pair.target].path
    undecided = len(partners) - sum(counts[::2])
    return Outcome(len(partners), *counts, max(0, undecided))


def wrong(case: Case) -> Iterator[tuple[str, str, float]]:
    """The pairs that are not as they should be, for a person to look at."""
    one, other = (Model.of(tree, canonical(tree)) for tree in (case.source, case.target))
    for pair in assign(one.side, other.side).pairs:
        source, target = one.side.items[pair.source].path, other.side.items[pair.target].path
        if case.truth.get(source) != target:
            yield source, target, pair.confidence


def table(rows: Iterable[tuple[str, str, Outcome]]) -> str:
    """The outcomes as Markdown."""
    lines = [
        "| models | | layers | 0.9 and more | wrong | 0.7 to 0.9 | wrong | not decided |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, variant, o in rows:
        cells = (o.layers, o.sure, o.sure_wrong, o.likely, o.likely_wrong, o.undecided)
        lines.append(f"| {name} | {variant} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)
