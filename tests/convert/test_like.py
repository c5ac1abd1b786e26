"""`--like TEMPLATE`: layers are recognized, and what a module must change is said and enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wtools
from wtools.conversion import Options, convert, plan
from wtools.errors import UnsupportedError, UsageError
from wtools.reports import Report
from wtools.tree import Tensor, WeightTree

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")
layers = keras.layers

from like_apply import run  # noqa: E402
from models_torchvision import VGG16, DenseNet121, InceptionV3, ResNet50  # noqa: E402


def shaken(model: Any, seed: int = 0) -> Any:
    """The model with biases and batch-norm statistics that matter."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        new = []
        for variable in layer.weights:
            value, name = np.asarray(variable), variable.name
            if "variance" in name or name == "gamma":
                value = rng.uniform(0.5, 1.5, value.shape).astype("float32")
            elif name in ("moving_mean", "beta", "bias"):
                value = rng.normal(0, 0.2, value.shape).astype("float32")
            new.append(value)
        layer.set_weights(new)
    return model


def statistics(module: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.2)
        elif name.endswith("running_var") or ("bn" in name and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
    return module


def saved(module: Any, path: Path) -> Path:
    torch.save(module.state_dict(), path)
    return path


def loaded(module: Any, path: Path) -> Any:
    module.load_state_dict(torch.load(path), strict=True)
    return module.eval()


def values(path: Path) -> dict[str, np.ndarray]:
    with wtools.open(path) as tree:
        return {name: tensor.read(copy=True) for name, tensor in tree.items()}


def close(found: Any, wanted: Any) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


APPLICATIONS = {
    "resnet": (keras.applications.ResNet50, ResNet50, 64),
    "inception_v3": (keras.applications.InceptionV3, InceptionV3, 96),
    "densenet": (keras.applications.DenseNet121, DenseNet121, 64),
    "vgg16": (keras.applications.VGG16, VGG16, 224),
}
FAST = ["resnet"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in APPLICATIONS if name not in FAST]


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_keras_applications_become_torchvisions(name: str, tmp_path: Path) -> None:
    """With and without rule files; outputs are equal once the module has what wtools says."""
    application, module, size = APPLICATIONS[name]
    model = shaken(
        application(
            weights=None, classes=10, input_shape=(size, size, 3), classifier_activation=None
        )
    )
    model.save(tmp_path / "m.keras")
    template = saved(module(10), tmp_path / "t.pt")
    x = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype("float32")
    wanted = np.asarray(model(x))
    for rules in (True, False):
        absent = name == "inception_v3" and not rules  # who else would know of AuxLogits?
        report = convert(
            *(tmp_path / "m.keras", tmp_path / "out.pt"),
            like=str(template),
            rules=rules,
            strict=not absent,
            overwrite=True,
        )
        assert report.summary["rules"] == (name if rules else None)
        assert report.summary["least_confidence"] > 0.9
        close(run(loaded(module(10), tmp_path / "out.pt"), report.summary["changes"], x), wanted)
        if name in ("resnet", "inception_v3"):  # ... and it is needed
            unchanged = run(loaded(module(10), tmp_path / "out.pt"), [], x)
            assert np.abs(unchanged - wanted).max() > 1e-3
    assert list(values(tmp_path / "out.pt")) == list(values(template))
    report = convert(tmp_path / "out.pt", tmp_path / "back.keras", like=str(tmp_path / "m.keras"))
    assert report.summary["unmatched"] == []
    close(keras.models.load_model(tmp_path / "back.keras", compile=False)(x), wanted)


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_torch_to_keras_and_back_is_exact(name: str, tmp_path: Path) -> None:
    application, module, size = APPLICATIONS[name]
    source = saved(statistics(module(10)), tmp_path / "s.pt")
    model = application(weights=None, classes=10, input_shape=(size, size, 3))
    model.save(tmp_path / "t.keras")
    gammas = name == "inception_v3"  # Keras' batch norms there have none: they must be folded
    convert(source, tmp_path / "m.keras", like=str(tmp_path / "t.keras"))
    convert(tmp_path / "m.keras", tmp_path / "home.pt", like=str(source))
    one, other = values(source), values(tmp_path / "home.pt")
    assert list(one) == list(other)
    for key, value in one.items():
        folded = gammas and key.endswith(("bn.weight", "running_var"))
        assert folded or "num_batches" in key or np.array_equal(value, other[key]), key


@pytest.mark.slow
def test_gammas_that_keras_has_no_place_for_are_folded_into_the_variances(tmp_path: Path) -> None:
    module = statistics(InceptionV3(10)).eval()
    saved(module, tmp_path / "s.pt")
    model = keras.applications.InceptionV3(
        weights=None, classes=10, input_shape=(96, 96, 3), classifier_activation=None
    )
    model.save(tmp_path / "t.keras")
    report = convert(tmp_path / "s.pt", tmp_path / "m.keras", like=str(tmp_path / "t.keras"))
    assert report.summary["folded_gammas"] == 94
    [counted] = [c for c in report.summary["changes"] if c["attribute"] == "count_include_pad"]
    assert counted["value"] is True  # Keras' pooling cannot: what torch must do to be its equal
    x = np.random.default_rng(1).normal(size=(2, 96, 96, 3)).astype("float32")
    uncounted = [{"module": "*", "attribute": "avg_pool2d.count_include_pad", "value": False}]
    found = keras.models.load_model(tmp_path / "m.keras", compile=False)(x)
    np.testing.assert_allclose(found, run(module, uncounted, x), rtol=1e-3, atol=1e-4)


# --- what only one side has ----------------------------------------------------------------------


class Small(torch.nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1, bias=bias)
        self.bn = torch.nn.BatchNorm2d(8)
        self.fc = torch.nn.Linear(8 * 36, 5)

    def forward(self, x: Any) -> Any:
        return self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))


def small(bias: bool, activation: str | None = None) -> Any:
    given = x = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=bias, activation=activation, name="c")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="b")(x))
    return shaken(keras.Model(given, layers.Dense(5, name="d")(layers.Flatten()(x))))


def test_a_bias_without_a_place_goes_into_the_batch_norm_after_it(tmp_path: Path) -> None:
    model = small(bias=True)
    model.save(tmp_path / "m.keras")
    template = saved(Small(bias=False), tmp_path / "t.pt")
    report = convert(tmp_path / "m.keras", tmp_path / "o.pt", like=str(template))
    assert report.summary["folded_biases"] == 1
    assert any("1 biases folded" in note for note in report.notes)
    x = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype("float32")
    found = run(loaded(Small(bias=False), tmp_path / "o.pt"), report.summary["changes"], x)
    close(found, model(x))  # ... and the rows after Flatten are in the other order


def test_a_bias_before_an_activation_is_not_folded(tmp_path: Path) -> None:
    small(bias=True, activation="relu").save(tmp_path / "m.keras")
    template = saved(Small(bias=False), tmp_path / "t.pt")
    with pytest.raises(UnsupportedError, match="no place for 'c/bias'"):
        convert(tmp_path / "m.keras", tmp_path / "o.pt", like=str(template))
    assert not (tmp_path / "o.pt").exists()


def test_a_bias_that_the_source_lacks_is_zeros(tmp_path: Path) -> None:
    saved(Small(bias=False), tmp_path / "s.pt")
    small(bias=True).save(tmp_path / "t.keras")
    report = convert(tmp_path / "s.pt", tmp_path / "o.keras", like=str(tmp_path / "t.keras"))
    assert not values(tmp_path / "o.keras")["c/bias"].any()
    assert any(note.startswith("made: zeros: 'c/bias'") for note in report.notes)


# --- attentions ----------------------------------------------------------------------------------


class Fused(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleList(
            torch.nn.ModuleDict(
                {
                    "self_attn": torch.nn.MultiheadAttention(32, 4, batch_first=True),
                    "norm1": torch.nn.LayerNorm(32),
                    "linear1": torch.nn.Linear(32, 64),
                    "linear2": torch.nn.Linear(64, 32),
                    "norm2": torch.nn.LayerNorm(32),
                }
            )
            for _ in range(3)
        )

    def forward(self, x: Any) -> Any:
        for b in self.blocks:
            x = b["norm1"](x + b["self_attn"](x, x, x)[0])
            x = b["norm2"](x + b["linear2"](torch.relu(b["linear1"](x))))
        return x


def attentions() -> Any:
    x = given = keras.Input((None, 32))
    for n in range(3):
        y = layers.MultiHeadAttention(4, 8, name=f"att_{n}")(x, x)
        x = layers.LayerNormalization(epsilon=1e-5, name=f"first_norm_{n}")(x + y)
        y = layers.Dense(64, activation="relu", name=f"up_{n}")(x)
        x = layers.LayerNormalization(epsilon=1e-5, name=f"second_norm_{n}")(
            x + layers.Dense(32, name=f"down_{n}")(y)
        )
    return shaken(keras.Model(given, x))


def test_attentions_go_from_split_to_fused_and_back(tmp_path: Path) -> None:
    model = attentions()
    model.save(tmp_path / "m.keras")
    template = saved(Fused(), tmp_path / "t.pt")
    convert(tmp_path / "m.keras", tmp_path / "o.pt", like=str(template))
    x = np.random.default_rng(0).normal(size=(2, 7, 32)).astype("float32")
    with torch.no_grad():
        found = loaded(Fused(), tmp_path / "o.pt")(torch.from_numpy(x)).numpy()
    close(found, model(x))
    convert(tmp_path / "o.pt", tmp_path / "home.keras", like=str(tmp_path / "m.keras"))
    one, other = values(tmp_path / "m.keras"), values(tmp_path / "home.keras")
    assert all(np.array_equal(one[name], other[name]) for name in one)


# --- separable convolutions ----------------------------------------------------------------------


class Twofold(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        ins = 3
        self.blocks = torch.nn.ModuleList()
        for outs, many in ((8, 1), (8, 2), (12, 1)):
            block = {
                "depth": torch.nn.Conv2d(ins, ins * many, 3, groups=ins, bias=False),
                "point": torch.nn.Conv2d(ins * many, outs, 1),
                "bn": torch.nn.BatchNorm2d(outs),
            }
            self.blocks.append(torch.nn.ModuleDict(block))
            ins = outs

    def forward(self, x: Any) -> Any:
        for b in self.blocks:
            x = torch.relu(b["bn"](b["point"](b["depth"](x))))
        return x


def test_separable_convolutions_become_two_and_one_again(tmp_path: Path) -> None:
    x = given = keras.Input((8, 8, 3))
    for n, (outs, many) in enumerate(((8, 1), (8, 2), (12, 1))):
        x = layers.SeparableConv2D(
            outs, 3, padding="same", depth_multiplier=many, name=f"block{n}_sep"
        )(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"block{n}_bn")(x))
    model = shaken(keras.Model(given, x))
    model.save(tmp_path / "m.keras")
    template = saved(Twofold(), tmp_path / "t.pt")
    report = convert(tmp_path / "m.keras", tmp_path / "o.pt", like=str(template))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    found = run(loaded(Twofold(), tmp_path / "o.pt"), report.summary["changes"], x)
    close(found.transpose(0, 2, 3, 1), model(x))
    convert(tmp_path / "o.pt", tmp_path / "home.keras", like=str(tmp_path / "m.keras"))
    one, other = values(tmp_path / "m.keras"), values(tmp_path / "home.keras")
    assert all(np.array_equal(one[name], other[name]) for name in one)


# --- templates of any kind -----------------------------------------------------------------------


@pytest.mark.parametrize("target", ["o.pt", "o.safetensors", "o.npz"])
@pytest.mark.parametrize("template", ["t.keras", "t.weights.h5", "t.pt", "t.safetensors"])
def test_a_state_dict_may_have_the_names_of_any_template(
    template: str, target: str, tmp_path: Path
) -> None:
    module = Small(bias=True)
    saved(module, tmp_path / "s.pt")
    other = tmp_path / template
    if template == "t.weights.h5":
        small(bias=True).save_weights(other)
    elif template == "t.keras":
        small(bias=True).save(other)
    else:
        names = {"conv": "stem.0", "bn": "stem.1", "fc": "head"}
        state = {
            f"{names[key.split('.')[0]]}.{key.split('.')[1]}": Tensor.of("", value.numpy())
            for key, value in Small(bias=True).state_dict().items()
        }
        tensors = [Tensor(n, t.shape, t.dtype, t.data) for n, t in reversed(state.items())]
        convert(WeightTree(tensors, separator=".", convention="torch"), other)
    flatten = {"fc": (6, 6, 8)} if template == "t.weights.h5" else {}
    report = convert(tmp_path / "s.pt", tmp_path / target, like=str(other), flatten=flatten)
    found, shapes = values(tmp_path / target), values(other)
    assert list(found) == list(shapes)
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in shapes.items()}
    assert report.summary["unmatched"] == [] and report.summary["verified"]


# --- doubts --------------------------------------------------------------------------------------


def twins(*names: str, seed: int = 0) -> WeightTree:
    rng = np.random.default_rng(seed)
    tensors = []
    for name in names:
        tensors.append(Tensor.of(f"{name}.weight", rng.normal(size=(8, 8)).astype("float32")))
        tensors.append(Tensor.of(f"{name}.bias", rng.normal(size=8).astype("float32")))
    return WeightTree(tensors, separator=".", convention="torch")


@pytest.fixture
def template(tmp_path: Path) -> str:
    path = tmp_path / "t.safetensors"
    convert(twins("one", "two", "six", seed=1), path)
    return str(path)


def test_what_nothing_tells_apart_is_named_and_not_guessed(template: str, tmp_path: Path) -> None:
    source = twins("red", "green", "blue")
    planned = plan(source, tmp_path / "o.pt", options=Options(like=template))
    assert planned.said["ambiguous"] == [
        {"source": ["red", "green", "blue"], "template": ["one", "two", "six"]}
    ]
    assert "--mapping FILE" in planned.problems[0]
    with pytest.raises(UnsupportedError, match="nothing tells 'red', 'green', 'blue' apart"):
        convert(source, tmp_path / "o.pt", like=template)


def test_a_mapping_file_decides_and_may_be_partial(template: str, tmp_path: Path) -> None:
    source = twins("red", "green", "blue")
    (tmp_path / "map.json").write_text(
        json.dumps({"one.weight": "blue.weight", "two.weight": "red.weight"})
    )
    report = convert(source, tmp_path / "o.pt", like=template, mapping=str(tmp_path / "map.json"))
    found = values(tmp_path / "o.pt")
    pairs = {"one": "blue", "two": "red", "six": "green"}
    for new, old in pairs.items():
        assert np.array_equal(found[f"{new}.weight"], source[f"{old}.weight"].read())
        assert np.array_equal(found[f"{new}.bias"], source[f"{old}.bias"].read())
    assert [row.evidence for row in report.rows[:2]] == ["mapping file"] * 2


def test_the_mapping_that_is_written_can_be_read(tmp_path: Path, template: str) -> None:
    from wtools.cli import run as wtools_command

    convert(twins("red", "green", "blue"), tmp_path / "s.safetensors")
    (tmp_path / "map.json").write_text(
        json.dumps({"one.weight": "blue.weight", "two.weight": "red.weight"})
    )
    base = ["convert", str(tmp_path / "s.safetensors"), str(tmp_path / "o.pt"), "--like", template]
    assert wtools_command([*base, "--quiet"]) == 4
    out = tmp_path / "out.json"
    given = ["--mapping", str(tmp_path / "map.json"), "--mapping-out", str(out), "--quiet"]
    assert wtools_command([*base, *given]) == 0
    known = json.loads(out.read_text())
    assert known["tensors"]["one.weight"]["sources"] == ["blue.weight"]
    first = values(tmp_path / "o.pt")
    again = ["--mapping", str(out), "--overwrite", "--quiet"]
    assert wtools_command([*base, *again]) == 0
    assert all(np.array_equal(a, first[n]) for n, a in values(tmp_path / "o.pt").items())


@pytest.mark.parametrize(
    "text, reason",
    [
        ("[1", "cannot be read as a mapping"),
        ("[]", "is no mapping"),
        ('{"one.weight": 3}', "is not mapped to names"),
        ('{"none.weight": "red.weight"}', "'none.weight', which is not in"),
        ('{"one.weight": "rad.weight"}', "'rad.weight', which is not in"),
    ],
)
def test_a_mapping_file_that_is_none_is_refused(
    text: str, reason: str, template: str, tmp_path: Path
) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(UsageError, match=reason):
        convert(
            twins("red", "green", "blue"),
            tmp_path / "o.pt",
            like=template,
            mapping=str(tmp_path / "map.json"),
        )


def test_equal_values_tell_layers_apart(template: str, tmp_path: Path) -> None:
    """The same weights under other names and in another order are recognized as the same."""
    same = twins("one", "two", "six", seed=1)
    names = {"one": "red", "two": "green", "six": "blue"}
    shuffled = [
        same[f"{old}.{leaf}"].rename(f"{names[old]}.{leaf}")
        for old in ("six", "one", "two")
        for leaf in ("weight", "bias")
    ]
    source = WeightTree(shuffled, separator=".", convention="torch")
    report = convert(source, tmp_path / "o.safetensors", like=template)
    assert {row.evidence for row in report.rows} == {"equal values"}
    found = values(tmp_path / "o.safetensors")
    assert all(np.array_equal(found[name], tensor.read()) for name, tensor in same.items())


def test_without_strict_the_template_keeps_its_own(template: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    source = WeightTree(
        [
            Tensor.of("two.weight", rng.normal(size=(8, 8)).astype("float32")),
            Tensor.of("two.bias", rng.normal(size=8).astype("float32")),
            Tensor.of("extra.weight", rng.normal(size=(3, 4)).astype("float32")),
        ],
        separator=".",
        convention="torch",
    )
    problems = plan(source, tmp_path / "o.pt", options=Options(like=template)).problems
    assert any("nothing in the source for 'one.weight'" in problem for problem in problems)
    assert any("no place for 'extra.weight'" in problem for problem in problems)
    report = convert(source, tmp_path / "o.pt", like=template, strict=False)
    found, old = values(tmp_path / "o.pt"), values(Path(template))
    assert np.array_equal(found["two.weight"], source["two.weight"].read())
    assert np.array_equal(found["one.weight"], old["one.weight"])
    assert report.summary["unused"] == ["extra.weight"]
    assert set(report.summary["unmatched"]) == {
        *("one.weight", "one.bias", "six.weight", "six.bias")
    }


def test_shapes_are_never_bent(template: str, tmp_path: Path) -> None:
    """A matrix of as many elements is another matrix."""
    source = WeightTree(
        [Tensor.of("one.weight", np.zeros((4, 16), "float32"))], separator=".", convention="torch"
    )
    planned = plan(source, tmp_path / "o.pt", options=Options(like=template))
    assert planned.problems


@pytest.mark.parametrize("prefix", ["bert.", "module.model."])
def test_names_below_a_module_are_the_same_names(
    prefix: str, template: str, tmp_path: Path
) -> None:
    old = twins("one", "two", "six", seed=3)
    source = old.rename([("^", prefix)])
    report = convert(source, tmp_path / "o.pt", like=template)
    assert {row.evidence for row in report.rows} == {
        f"same name below {prefix[:-1]!r}".replace(".", "/")
    }
    found = values(tmp_path / "o.pt")
    assert all(np.array_equal(found[name], tensor.read()) for name, tensor in old.items())


def test_a_cast_goes_with_it(template: str, tmp_path: Path) -> None:
    report: Report = convert(
        twins("a.one", "a.two", "a.six"), tmp_path / "o.pt", like=template, dtype="float16"
    )
    assert all(row.to == "float16" and "cast" in row.change for row in report.rows)
