"""Keras files: names, shapes, values and what is trainable are what Keras itself says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import facts
from wtools import formats
from wtools.errors import FormatError, NameNotFoundError, WtoolsError
from wtools.files import Source
from wtools.formats.keras import config, optimizers, variables
from wtools.testing import FormatContract
from wtools.tree import WeightTree

FACTS = facts.load("keras")
FOLDER = facts.ROOT / "keras"


def open_(name: str, **options: Any) -> WeightTree:
    return formats.open(FOLDER / name, **options)


def h5(path: Path, build: Callable[[h5py.File], Any]) -> WeightTree:
    with h5py.File(path, "w") as f:
        build(f)
    return formats.open(path)


class TestContract(FormatContract):
    format = "keras"
    samples: ClassVar[list[Path]] = [FOLDER / name for name in FACTS]


@pytest.mark.parametrize("file", FACTS)
def test_keras_sees_the_same(file: str) -> None:
    with open_(file) as tree:
        facts.check(tree, FACTS[file])
        for name, fact in FACTS[file]["tensors"].items():
            for field in ("layer", "kind"):
                if field in fact:
                    assert getattr(tree[name], field) == fact[field], name


@pytest.mark.parametrize("file", [n for n in FACTS if n.endswith(".h5")])
def test_the_stored_name_is_the_path_in_the_file(file: str) -> None:
    with open_(file) as tree, h5py.File(FOLDER / file) as f:
        for tensor in (*tree.values(), *(t for a in tree.apart.values() for t in a.values())):
            assert f[tensor.stored].shape == tensor.shape
            assert tree.get(tensor.name) is tensor or tensor.name not in tree


# --- one model, one set of names -----------------------------------------------------------------


@pytest.mark.parametrize("stem", ["nested", "keras2_nested"])
def test_a_model_has_the_same_names_in_the_old_and_the_new_layout(stem: str) -> None:
    old, new = open_(f"{stem}.h5"), open_(f"{stem}.keras")
    assert set(old) == set(new)
    for name, tensor in old.items():
        np.testing.assert_array_equal(tensor.read(), new[name].read())
        assert tensor.trainable is new[name].trainable and tensor.kind == new[name].kind


def test_tensors_come_in_the_order_of_the_models_layers() -> None:
    layers = list(dict.fromkeys(t.layer for t in open_("nested.keras").values()))
    assert layers == ["inner/d1", "inner/deepest/d1", "inner/deepest/bn", "side/d1", "head"]


def test_a_frozen_layer_is_not_trainable_and_neither_are_moving_statistics() -> None:
    frozen = {name for name, t in open_("nested.keras").items() if t.trainable is False}
    assert frozen == {
        *(
            f"{layer}/{leaf}"
            for layer in ("inner/deepest/d1", "side/d1")
            for leaf in ("kernel", "bias")
        ),
        "inner/deepest/bn/moving_mean",
        "inner/deepest/bn/moving_variance",
    }


def test_without_a_config_nothing_is_said_of_training() -> None:
    for file in ("nested_weights.h5", "nested.weights.h5"):
        tree = open_(file)
        assert tree.architecture is None
        assert {t.trainable for t in tree.values()} == {None}
    assert {t.kind for t in open_("nested_weights.h5").values()} == {""}


def test_the_architecture_travels_with_the_weights() -> None:
    tree = open_("mnist_cnn.h5")
    assert tree.variant == "legacy h5 model"
    assert tree.architecture["keras"]["class_name"] == "Sequential"
    assert tree.architecture["training_config"]["loss"] == "sparse_categorical_crossentropy"
    assert tree.architecture["version"] == tree.metadata["keras_version"] == "3.15.1"
    tree = open_("nested.keras")
    assert tree.variant == ".keras archive"
    assert tree.architecture["keras"]["config"]["name"] == "outer"
    assert tree.architecture["version"] == "3.15.1"


def test_the_optimizer_is_apart_and_opens_by_root() -> None:
    tree = open_("mnist_cnn.h5")
    assert "adam/learning_rate" not in tree and "adam/learning_rate" in tree.apart["optimizer"]
    opened = open_("mnist_cnn.h5", root="optimizer")
    assert set(opened) == set(tree.apart["optimizer"])
    assert opened["adam/iteration"].dtype == "int64"
    with pytest.raises(NameNotFoundError, match="optimizer"):
        open_("mnist_cnn.h5", root="optimiser")


def test_counters_of_metrics_are_no_weights() -> None:
    tree = open_("keras2_adam.keras")
    assert set(tree) == {"dense/kernel", "dense/bias"}
    assert set(tree.apart) == {"optimizer", "state"}
    assert "adam/dense_kernel_momentum" in tree.apart["optimizer"]


def test_two_datasets_of_one_name_are_told_apart_by_their_place(tmp_path: Path) -> None:
    def build(f: h5py.File) -> None:
        for i, layer in enumerate(("functional", "functional_1")):
            f[f"layers/{layer}/layers/dense/vars/0"] = np.full((2, 3), i)
            f[f"layers/{layer}/vars"] = h5py.Empty("f4")
            del f[f"layers/{layer}/vars"]
            f.create_group(f"layers/{layer}/vars").attrs["name"] = "twin"

    tree = h5(tmp_path / "x.weights.h5", build)
    assert set(tree) == {f"layers/functional{n}/layers/dense/vars/0" for n in ("", "_1")}


# --- where the elements lie ----------------------------------------------------------------------


def test_weights_in_an_archive_are_ranges_of_the_archive() -> None:
    path = FOLDER / "nested.keras"
    with open_("nested.keras") as tree:
        for tensor in tree.values():
            assert tensor.raw is not None
            raw = path.read_bytes()[tensor.raw.offset :][: tensor.nbytes]
            assert raw == tensor.read().tobytes()


def test_deflated_weights_are_unpacked_and_it_is_said() -> None:
    with open_("zoo.keras") as tree:
        assert any("deflated" in note for note in tree.notes)
        assert tree["dense/kernel"].raw is not None  # of the temporary file


def test_a_shared_layer_is_stored_once() -> None:
    assert [n for n in open_("shared.h5") if n.startswith("tower")] == [
        "tower/kernel",
        "tower/bias",
    ]


# --- dtypes --------------------------------------------------------------------------------------


def test_bfloat16_without_a_mark_is_known_by_the_layers_policy_only(tmp_path: Path) -> None:
    tree = open_("bfloat16.h5")
    assert {t.dtype for t in tree.values()} == {"bfloat16"}
    assert any("read as bfloat16" in note for note in tree.notes)
    values = np.arange(4, dtype=ml_dtypes.bfloat16)

    def build(f: h5py.File) -> None:
        f.attrs["layer_names"] = [b"dense"]
        f.create_group("dense").attrs["weight_names"] = [b"dense/bias"]
        f["dense/dense/bias"] = values

    tree = h5(tmp_path / "x.h5", build)
    assert tree["dense/bias"].dtype == "uint16"
    assert any("probably bfloat16" in note for note in tree.notes)
    np.testing.assert_array_equal(tree["dense/bias"].read(), values.view(np.uint16))


def test_int8_layers_know_their_scale() -> None:
    tree = open_("int8.keras")
    for name in ("dense/kernel", "out/kernel"):
        quantization = tree[name].quantization
        assert quantization is not None and quantization.axis == 1
        expected = tree[name].read() / tree[f"{name}_scale"].read()
        np.testing.assert_allclose(tree[name].dequantized().read(), expected, rtol=1e-6)


def test_packed_int4_is_left_as_stored_and_said_so() -> None:
    tensor = open_("int4.keras")["dense/kernel"]
    assert tensor.quantization is None and "packed" in tensor.facts["quantization"]


@pytest.mark.parametrize("dtype", [">f2", ">f4", "<f8", "<c8", "?", "<i4"])
def test_any_numeric_dtype(dtype: str, tmp_path: Path) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)

    def build(f: h5py.File) -> None:
        f.attrs["layer_names"] = [b"dense"]
        f.create_group("dense").attrs["weight_names"] = [b"dense/kernel:0"]
        f["dense/dense/kernel:0"] = values

    tensor = h5(tmp_path / "x.h5", build)["dense/kernel"]
    np.testing.assert_array_equal(tensor.read(), values)
    assert (tensor.raw is None) == dtype.startswith(">")


# --- older layouts -------------------------------------------------------------------------------


def test_keras_1_names_and_layers_listed_without_a_dict(tmp_path: Path) -> None:
    layers = [
        {"class_name": "Dense", "config": {"name": "dense_1", "trainable": False}},
        {"class_name": "Conv2D", "config": {"name": "conv2d_1"}},
    ]

    def build(f: h5py.File) -> None:
        f.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": layers}
        ).encode()
        f.attrs["keras_version"] = b"1.2.2"
        weights = f.create_group("model_weights")
        weights.attrs["layer_names"] = [b"dense_1", b"conv2d_1"]
        weights.create_group("dense_1").attrs["weight_names"] = [b"dense_1_W", b"dense_1_b"]
        weights["dense_1/dense_1_W"], weights["dense_1/dense_1_b"] = np.ones((2, 3)), np.ones(3)
        group = weights.create_group("conv2d_1")
        group.attrs["weight_names"] = [b"conv2d_1_1/kernel:0"]
        group["conv2d_1_1/kernel:0"] = np.ones((3, 3, 1, 2))

    tree = h5(tmp_path / "x.h5", build)
    assert list(tree) == ["dense_1/W", "dense_1/b", "conv2d_1/kernel"]
    assert [t.trainable for t in tree.values()] == [False, False, True]
    assert [t.kind for t in tree.values()] == ["Dense", "Dense", "Conv2D"]


def test_a_weight_that_no_list_names_is_shown_and_noted(tmp_path: Path) -> None:
    def build(f: h5py.File) -> None:
        f.attrs["layer_names"] = [b"dense"]
        f.create_group("dense").attrs["weight_names"] = np.array([])
        f["dense/forgotten"] = np.ones(3)

    tree = h5(tmp_path / "x.h5", build)
    assert list(tree) == ["dense/forgotten"]
    assert any("no layer's list" in note for note in tree.notes)


def test_any_hdf5_file_with_numbers_opens(tmp_path: Path) -> None:
    def build(f: h5py.File) -> None:
        f["a/b"], f["c"], f["text"] = np.ones((2, 3), "f4"), np.arange(3), ["x", "y"]
        f.attrs["made by"] = "h5py"

    tree = h5(tmp_path / "x.dat", build)
    assert tree.variant == "plain HDF5" and set(tree) == {"a/b", "c"}
    assert tree.metadata == {"made by": "h5py"}
    assert any("left out" in note for note in tree.notes)


def test_custom_classes_keep_the_number_of_their_variables(tmp_path: Path) -> None:
    def build(f: h5py.File) -> None:
        f["layers/my_layer/vars/0"] = np.ones(3)
        f["layers/my_layer/vars"].attrs["name"] = "mine"
        f["branch/dense/vars/0"], f["branch/dense/vars/1"] = np.ones((2, 3)), np.ones(3)
        f["embedder/vars/0"] = np.ones((4, 2))

    tree = h5(tmp_path / "x.weights.h5", build)
    assert set(tree) == {
        "mine/vars/0",
        "branch/dense/kernel",
        "branch/dense/bias",
        "embedder/vars/0",
    }


@pytest.mark.parametrize("order", [("config.json", "metadata.json"), ("a.txt", "config.json")])
def test_an_archive_is_known_by_its_members(order: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    with zipfile.ZipFile(FOLDER / "nested.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in order:
            new.writestr(name, old.read(name) if name in old.namelist() else b"text")
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    assert set(formats.open(path)) == set(open_("nested.keras"))


def test_other_archives_are_not_claimed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as f:
        f.writestr("config.json", "{}")
        f.writestr("notes.txt", "x")
    with Source(tmp_path / "x.zip") as source, pytest.raises(FormatError):
        formats.detect(source)


# --- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtypes", "options", "expected"),
    [
        ("Dense", ["float32"], None, ["kernel"]),
        ("Dense", ["float32"] * 2, {}, ["kernel", "bias"]),
        ("Dense", ["int8", "float32", "float32"], None, ["kernel", "bias", "kernel_scale"]),
        ("LayerNormalization", ["float32"], None, [None]),
        ("LayerNormalization", ["float32"], {"scale": False}, ["beta"]),
        ("BatchNormalization", ["float32"] * 3, None, [None, "moving_mean", "moving_variance"]),
        ("BatchNormalization", ["float32"] * 2, {}, [None, None]),
        ("EinsumDense", ["float32"] * 2, {"bias_axes": "d"}, ["kernel", "bias"]),
        ("EinsumDense", ["float32"], {"bias_axes": None}, ["kernel"]),
        ("Unheard", ["float32"] * 2, {}, [None, None]),
    ],
)
def test_variables_are_named_only_where_it_is_certain(
    kind: str, dtypes: list[str], options: dict[str, Any] | None, expected: list[str | None]
) -> None:
    assert variables.names(kind, dtypes, options) == expected


def test_an_optimizer_that_does_not_fit_keeps_numbers() -> None:
    weights = [("dense/kernel", (2, 3))]
    fitting = optimizers.names("adam", [(), (), (2, 3), (2, 3)], weights)
    assert fitting is not None and fitting[2:] == ["dense_kernel_momentum", "dense_kernel_velocity"]
    assert optimizers.names("adam", [(), (), (2, 3), (3, 2)], weights) is None
    assert optimizers.names("Mine", [()], weights) is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("PReLU", "p_re_lu"),
        ("Conv2DTranspose", "conv2d_transpose"),
        ("GRU", "gru"),
        ("RMSNormalization", "rms_normalization"),
        ("MultiHeadAttention", "multi_head_attention"),
    ],
)
def test_snake_case_of_classes_is_that_of_keras(kind: str, name: str) -> None:
    assert config.snake(kind) == name


# --- what must not happen ------------------------------------------------------------------------


def test_no_framework_and_no_hdf5_library_is_imported() -> None:
    script = (
        "import sys; from wtools import formats\n"
        f"for name in {[os.fspath(FOLDER / n) for n in FACTS]!r}:\n"
        "    with formats.open(name) as tree:\n"
        "        for tensor in tree.values():\n"
        "            tensor.read()\n"
        "print(*{m.partition('.')[0] for m in sys.modules}"
        " & {'keras', 'tensorflow', 'tf_keras', 'h5py', 'torch', 'jax'})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("file", ["nested.h5", "gzip_shuffle.h5", "nested.keras", "zoo.keras"])
def test_changed_bytes_give_weights_or_a_typed_error(file: str, tmp_path: Path) -> None:
    rng = random.Random(file)
    good = (FOLDER / file).read_bytes()
    path = tmp_path / "x"
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.choice((1, 1, 4))):
            at = rng.randrange(len(data))
            data[at : at + 4] = rng.randbytes(4)[: len(data[at : at + 4])]
        path.write_bytes(data)
        try:
            with formats.open(path, format="keras") as tree:
                for tensor in tree.values():
                    for block in tensor.blocks():
                        block.tobytes()
        except WtoolsError as error:
            assert str(path) in str(error)


# --- against Keras, with models made up here -----------------------------------------------------


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def assert_as_keras_says(tree: WeightTree, model: Any, prefix: str = "") -> int:
    """Each weight of each layer under its name, with its value; the number of weights."""
    count = 0
    for layer in model.layers:
        if hasattr(layer, "layers"):
            count += assert_as_keras_says(tree, layer, f"{prefix}{layer.name}/")
            continue
        for weight in layer.weights:
            parts = weight.path.split("/")
            tensor = tree[prefix + "/".join(parts[parts.index(layer.name) :])]
            np.testing.assert_array_equal(tensor.read(), np.asarray(weight))
            if tree.architecture:
                assert tensor.trainable is bool(weight.trainable)
                assert tensor.kind == type(layer).__name__
                assert tensor.layer == prefix + layer.name
            count += 1
    return count


LAYERS = st.one_of(
    st.builds(
        lambda u, b: ("Dense", {"units": u, "use_bias": b}), st.integers(1, 4), st.booleans()
    ),
    st.builds(
        lambda s, c: ("LayerNormalization", {"scale": s, "center": c}), st.booleans(), st.booleans()
    ),
    st.builds(
        lambda s, c: ("BatchNormalization", {"scale": s, "center": c}), st.booleans(), st.booleans()
    ),
    st.just(("PReLU", {})),
    st.just(("Dropout", {"rate": 0.5})),
)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    outer=st.lists(LAYERS, min_size=1, max_size=4),
    inner=st.lists(LAYERS, min_size=1, max_size=3),
    frozen=st.booleans(),
    sequential=st.booleans(),
)
def test_small_models_in_every_kind_of_file(
    outer: list[Any],
    inner: list[Any],
    frozen: bool,
    sequential: bool,
    keras: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    keras.backend.clear_session()

    def stack(specs: list[Any], start: Any) -> Any:
        y = start
        for kind, options in specs:
            y = getattr(keras.layers, kind)(**options)(y)
        return y

    x = keras.Input((3,))
    if sequential:
        below = [getattr(keras.layers, kind)(**options) for kind, options in inner]
        nested = keras.Sequential([keras.Input((3,)), *below])
    else:
        start = keras.Input((3,))
        nested = keras.Model(start, stack(inner, start))
    nested.trainable = not frozen
    model = keras.Model(x, stack(outer, nested(x)))
    folder = tmp_path_factory.mktemp("models")
    for name in ("m.keras", "m.h5"):
        model.save(folder / name)
        with formats.open(folder / name) as tree:
            assert assert_as_keras_says(tree, model) == len(tree)
    model.save_weights(folder / "m.weights.h5")
    with formats.open(folder / "m.weights.h5") as tree:
        assert len(tree) == len(model.weights)


def test_layers_at_attributes_of_a_subclassed_model(keras: Any, tmp_path: Path) -> None:
    class Net(keras.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.head = keras.layers.Dense(3)
            self.memory = keras.layers.LSTM(2)
            self.named = keras.layers.Dense(1, name="my_own")

        def call(self, x: Any) -> Any:
            return self.named(self.memory(self.head(x)))

    model = Net()
    model(np.ones((1, 2, 4), np.float32))
    model.save_weights(tmp_path / "m.weights.h5")
    head, memory = model.head.name, model.memory.name
    with formats.open(tmp_path / "m.weights.h5") as tree:
        for name, weight in zip(("kernel", "bias"), model.head.weights, strict=True):
            np.testing.assert_array_equal(tree[f"{head}/{name}"].read(), np.asarray(weight))
        assert f"{memory}/lstm_cell/recurrent_kernel" in tree
        assert "my_own/kernel" in tree, "the list of layers has its class"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(optimizers.SLOTS))
def test_optimizer_variables_have_keras_names(name: str, keras: Any, tmp_path: Path) -> None:
    x = keras.Input((3,), name="x")
    model = keras.Model(x, keras.layers.Dense(2, name="dense")(x))
    model.compile(getattr(keras.optimizers, name)(), "mse")
    model.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    for file in ("m.keras", "m.h5"):
        model.save(tmp_path / file)
        with formats.open(tmp_path / file) as tree:
            ours = {
                n.replace("u_product", "variable"): t for n, t in tree.apart["optimizer"].items()
            }
            assert set(ours) == {v.path for v in model.optimizer.variables}
            for variable in model.optimizer.variables:
                np.testing.assert_array_equal(ours[variable.path].read(), np.asarray(variable))


@pytest.mark.slow
def test_every_class_in_the_table_is_named_as_keras_names_it(keras: Any, tmp_path: Path) -> None:
    make = [
        ("Conv1D", (8, 3), {"filters": 2, "kernel_size": 2}),
        ("Conv2D", (8, 8, 3), {"filters": 2, "kernel_size": 2}),
        ("Conv3D", (4, 4, 4, 3), {"filters": 2, "kernel_size": 2}),
        ("Conv1DTranspose", (8, 3), {"filters": 2, "kernel_size": 2}),
        ("Conv2DTranspose", (8, 8, 3), {"filters": 2, "kernel_size": 2}),
        ("Conv3DTranspose", (4, 4, 4, 3), {"filters": 2, "kernel_size": 2}),
        ("DepthwiseConv1D", (8, 3), {"kernel_size": 2}),
        ("DepthwiseConv2D", (8, 8, 3), {"kernel_size": 2}),
        ("SeparableConv1D", (8, 3), {"filters": 2, "kernel_size": 2}),
        ("SeparableConv2D", (8, 8, 3), {"filters": 2, "kernel_size": 2}),
        ("GroupNormalization", (8, 4), {"groups": 2}),
        ("RMSNormalization", (4,), {}),
        ("ConvLSTM1D", (3, 8, 2), {"filters": 2, "kernel_size": 2}),
        ("ConvLSTM2D", (3, 8, 8, 2), {"filters": 2, "kernel_size": 2}),
        ("LSTM", (3, 2), {"units": 2, "use_bias": False}),
        ("GRU", (3, 2), {"units": 2, "reset_after": False}),
        ("SimpleRNN", (3, 2), {"units": 2}),
        ("Embedding", (3,), {"input_dim": 5, "output_dim": 2}),
    ]
    for kind, shape, options in make:
        keras.backend.clear_session()
        x = keras.Input(shape)
        model = keras.Model(x, getattr(keras.layers, kind)(**options)(x))
        model.save(tmp_path / "m.keras")
        model.save_weights(tmp_path / "m.weights.h5")
        for file in ("m.keras", "m.weights.h5"):
            with formats.open(tmp_path / file) as tree:
                assert assert_as_keras_says(tree, model) == len(tree), kind


def test_a_signature_in_the_data_of_another_format_is_no_hdf5_file(tmp_path: Path) -> None:
    """At byte 512, where an HDF5 file may begin after a user block."""
    path = tmp_path / "m.safetensors"
    header = b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'.ljust(504)
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x89HDF\r\n\x1a\n")
    with formats.open(path) as tree:
        assert tree.format == "safetensors"
