"""Query, key and value in one layer here and in three there, or in a graph's product."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import wtools

WIDTH = 8


def values(path: Path) -> dict[str, Any]:
    with wtools.open(path) as tree:
        return {name: tensor.read(copy=True) for name, tensor in tree.items()}


def save(path: Path, names: tuple[str, str, str, str], turned: bool) -> dict[str, Any]:
    """Two blocks; names: norm, attention, up, down."""
    generator = torch.Generator().manual_seed(len(path.name))
    norm, attention, up, down = names
    state: dict[str, Any] = {}

    def linear(name: str, ins: int, outs: int) -> None:
        shape = (ins, outs) if turned else (outs, ins)
        state[f"{name}.weight"] = torch.randn(shape, generator=generator)
        state[f"{name}.bias"] = torch.randn(outs, generator=generator)

    for block in range(2):
        begin = f"h.{block}"
        state[f"{begin}.{norm}.weight"] = torch.randn(WIDTH, generator=generator)
        state[f"{begin}.{norm}.bias"] = torch.randn(WIDTH, generator=generator)
        if turned:
            linear(f"{begin}.{attention}.c_attn", WIDTH, 3 * WIDTH)
            linear(f"{begin}.{attention}.c_proj", WIDTH, WIDTH)
        else:
            for part in "qkvo":
                linear(f"{begin}.{attention}.{part}_proj", WIDTH, WIDTH)
        linear(f"{begin}.mlp.{up}", WIDTH, 4 * WIDTH)
        linear(f"{begin}.mlp.{down}", 4 * WIDTH, WIDTH)
    torch.save(state, path)
    return {name: value.numpy() for name, value in state.items()}


def test_gpt2s_fused_projection_and_three(tmp_path: Path) -> None:
    fused, split = tmp_path / "fused.pt", tmp_path / "split.pt"
    there = save(fused, ("ln_1", "attn", "c_fc", "c_proj"), turned=True)
    save(split, ("input_layernorm", "self_attn", "fc1", "fc2"), turned=False)
    report = wtools.convert(fused, tmp_path / "o.pt", like=str(split))
    assert report.summary["unmatched"] == [] and report.summary["unused"] == []
    found = values(tmp_path / "o.pt")
    for block in range(2):
        own = there[f"h.{block}.attn.c_attn.weight"]
        for at, part in enumerate("qkv"):
            columns = own[:, at * WIDTH : (at + 1) * WIDTH]
            assert np.array_equal(found[f"h.{block}.self_attn.{part}_proj.weight"], columns.T)
    wtools.convert(tmp_path / "o.pt", tmp_path / "home.pt", like=str(fused))
    home = values(tmp_path / "home.pt")
    assert all(np.array_equal(home[name], there[name]) for name in there)


def test_torchs_attention_goes_into_its_exported_graph(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

        def forward(self, x: Any) -> Any:
            return self.attn(x, x, x)[0]

    import onnxruntime

    torch.manual_seed(0)
    template, source = Net().eval(), Net().eval()
    x = torch.randn(2, 5, WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(template, (x,), str(tmp_path / "t.onnx"), dynamo=False)
    torch.save(source.state_dict(), tmp_path / "m.pt")
    wtools.convert(tmp_path / "m.pt", tmp_path / "o.onnx", like=str(tmp_path / "t.onnx"))
    session = onnxruntime.InferenceSession(
        str(tmp_path / "o.onnx"), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    np.testing.assert_allclose(found, source(x).detach().numpy(), rtol=1e-5, atol=1e-5)
