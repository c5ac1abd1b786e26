"""The real PyTorch files: names, shapes, types and every bit as torch loads them."""

from __future__ import annotations

import itertools
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wtools
from wtools import formats
from wtools.tree import WeightTree

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.corpus

DEEPLC = "deeplc-4.5.0/deeplc/package_data/models"
CHGNET = "chgnet-0.4.2/chgnet/pretrained"


class StandIn(torch.nn.Module):
    """A class of a package that is not installed; torch's own state_dict works on it."""

    def __new__(cls, *_: Any) -> Any:
        return super().__new__(cls)


class Unpickler(pickle.Unpickler):
    """Knows the classes that torch.load(weights_only=True) refuses, without their packages."""

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("onnx2torch"):
            if name[0].islower():
                return lambda *_: None
            return type(name, (StandIn,), {})
        if name == "reduce_graph_module":
            return _graph_module
        return super().find_class(module, name)


def _graph_module(body: dict[str, Any], _: str) -> Any:
    module = StandIn()
    module.__dict__.update(body)
    return module


STAND_IN = types.SimpleNamespace(
    Unpickler=Unpickler, load=pickle.load, __name__="stand-in", Pickler=pickle.Pickler
)


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """name -> tensor for nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return {prefix: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, Any] = {}
    for key, child in pairs:
        if isinstance(child, torch.Tensor | dict | list | tuple):
            found |= flat(child, f"{prefix}.{key}" if prefix else str(key))
    return found


def load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=STAND_IN)


def same(tree: WeightTree, theirs: dict[str, Any]) -> None:
    """Every name, shape, dtype and bit."""
    assert list(tree) == list(theirs)
    for name, tensor in tree.items():
        other = theirs[name].detach()
        assert tensor.shape == tuple(other.shape), name
        assert tensor.dtype == str(other.dtype)[len("torch.") :], name
        bits = other.numpy().tobytes()
        assert tensor.read().tobytes() == bits, name
        assert b"".join(block.tobytes() for block in tensor.packed_blocks()) == bits, name


STATE_DICTS: dict[str, Callable[[Any], Any]] = {
    f"{DEEPLC}/multitask_model.pt": lambda c: c,
    f"{DEEPLC}/multitask_flexcnn_model.pt": lambda c: c["state_dict"],
    f"{CHGNET}/0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar": lambda c: c["model"]["state_dict"],
    f"{CHGNET}/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar": lambda c: c["model"]["state_dict"],
    f"{CHGNET}/r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar": lambda c: c["model"][
        "state_dict"
    ],
    "Resemblyzer-0.1.4/resemblyzer/pretrained.pt": lambda c: c["model_state"],
    "facenet_pytorch-2.6.0/facenet_pytorch/data/pnet.pt": lambda c: c,
    "facenet_pytorch-2.6.0/facenet_pytorch/data/rnet.pt": lambda c: c,
    "facenet_pytorch-2.6.0/facenet_pytorch/data/onet.pt": lambda c: c,
}


@pytest.mark.parametrize("name", STATE_DICTS)
def test_a_state_dict_is_torchs(corpus: Path, name: str) -> None:
    loaded = load(corpus / name)
    with formats.open(corpus / name) as tree:
        theirs = flat(STATE_DICTS[name](loaded))
        same(tree, theirs)
        apart = dict(tree.apart)
        everything = {id(t) for t in flat(loaded).values()}
        if apart:
            (key,) = [k for k in loaded if k.startswith("optimizer")]
            same(apart.pop("optimizer"), flat(loaded[key]))
            everything -= {id(t) for t in flat(loaded[key]).values()}
        assert not apart and everything == {id(t) for t in theirs.values()}


def test_a_parameter_count(corpus: Path) -> None:
    with formats.open(corpus / "Resemblyzer-0.1.4/resemblyzer/pretrained.pt") as tree:
        assert (len(tree), tree.size) == (16, 1_423_618)
        assert len(tree) + len(tree.apart["optimizer"]) == 48
        storages = [t.storage for n, t in tree.items() if n.startswith("lstm.")]
        ends = sorted((s.offset, s.offset + s.nbytes) for s in storages if s)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))


def test_a_device_tag_is_told(corpus: Path) -> None:
    with formats.open(corpus / f"{CHGNET}/0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar") as tree:
        assert {t.facts["device"] for t in tree.values()} == {"cuda:7"}


@pytest.mark.parametrize("which", ["1fd8363d9af9dc", "8c22d89667368f", "cb975cfdd4105f"])
def test_a_whole_pickled_module(corpus: Path, which: str) -> None:
    (path,) = (corpus / DEEPLC).glob(f"full_hc_*{which}*.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    loaded = load(path)
    with formats.open(path) as tree:
        same(tree, dict(loaded.state_dict()))
        assert len(tree) == 58
        parameters = dict(loaded.named_parameters())
        for name, tensor in tree.items():
            assert tensor.trainable is (name in parameters and parameters[name].requires_grad)
            assert tensor.kind == type(loaded.get_submodule(tensor.layer)).__name__.replace(
                "StandIn", "GraphModule"
            )


def test_torchscript(corpus: Path) -> None:
    path = corpus / "silero_vad-6.2.3/silero_vad/data/silero_vad.jit"
    loaded = torch.jit.load(path)
    with wtools.open(path) as tree:
        same(tree, dict(loaded.state_dict()))
        assert tree.size == 545_282
        assert tree["_model.decoder.rnn.weight_ih"].kind == "LSTMCell"
