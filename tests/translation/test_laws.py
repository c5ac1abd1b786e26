"""Laws: a layer in another convention is the same layer, and comes home bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wtools
from wtools.errors import UnsupportedError
from wtools.translation import canonical, spelled, translated
from wtools.translation.pieces import Piece
from wtools.tree import Tensor, WeightTree

DTYPES = st.sampled_from(["float32", "float16", "float64", "bfloat16"])
SIZE = st.integers(1, 5)


def tensor(name: str, shape: tuple[int, ...], dtype: str, **fields: Any) -> Tensor:
    """Every element is another; -0 is among them, which a careless sum would lose."""
    import ml_dtypes

    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)
    values = np.arange(1, int(np.prod(shape)) + 1).reshape(shape).astype(kind)
    if values.size:
        values.reshape(-1)[-1] = -0.0
    return Tensor.of(name, values, **fields)


Named = dict[str, tuple[int, ...]]


@st.composite
def keras_layer(draw: Any) -> tuple[str, Named]:
    """(class, names and shapes of the weights) of a Keras layer."""
    i, o, u = draw(SIZE), draw(SIZE), draw(SIZE)
    bias = draw(st.booleans())
    kernel = tuple(draw(st.lists(SIZE, min_size=3, max_size=3)))
    n = draw(st.integers(1, 3))
    made: list[tuple[str, Named]] = [
        ("Dense", {"kernel": (i, o), "bias": (o,)}),
        (f"Conv{n}D", {"kernel": (*kernel[:n], i, o), "bias": (o,)}),
        (f"Conv{n}DTranspose", {"kernel": (*kernel[:n], o, i), "bias": (o,)}),
        ("DepthwiseConv2D", {"kernel": (*kernel[:2], i, o), "bias": (i * o,)}),
        (
            "SeparableConv2D",
            {
                "depthwise_kernel": (*kernel[:2], i, u),
                "pointwise_kernel": (1, 1, i * u, o),
                "bias": (o,),
            },
        ),
        ("Embedding", {"embeddings": (i, o)}),
        (
            "BatchNormalization",
            dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (o,)),
        ),
        ("LayerNormalization", {"gamma": (o,), "beta": (o,)}),
        ("RMSNormalization", {"scale": (o,)}),
        ("PReLU", {"alpha": (1, 1, o)}),
        (
            "LSTM",
            {
                "lstm_cell/kernel": (i, 4 * u),
                "lstm_cell/recurrent_kernel": (u, 4 * u),
                "lstm_cell/bias": (4 * u,),
            },
        ),
        (
            "GRU",
            {
                "gru_cell/kernel": (i, 3 * u),
                "gru_cell/recurrent_kernel": (u, 3 * u),
                "gru_cell/bias": (2, 3 * u),
            },
        ),
        (
            "Bidirectional",
            {
                f"{way}_lstm/lstm_cell/{name}": shape
                for way in ("forward", "backward")
                for name, shape in {
                    "kernel": (i, 4 * u),
                    "recurrent_kernel": (u, 4 * u),
                    "bias": (4 * u,),
                }.items()
            },
        ),
        (
            "MultiHeadAttention",
            {
                **{f"{part}/kernel": (i * u, i, u) for part in ("query", "key", "value")},
                **{f"{part}/bias": (i, u) for part in ("query", "key", "value")},
                "attention_output/kernel": (i, u, i * u),
                "attention_output/bias": (i * u,),
            },
        ),
        ("EinsumDense", {"kernel": (i, o, u), "bias": (o, u)}),
    ]
    kind, weights = draw(st.sampled_from(made))
    optional = kind not in ("BatchNormalization", "LayerNormalization", "EinsumDense")
    if optional and not bias:
        weights = {name: shape for name, shape in weights.items() if not name.endswith("bias")}
    return kind, weights


@st.composite
def keras_trees(draw: Any) -> WeightTree:
    dtype = draw(DTYPES)
    tensors = []
    for number, (kind, weights) in enumerate(draw(st.lists(keras_layer(), min_size=1, max_size=4))):
        path = f"model/part_{number}"
        tensors += [
            tensor(f"{path}/{name}", shape, dtype, layer=path, kind=kind)
            for name, shape in weights.items()
        ]
    return WeightTree(tensors, format="keras", separator="/")


def bits(tree: WeightTree) -> dict[str, Any]:
    return {n: (t.shape, t.dtype, t.read(copy=True).tobytes()) for n, t in tree.items()}


@given(keras_trees())
def test_keras_to_torch_and_home(tree: WeightTree) -> None:
    there = translated(tree, "torch")
    assert not there.problems and not there.losses
    back = translated(there.tree, "keras")
    assert not back.problems and not back.losses
    assert list(back.tree) == list(tree)
    assert bits(back.tree) == bits(tree)
    for name, own in tree.items():
        assert (back.tree[name].layer, back.tree[name].kind) == (own.layer, own.kind)


@given(keras_trees())
def test_canonical_forms_are_equal_in_both_conventions(tree: WeightTree) -> None:
    here, there = canonical(tree), canonical(wtools.translate(tree, "torch"))
    assert [(one.path, one.kind) for one in here.layers] == [
        (one.path, one.kind) for one in there.layers
    ]
    assert (here.convention, there.convention) == ("keras", "torch")
    for one, other in zip(here.layers, there.layers, strict=True):
        for role, part in one.parts.items():
            same = other.parts[role].tensor
            found, wanted = same.read().reshape(part.tensor.shape), part.tensor.read()
            assert found.tobytes() == np.ascontiguousarray(wanted).tobytes()


@given(keras_trees())
def test_through_onnx_layouts_too(tree: WeightTree) -> None:
    if any(
        t.kind in ("SeparableConv2D", "MultiHeadAttention", "EinsumDense") for t in tree.values()
    ):
        return  # which no operator of ONNX is
    there = translated(tree, "onnx")
    assert not there.problems
    back = translated(there.tree, "keras")
    assert bits(back.tree) == bits(tree)


@given(keras_trees(), st.integers(1, 64))
def test_blocks_are_the_array_whatever_their_size(tree: WeightTree, nbytes: int) -> None:
    for one in wtools.translate(tree, "torch").values():
        blocks = list(one.blocks(nbytes))
        joined = np.concatenate(blocks) if blocks else np.empty(0)
        assert joined.tobytes() == one.read(copy=True).tobytes()
        assert all(block.nbytes <= max(nbytes, block.itemsize) for block in blocks)


def test_without_metadata_the_values_are_still_exact() -> None:
    tree = WeightTree(
        [
            tensor("net/fc/kernel", (3, 5), "float32", layer="net/fc", kind="Dense"),
            tensor("net/fc/bias", (5,), "float32", layer="net/fc", kind="Dense"),
            tensor("net/rnn/lstm_cell/kernel", (3, 8), "float32", layer="net/rnn", kind="LSTM"),
            tensor(
                "net/rnn/lstm_cell/recurrent_kernel",
                (2, 8),
                "float32",
                layer="net/rnn",
                kind="LSTM",
            ),
            tensor("net/rnn/lstm_cell/bias", (8,), "float32", layer="net/rnn", kind="LSTM"),
        ],
        format="keras",
    )
    there = wtools.translate(tree, "torch")
    plain = WeightTree(
        [Tensor.of(name, t.read()) for name, t in there.items()], format="pytorch", separator="."
    )
    back = translated(plain, "keras")
    assert bits(back.tree) == bits(tree)
    assert any("two biases added up; both are kept" in note for note in back.notes)
    assert back.losses == []
    lossy = translated(plain, "keras", keeps=False)
    assert any("cannot tell them apart again" in loss for loss in lossy.losses)


def test_what_only_changes_its_name_stays_bytes_in_the_file(tmp_path: Any) -> None:
    with wtools.open("fixtures/keras/mnist_cnn.h5") as tree:
        found = wtools.translate(tree, "torch")
        assert found["conv2d.bias"].raw is not None
        assert found["conv2d.weight"].raw is None


def test_nothing_is_read_before_it_is_asked_for() -> None:
    class Unread:
        def read(self) -> Any:
            raise AssertionError("read")

        def blocks(self, nbytes: int = 0) -> Any:
            raise AssertionError("read")

    one = Tensor("d/kernel", (3, 4), "float32", Unread(), layer="d", kind="Dense")
    found = translated(WeightTree([one], format="keras"), "torch")
    assert found.tree["d.weight"].shape == (4, 3)


def test_ties_stay_ties_where_both_are_turned_alike(tmp_path: Any) -> None:
    import torch

    shared = torch.nn.Linear(3, 5)
    module = torch.nn.ModuleDict({"a": shared, "b": shared})
    torch.save(module.state_dict(), tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.pt") as tree:
        assert wtools.translate(tree, "keras").tied() == [
            ("a/kernel", "b/kernel"),
            ("a/bias", "b/bias"),
        ]
    with wtools.open("fixtures/safetensors/tied.safetensors") as tree:  # a table and a kernel
        assert tree.tied() and not wtools.translate(tree, "keras").tied()


# --- what is lost, and what is refused ------------------------------------------------------------


def keras(kind: str, **shapes: tuple[int, ...]) -> WeightTree:
    tensors = [
        tensor(f"it/{name.replace('__', '/')}", shape, "float32", layer="it", kind=kind)
        for name, shape in shapes.items()
    ]
    return WeightTree(tensors, format="keras")


def torch_tree(**shapes: tuple[int, ...]) -> WeightTree:
    tensors = [
        tensor(f"it.{name.replace('__', '.')}", shape, "float32") for name, shape in shapes.items()
    ]
    return WeightTree(tensors, format="pytorch", separator=".")


def test_a_gru_that_resets_first_is_refused_by_name() -> None:
    tree = keras("GRU", kernel=(2, 9), recurrent_kernel=(3, 9), bias=(9,))
    with pytest.raises(UnsupportedError, match=r"layer 'it'.*reset_after=False"):
        wtools.translate(tree, "torch")
    assert translated(tree, "onnx").problems == []


def test_an_alpha_for_each_place_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"layer 'it'.*alpha for each place"):
        wtools.translate(keras("PReLU", alpha=(4, 4, 2)), "torch")


def test_heads_are_asked_for_and_then_known() -> None:
    tree = torch_tree(
        in_proj_weight=(18, 6), in_proj_bias=(18,), out_proj__weight=(6, 6), out_proj__bias=(6,)
    )
    with pytest.raises(UnsupportedError, match=r"layer 'it'.*--heads it=N"):
        wtools.translate(tree, "keras")
    found = wtools.translate(tree, "keras", heads={"it": 3})
    assert found["it/query/kernel"].shape == (6, 3, 2)
    assert found["it/attention_output/kernel"].shape == (3, 2, 6)
    assert bits(wtools.translate(found, "torch")) == bits(tree)


def test_a_layer_that_there_is_not() -> None:
    with pytest.raises(KeyError, match="other"):
        wtools.translate(torch_tree(weight=(2, 3)), "keras", heads={"other": 2})


def test_batches_are_not_counted_in_keras() -> None:
    tree = torch_tree(weight=(3,), bias=(3,), running_mean=(3,), running_var=(3,))
    counted = [*tree.values(), Tensor.of("it.num_batches_tracked", np.int64(7))]
    found = translated(tree.replace(counted), "keras")
    assert set(found.tree) == {
        f"it/{n}" for n in ("gamma", "beta", "moving_mean", "moving_variance")
    }
    assert ["it.num_batches_tracked: keras does not keep it"] == found.losses


def test_the_image_before_a_dense_layer() -> None:
    tree = keras("Dense", kernel=(12, 5), bias=(5,))
    values = tree["it/kernel"].read().reshape(2, 3, 2, 5)
    found = wtools.translate(tree, "torch", flatten={"it": (2, 3, 2)})
    assert np.array_equal(found["it.weight"].read(), values.transpose(3, 2, 0, 1).reshape(5, 12))
    back = translated(found, "keras")
    assert bits(back.tree) == bits(tree)
    assert "Flatten" in " ".join(
        translated(tree, "torch", flatten={"it": (2, 3, 2)}).entries["it.weight"].steps
    )


def test_a_flattened_image_is_spoken_of_where_nothing_tells_its_shape() -> None:
    tensors = [
        tensor("c.weight", (4, 3, 3, 3), "float32"),
        tensor("c.bias", (4,), "float32"),
        tensor("fc.weight", (5, 36), "float32"),
        tensor("fc.bias", (5,), "float32"),
    ]
    found = translated(WeightTree(tensors, format="pytorch", separator="."), "keras")
    assert any("--flatten fc=HxWx4" in note for note in found.notes)


def test_a_record_that_is_not_true_is_not_trusted() -> None:
    there = wtools.translate(keras("Dense", kernel=(3, 5), bias=(5,)), "torch")
    for broken in (
        {"from": "keras", "to": "torch", "axes": "a b c", "roles": ["kernel"], "layer": {}},
        {
            "from": "keras",
            "to": "torch",
            "layer": {"path": "x", "kind": "y", "facts": {}, "sizes": {}},
        },
        {"from": "keras", "to": "torch", "axes": "(", "roles": 3, "layer": {"sizes": {"i": -1}}},
        {"from": 3, "layer": []},
    ):
        spoiled = there.map(lambda t, b=broken: replace(t, facts={"translated": b}))
        found = translated(spoiled, "keras")
        assert found.tree["it/kernel"].shape == (3, 5)


def test_no_tensor_is_made_of_a_size_that_a_file_only_claims() -> None:
    there = wtools.translate(keras("LSTM", kernel=(0, 8), recurrent_kernel=(2, 8)), "torch")
    told = there["it.weight_ih_l0"].facts["translated"]["layer"]
    told["sizes"] |= {"u": 10**12, "i": 10**12}
    told["stored"].append({"name": "it/bias", "axes": "(g u)", "roles": ["bias"]})
    for found in translated(there, "keras").tree.values():
        assert found.size <= 16


def test_scales_along_an_axis_follow_it() -> None:
    scale = Tensor.of("it/scale", np.arange(1, 6).astype(np.float32))
    from wtools.tree import Quantization

    packed = Tensor.of(
        "it/kernel",
        np.arange(15, dtype=np.int8).reshape(3, 5),
        layer="it",
        kind="Dense",
        quantization=Quantization(scale, axis=1),
    )
    found = wtools.translate(WeightTree([packed], format="keras"), "torch")["it.weight"]
    assert found.quantization is not None and found.quantization.axis == 0
    assert np.array_equal(found.dequantized().read(), packed.dequantized().read().T)


def test_a_template_says_names_and_axes() -> None:
    source = canonical(keras("Dense", kernel=(3, 5), bias=(5,))).layers[0]
    template = canonical(torch_tree(weight=(5, 3), bias=(5,))).layers[0]
    found = {one.name: one.tensor.shape for one in spelled(source, "torch", template)}
    assert found == {"it.weight": (5, 3), "it.bias": (5,)}


def test_pieces_say_where_they_lie() -> None:
    whole = Tensor.of("w", np.arange(24).reshape(2, 12))
    second = Piece(whole, "b (g u)", {"b": 2, "g": 3, "u": 4}, "z r h", (("b", 1),))
    assert np.array_equal(second.moved("(g u)", "r z h").read()[:4], [16, 17, 18, 19])
