"""The tables are true: a layer's weights, moved by them alone, compute the same elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from wtools.layouts import Layout, keras, onnx, rearrange, reorder_gates
from wtools.layouts import torch as torch_layouts
from wtools.layouts.axes import parse

Arrays = dict[str, Any]


def letters(axes: str) -> list[str]:
    return [name for name in re.findall(r"\w+", axes) if name != "1"]


def canonical(layout: Layout, stored: Mapping[str, Any], known: dict[str, int]) -> Arrays:
    """Role -> array with one axis for each letter, in alphabetical order; gates likewise."""
    found: Arrays = {}
    for role, entry in layout.roles.items():
        name = next((n for n in entry.names if n in stored), None)
        if name is None:
            continue
        names = sorted(letters(entry.axes))
        array = rearrange(np.asarray(stored[name]), entry.axes, " ".join(names), known)
        if "g" in names:
            order = " ".join(sorted(layout.gates.split()))
            array = reorder_gates(array, names.index("g"), layout.gates, order)
        if entry.holds:
            parts = np.moveaxis(array, names.index(entry.along), 0)
            found |= dict(zip(entry.holds, parts, strict=True))
        else:
            found[role] = array
    return found


def stored_as(layout: Layout, roles: Arrays, known: dict[str, int]) -> Arrays:
    """First spelling of each stored name -> array, from canonical roles."""
    found: Arrays = {}
    for role, entry in layout.roles.items():
        names = sorted(letters(entry.axes))
        if entry.holds:
            if not all(part in roles for part in entry.holds):
                continue
            at = names.index(entry.along)
            array = np.stack([roles[part] for part in entry.holds], at)
        elif role in roles:
            array = roles[role]
        else:
            continue
        if "g" in names:
            order = " ".join(sorted(layout.gates.split()))
            array = reorder_gates(array, names.index("g"), order, layout.gates)
        sized = dict(zip(names, array.shape, strict=True)) | known
        found[entry.names[0]] = rearrange(array, " ".join(names), entry.axes, sized)
    return found


def fill(layer: Any, rng: np.random.Generator) -> None:
    layer.set_weights([rng.normal(size=w.shape).astype("float32") * 0.5 for w in layer.weights])


def keras_weights(layer: Any) -> Arrays:
    """Name within the layer (`query/kernel`, `kernel`) -> values."""
    found = {}
    for weight in layer.weights:
        parts = weight.path.split("/")
        name = "/".join(parts[-2:]) if parts[-2] in PROJECTIONS else parts[-1]
        found[name] = np.asarray(weight)
    return found


PROJECTIONS = ("query", "key", "value", "attention_output")
MODULES: dict[str, tuple[str, dict[str, Any], tuple[int, ...], Any, dict[str, int]]] = {
    # kind: Keras class, its options, input (channels last), torch module, sizes to know
    "dense": ("Dense", {"units": 5}, (2, 3), lambda: nn.Linear(3, 5), {}),
    "conv1d": (
        *("Conv1D", {"filters": 6, "kernel_size": 3, "groups": 2}, (2, 9, 4)),
        *(lambda: nn.Conv1d(4, 6, 3, groups=2), {}),
    ),
    "conv2d": (
        *("Conv2D", {"filters": 5, "kernel_size": (3, 2)}, (2, 8, 9, 4)),
        *(lambda: nn.Conv2d(4, 5, (3, 2)), {}),
    ),
    "conv3d": (
        *("Conv3D", {"filters": 5, "kernel_size": (2, 3, 1)}, (2, 5, 6, 7, 3)),
        *(lambda: nn.Conv3d(3, 5, (2, 3, 1)), {}),
    ),
    "conv1d_transpose": (
        *("Conv1DTranspose", {"filters": 5, "kernel_size": 3, "strides": 2}, (2, 6, 4)),
        *(lambda: nn.ConvTranspose1d(4, 5, 3, 2), {}),
    ),
    "conv2d_transpose": (
        *("Conv2DTranspose", {"filters": 5, "kernel_size": (3, 2), "strides": 2}, (2, 5, 6, 4)),
        *(lambda: nn.ConvTranspose2d(4, 5, (3, 2), 2), {}),
    ),
    "conv3d_transpose": (
        *("Conv3DTranspose", {"filters": 2, "kernel_size": (2, 3, 1)}, (2, 4, 5, 6, 3)),
        *(lambda: nn.ConvTranspose3d(3, 2, (2, 3, 1)), {}),
    ),
    "depthwise_conv1d": (
        *("DepthwiseConv1D", {"kernel_size": 3, "depth_multiplier": 2}, (2, 9, 4)),
        *(lambda: nn.Conv1d(4, 8, 3, groups=4), {"m": 2}),
    ),
    "depthwise_conv2d": (
        *("DepthwiseConv2D", {"kernel_size": (3, 2), "depth_multiplier": 2}, (2, 8, 9, 4)),
        *(lambda: nn.Conv2d(4, 8, (3, 2), groups=4), {"m": 2}),
    ),
    "batch_norm": (
        *("BatchNormalization", {"epsilon": 1e-5}, (2, 6, 6, 4)),
        *(lambda: nn.BatchNorm2d(4).eval(), {}),
    ),
    "layer_norm": (
        *("LayerNormalization", {"epsilon": 1e-5}, (2, 7, 4)),
        *(lambda: nn.LayerNorm(4), {}),
    ),
    "rms_norm": (
        *("RMSNormalization", {"epsilon": 1e-6}, (2, 7, 4)),
        *(lambda: nn.RMSNorm(4, eps=1e-6), {}),
    ),
    "rnn": (
        *("SimpleRNN", {"units": 5, "return_sequences": True}, (2, 6, 4)),
        *(lambda: nn.RNN(4, 5, batch_first=True), {}),
    ),
    "lstm": (
        *("LSTM", {"units": 5, "return_sequences": True}, (2, 6, 4)),
        *(lambda: nn.LSTM(4, 5, batch_first=True), {"g": 4}),
    ),
    "gru": (
        *("GRU", {"units": 5, "return_sequences": True}, (2, 6, 4)),
        *(lambda: nn.GRU(4, 5, batch_first=True), {"g": 3}),
    ),
}
LAST = {"dense", "layer_norm", "rms_norm", "rnn", "lstm", "gru"}  # channels last in torch too


@pytest.mark.parametrize("kind", MODULES)
def test_keras_weights_compute_the_same_in_torch(kind: str) -> None:
    """And come back bit by bit."""
    import keras as framework

    name, options, shape, make, known = MODULES[kind]
    rng = np.random.default_rng(0)
    layer = getattr(framework.layers, name)(**options)
    x = rng.normal(size=shape).astype("float32")
    layer(x)
    fill(layer, rng)
    if kind == "batch_norm":
        values = layer.get_weights()
        layer.set_weights([*values[:3], np.abs(values[3]) + 0.5])
    wanted = np.asarray(layer(x))
    before = keras_weights(layer)
    source, target = keras.LAYOUTS[kind], torch_layouts.LAYOUTS[kind]
    roles = canonical(source, before, known)
    state = stored_as(target, roles, known)
    module = make()
    suffix = "_l0" if kind in ("rnn", "lstm", "gru") else ""
    loaded = {f"{k}{suffix}": torch.tensor(np.ascontiguousarray(v)) for k, v in state.items()}
    if suffix:  # Keras has one bias where torch has two
        loaded = {k: torch.zeros_like(v) for k, v in module.state_dict().items()} | loaded
    module.load_state_dict(loaded, strict=kind != "batch_norm")
    with torch.no_grad():
        result = module(torch.tensor(x if kind in LAST else np.moveaxis(x, -1, 1)))
    found = (result[0] if isinstance(result, tuple) else result).numpy()
    found = found if kind in LAST else np.moveaxis(found, 1, -1)
    assert np.allclose(found, wanted, atol=1e-5, rtol=1e-5)
    back = stored_as(source, canonical(target, state, known), known)
    for stored, value in before.items():
        again = back[source.roles[source.role_of(stored)].names[0]]
        assert again.tobytes() == value.tobytes(), stored


def test_attention_fused_and_split() -> None:
    import keras as framework

    rng = np.random.default_rng(0)
    layer = framework.layers.MultiHeadAttention(num_heads=2, key_dim=3)
    x = rng.normal(size=(2, 5, 6)).astype("float32")
    layer(x, x)
    fill(layer, rng)
    roles = canonical(keras.LAYOUTS["multi_head_attention"], keras_weights(layer), {"H": 2})
    state = stored_as(torch_layouts.LAYOUTS["multi_head_attention"], roles, {"H": 2, "p": 3})
    module = nn.MultiheadAttention(6, 2, batch_first=True)
    wanted = {k: torch.tensor(np.ascontiguousarray(state[k])) for k in module.state_dict()}
    module.load_state_dict(wanted)
    with torch.no_grad():
        found = module(torch.tensor(x), torch.tensor(x), torch.tensor(x))[0].numpy()
    assert np.allclose(found, np.asarray(layer(x, x)), atol=1e-5)


@pytest.mark.parametrize(("kind", "operator"), [("rnn", "RNN"), ("lstm", "LSTM"), ("gru", "GRU")])
def test_torch_recurrent_weights_compute_the_same_in_onnx(kind: str, operator: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    torch.manual_seed(0)
    module = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[kind](4, 5)
    stored = {k.removesuffix("_l0"): v.numpy() for k, v in module.state_dict().items()}
    known = {"g": {"rnn": 1, "lstm": 4, "gru": 3}[kind], "b": 2, "n": 1}
    roles = canonical(torch_layouts.LAYOUTS[kind], stored, known)
    one_direction = {role: array[..., None] for role, array in roles.items()}
    inputs: Arrays = {}
    target = onnx.LAYOUTS[kind]
    for role, entry in target.roles.items():
        if entry.optional and role == "peephole":
            continue
        parts = [one_direction[part] for part in entry.holds or (role,)]
        axes = [*sorted(set(letters(entry.axes)) - {entry.along, "n"}), "n"]
        array = np.stack(parts, 0) if entry.holds else parts[0]
        axes = ["b", *axes] if entry.holds else axes
        if "g" in axes:
            order = " ".join(sorted(target.gates.split()))
            array = reorder_gates(array, axes.index("g"), order, target.gates)
        sized = dict(zip(axes, array.shape, strict=True))
        inputs[entry.names[0]] = rearrange(array, " ".join(axes), entry.axes, sized)
    extra = {"linear_before_reset": 1} if kind == "gru" else {}
    node = helper.make_node(operator, ["X", "W", "R", "B"], ["Y"], hidden_size=5, **extra)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [6, 2, 4])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [6, 1, 2, 5])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in inputs.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString())
    x = np.random.default_rng(0).normal(size=(6, 2, 4)).astype("float32")
    found = session.run(None, {"X": x})[0][:, 0]
    with torch.no_grad():
        assert np.allclose(found, module(torch.tensor(x))[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("layouts", [keras.LAYOUTS, torch_layouts.LAYOUTS, onnx.LAYOUTS])
def test_the_tables_are_consistent(layouts: dict[str, Layout]) -> None:
    for kind, layout in layouts.items():
        spelled = [name for stored in layout.roles.values() for name in stored.names]
        assert len(spelled) == len(set(spelled)), kind
        for role, stored in layout.roles.items():
            named = [] if stored.axes == "*" else parse(stored.axes)
            assert [name for group in named for name in group] == letters(stored.axes.strip("*"))
            assert bool(stored.holds) == bool(stored.along), (kind, role)
            assert not stored.along or stored.along in letters(stored.axes)
