"""`wtools layers`: rows, summary and notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools.analyzers.layer_map import layer_report
from wtools.cli import run
from wtools.errors import NameNotFoundError
from wtools.tree import Storage, Tensor, WeightTree


def tree() -> WeightTree:
    """Two alike layers, a tied head, and a norm whose kind names and shapes cannot tell."""
    shapes: dict[str, tuple[int, ...]] = {"tok.weight": (50, 8)}
    for i in range(2):
        for name in ("q", "k", "v", "o"):
            shapes[f"h.{i}.attn.{name}.weight"] = (8, 8)
        shapes |= {f"h.{i}.mlp.up.weight": (32, 8), f"h.{i}.mlp.up.bias": (32,)}
    shapes |= {"norm.weight": (8,), "lm_head.weight": (50, 8)}
    tied = Storage("f", 0, 1600)
    return WeightTree(
        [
            Tensor.of(name, np.zeros(shape, "f4"), storage=tied if shape == (50, 8) else None)
            for name, shape in shapes.items()
        ],
        separator=".",
    )


def test_a_row_for_each_tensor() -> None:
    report = layer_report(tree())
    row: Any = report.rows[1]
    assert (row.name, row.kind, row.role, row.axes) == (
        "h.0.attn.q.weight",
        "dense",
        "kernel",
        "o i",
    )
    assert (row.within, row.part, row.layer) == ("multi_head_attention", "query", "h.0.attn.q")
    assert row.evidence == "name+shape" and 0.5 < row.confidence < 1
    assert report.schema == "wtools.layers/1" and len(report) == len(tree())


def test_the_summary_counts_tied_tensors_once() -> None:
    summary = layer_report(tree()).summary
    assert summary["parameters"] == tree().size
    assert sum(summary["parameters_by_kind"].values()) == tree().size
    assert summary["parameters_by_kind"]["embedding"] == 400
    assert summary["fraction_by_evidence"] == {"name+shape": 1.0}
    assert summary["repeated"] == {"h.{0..1}": 2}


def test_doubts_are_notes() -> None:
    notes = layer_report(tree()).notes
    assert any("rms_norm or a layer norm without bias: norm" in note for note in notes)


def test_by_layer() -> None:
    rows: list[Any] = list(layer_report(tree(), by="layer").rows)
    up = next(row for row in rows if row.name == "h.0.mlp.up")
    assert (up.kind, up.role, up.count) == ("dense", "kernel+bias", 32 * 8 + 32)
    assert len(rows) == 13


def test_by_block() -> None:
    rows: list[Any] = list(layer_report(tree(), by="block").rows)
    assert rows[0].kind == "model" and rows[0].count == tree().size
    layers = [row for row in rows if row.kind == "transformer_layer"]
    assert [row.name for row in layers] == ["h.0", "h.1"]
    assert {row.family for row in layers} == {"h.{0..1}"}
    assert rows[1].kind == "stem" and rows[-1].kind == "head"


def test_matching_shows_less_and_knows_as_much() -> None:
    """A depthwise kernel is one only beside what makes its channels."""
    shapes = {"a.weight": (32, 3, 3, 3), "b.weight": (32, 1, 3, 3)}
    whole = WeightTree([Tensor.of(n, np.zeros(s, "f4")) for n, s in shapes.items()], separator=".")
    rows: list[Any] = list(layer_report(whole, match=["b.*"]).rows)
    assert [(row.name, row.kind) for row in rows] == [("b.weight", "depthwise_conv2d")]
    assert layer_report(whole, match=["b.*"], by="block").rows[0].tensors == 1
    with pytest.raises(NameNotFoundError):
        layer_report(whole, match=["c.*"])


@pytest.mark.parametrize("by", ["tensor", "layer", "block"])
def test_the_command(by: str, fixtures: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(fixtures / "onnx" / "torch_cnn.onnx")
    assert run(["layers", path, "--by", by, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["schema"] == "wtools.layers/1" and found["rows"]
    assert found["summary"]["fraction_by_evidence"] == {"graph": 1.0}


def test_every_good_fixture_has_layers(fixtures: Path) -> None:
    """Whatever a file holds, every tensor gets a row and no data is read."""
    paths = [p for kind in ("keras", "onnx", "pytorch", "npz") for p in (fixtures / kind).iterdir()]
    seen = 0
    for path in paths:
        if path.suffix in (".json", ".data") or path.is_dir():
            continue
        with wtools.open(path) as opened:
            for by in ("tensor", "layer", "block"):
                assert len(layer_report(opened, by=by).rows) > 0 or not opened  # type: ignore[arg-type]
        seen += 1
    assert seen > 50
