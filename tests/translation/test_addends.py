"""Two biases that were added up come home as they were, unless their sum is another by now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch import nn

import wtools
from wtools.translation import addends, translated

Bits = dict[str, tuple[tuple[int, ...], str, bytes]]
KEPT = "two biases added up; both are kept for the way back"


def bits(path: Path) -> Bits:
    with wtools.open(path) as tree:
        return {name: (t.shape, t.dtype, t.read(copy=True).tobytes()) for name, t in tree.items()}


def module(hidden: int = 7, levels: int = 2) -> nn.Module:
    torch.manual_seed(0)
    layers = {
        "lstm": nn.LSTM(5, hidden, levels, bidirectional=True),
        "rnn": nn.RNN(3, 4),
        "cell": nn.LSTMCell(3, 4),
        "gru": nn.GRU(3, 4),
    }
    return nn.ModuleDict(layers)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    torch.save(module().state_dict(), tmp_path / "m.pt")
    return tmp_path / "m.pt"


@pytest.mark.parametrize("ending", ["h5", "weights.h5", "safetensors"])
def test_both_biases_come_home(source: Path, ending: str, tmp_path: Path) -> None:
    layout = {"layout": "keras"} if ending == "safetensors" else {}
    there, home = tmp_path / f"m.{ending}", tmp_path / "home.pt"
    report = wtools.convert(source, there, **layout)
    assert [note for note in report.notes if KEPT in note]
    assert not [note for note in report.notes if "lost" in note]
    wtools.convert(there, home)
    assert bits(home) == bits(source)
    wtools.convert(home, tmp_path / "again.h5")  # and so on, for ever
    wtools.convert(tmp_path / "again.h5", tmp_path / "last.pt")
    assert bits(tmp_path / "last.pt") == bits(source)


def test_in_memory_too(source: Path) -> None:
    with wtools.open(source) as tree:
        home = wtools.translate(wtools.translate(tree, "keras"), "torch")
        assert {n: t.read(copy=True).tobytes() for n, t in home.items()} == {
            n: t.read(copy=True).tobytes() for n, t in tree.items()
        }


def test_other_names_and_other_files_do_not_matter(source: Path, tmp_path: Path) -> None:
    wtools.convert(source, tmp_path / "m.h5", rename=[("^", "net/")])
    wtools.convert(tmp_path / "m.h5", tmp_path / "m.safetensors")  # still Keras' own
    wtools.convert(tmp_path / "m.safetensors", tmp_path / "home.pt")
    assert bits(tmp_path / "home.pt") == bits(source)


def trained(path: Path, name: str, values: Any) -> None:
    with h5py.File(path, "r+") as file:
        found: list[Any] = []
        file.visititems(lambda at, one: found.append(one) if at.endswith(name) else None)
        [dataset] = found
        dataset[...] = values(dataset[...])


def test_a_sum_that_was_trained_since_is_taken_as_it_is(source: Path, tmp_path: Path) -> None:
    wtools.convert(source, tmp_path / "m.h5")
    trained(tmp_path / "m.h5", "rnn/simple_rnn_cell/bias", lambda b: np.nextafter(b, b + 1))
    wtools.convert(tmp_path / "m.h5", tmp_path / "home.pt")
    before, after = bits(source), bits(tmp_path / "home.pt")
    assert {name for name in before if before[name] != after[name]} == {
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
    }
    with wtools.open(tmp_path / "m.h5") as there, wtools.open(tmp_path / "home.pt") as home:
        wanted = there["rnn/simple_rnn_cell/bias"].read()
        assert home["rnn.bias_ih_l0"].read().tobytes() == wanted.tobytes()
        assert not home["rnn.bias_hh_l0"].read().any()


@pytest.mark.parametrize(
    "told",
    [
        None,
        3,
        [],
        {},
        {"bias": "AAAA"},
        {"bias": "AAAA", "recurrent_bias": "AAAA"},
        {"bias": "?" * 24, "recurrent_bias": "é" * 24},
        {"bias": "A" * (1 << 20), "recurrent_bias": "A" * (1 << 20)},
        {"bias": 1, "recurrent_bias": {}},
        {"bias": "", "recurrent_bias": "", "more": ""},
    ],
)
def test_a_record_that_is_none_is_ignored(source: Path, told: Any, tmp_path: Path) -> None:
    wtools.convert(source, tmp_path / "m.safetensors", layout="keras")
    raw = (tmp_path / "m.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    carried = json.loads(header["__metadata__"]["wtools"])
    own = carried["translated"]["tensors"]["rnn/simple_rnn_cell/bias"]
    assert set(own["addends"]) == {"bias", "recurrent_bias"}
    own["addends"] = told
    header["__metadata__"]["wtools"] = json.dumps(carried)
    text = json.dumps(header).encode()
    changed = tmp_path / "changed.safetensors"
    changed.write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + size :])
    wtools.convert(changed, tmp_path / "home.pt")
    with wtools.open(source) as tree, wtools.open(tmp_path / "home.pt") as home:
        both = tree["rnn.bias_ih_l0"].read() + tree["rnn.bias_hh_l0"].read()
        assert home["rnn.bias_ih_l0"].read().tobytes() == both.tobytes()
        assert not home["rnn.bias_hh_l0"].read().any()
        assert home["cell.bias_hh"].read().tobytes() == tree["cell.bias_hh"].read().tobytes()


@pytest.mark.parametrize(
    ("target", "options"),
    [("m.h5", {"dtype": "float16"}), ("m.npz", {"layout": "keras"})],
    ids=["cast", "no metadata"],
)
def test_where_nothing_is_kept_it_is_said(
    source: Path, target: str, options: dict[str, str], tmp_path: Path
) -> None:
    notes = wtools.convert(source, tmp_path / target, **options).notes
    assert not [note for note in notes if "kept for the way back" in note]
    assert len([note for note in notes if "cannot tell them apart again" in note]) == 6


def test_a_cast_to_the_dtype_that_it_has_is_none(source: Path, tmp_path: Path) -> None:
    wtools.convert(source, tmp_path / "m.h5", dtype="float32")
    wtools.convert(tmp_path / "m.h5", tmp_path / "home.pt")
    assert bits(tmp_path / "home.pt") == bits(source)


def test_no_more_is_kept_than_there_is_room_for(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addends, "MOST", 600)
    with wtools.open(source) as tree:
        found = translated(tree, "keras")
        kept = [t.facts["translated"]["addends"] for t in found.tree.values() if _keeps(t)]
        assert 0 < sum(map(addends.nbytes, kept)) <= 600
        assert len(kept) + len(found.losses) == 6


def _keeps(tensor: wtools.Tensor) -> bool:
    return addends.KEY in tensor.facts.get("translated", {})


def test_keras_opens_a_file_of_many_attributes(tmp_path: Path) -> None:
    """What is kept here is many times what one attribute of HDF5 may have."""
    keras = pytest.importorskip("keras")
    torch.manual_seed(0)
    modules = {"it": nn.RNN(2, 3), **{f"c{i}": nn.LSTMCell(1, 64) for i in range(200)}}
    torch.save(nn.ModuleDict(modules).state_dict(), tmp_path / "m.pt")
    wtools.convert(tmp_path / "m.pt", tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert len([name for name in file.attrs if name.startswith("wtools")]) > 5
    wtools.convert(tmp_path / "m.h5", tmp_path / "home.pt")
    assert bits(tmp_path / "home.pt") == bits(tmp_path / "m.pt")
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.SimpleRNN(3, name="it")])
    model.load_weights(tmp_path / "m.h5", by_name=True)
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")
    wanted = modules["it"](torch.from_numpy(x).movedim(0, 1))[0][-1].detach().numpy()
    np.testing.assert_allclose(np.asarray(model(x)), wanted, rtol=1e-5, atol=1e-5)
