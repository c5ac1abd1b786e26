"""`wtools freeze MODEL`: the code it prints freezes exactly the parameters that it names."""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from analyzers.tuned import arrays, bert, resnet, through, tree
from click.testing import CliRunner

import wtools
from wtools.analyzers.freeze import Choice, plan
from wtools.analyzers.freeze.code import beginnings
from wtools.analyzers.freeze.verdict import MOVED, STAYED
from wtools.cli import cli, run
from wtools.errors import NameNotFoundError, UsageError
from wtools.formats.keras.flags import write_flags

MODELS = {"bert": bert, "resnet": resnet}
CHOICES: list[dict[str, Any]] = [
    {"head_only": True},
    {"last": 1},
    {"last": 2, "norms": True},
    {"last": 0},
    {"norms": True},
    {"last": 100},
    {},
]


def expected(model: torch.nn.Module, layers: set[str]) -> set[str]:
    return {n for n, _ in model.named_parameters() if n.rpartition(".")[0] in layers}


def norms(model: torch.nn.Module) -> set[str]:
    kinds = (torch.nn.LayerNorm, torch.nn.BatchNorm2d)
    return {n for n, module in model.named_modules() if isinstance(module, kinds)}


# --- torch ---------------------------------------------------------------------------------------


def run_torch(model: torch.nn.Module, code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"model": model}
    exec(code, names)
    return names


def trainable(model: torch.nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_torch_code_freezes_exactly_the_named_parameters(kind: str, choice: dict[str, Any]) -> None:
    model = MODELS[kind]()
    report = wtools.freeze(tree(arrays(model)), by="tensor", code="torch", **choice)
    named = {row.name for row in report.rows if row.trained}
    run_torch(model, report.summary["code"])
    assert trainable(model) == named
    sizes = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert report.summary["trained_parameters"] == sizes
    rest = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    assert report.summary["frozen_parameters"] == rest
    if choice.get("norms") and set(choice) == {"norms"}:
        assert named == expected(model, norms(model))


def test_the_choices_are_what_they_say_of_a_resnet() -> None:
    model = resnet()

    def trained(**choice: Any) -> set[str]:
        made = plan(tree(arrays(model)), Choice(**choice))
        return {layer for layer, does in made.layers() if does}

    assert trained(head_only=True) == {"fc"}
    block = {f"layer2.1.{name}" for name in ("conv1", "bn1", "conv2", "bn2")}
    assert trained(last=2) == {"fc"} | block
    assert trained(until="layer2.0") == {"fc"} | block
    assert trained(until="layer2") == {"fc"}  # a stage ends with its last block
    assert trained(until="*", norms=True) == norms(model)


def test_frozen_batch_norms_are_put_in_eval_mode() -> None:
    model = resnet()
    code = wtools.freeze(tree(arrays(model)), last=2, code="torch").summary["code"]
    before = arrays(model)
    model.train()
    run_torch(model, code)
    assert model.bn1.training is False and model.layer2[1].bn1.training is True
    model(torch.randn(4, 3, 8, 8))
    moved = {n for n, a in arrays(model).items() if not np.array_equal(a, before[n])}
    assert moved and all(name.startswith("layer2.1.bn") for name in moved)


@pytest.mark.parametrize("kind", MODELS)
def test_learning_rates_fall_from_the_head_to_the_stem(kind: str) -> None:
    model = MODELS[kind]()
    report = wtools.freeze(tree(arrays(model)), by="tensor", code="torch", lr=1e-3, decay=0.5)
    optimizer = run_torch(model, report.summary["code"])["optimizer"]
    name_of = {id(p): n for n, p in model.named_parameters()}
    rates = {name_of[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates == {row.name: pytest.approx(row.lr) for row in report.rows if row.trained}
    units = wtools.freeze(tree(arrays(model)), lr=1e-3, decay=0.5).rows
    assert units[-1].lr == 1e-3
    assert all(a.lr == pytest.approx(b.lr / 2) for a, b in itertools.pairwise(units))


def test_memory_is_that_of_adam() -> None:
    model = resnet()
    report = wtools.freeze(tree(arrays(model)), head_only=True)
    run_torch(
        model, wtools.freeze(tree(arrays(model)), head_only=True, code="torch").summary["code"]
    )
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    optimizer.step()
    state = sum(v.nbytes for s in optimizer.state.values() for v in s.values() if v.ndim)
    gradients = sum(p.grad.nbytes for p in model.parameters() if p.grad is not None)
    assert report.summary["adam_nbytes"] == state
    assert report.summary["gradient_nbytes"] == gradients


def test_the_table_runs_from_stem_to_head() -> None:
    rows = wtools.freeze(tree(arrays(resnet()))).rows
    assert [row.name for row in rows] == [
        *("stem", "layer1.0", "layer1.1", "layer2.0", "layer2.1", "head"),
    ]
    assert [row.stage for row in rows] == ["", "layer1", "layer1", "layer2", "layer2", ""]
    assert rows[-1].cumulative == 1.0
    assert sum(row.count for row in rows) == sum(a.size for a in arrays(resnet()).values())


def test_tied_weights_are_trained_together(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = torch.nn.Embedding(20, 8)
            self.body = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(3)])
            self.lm_head = torch.nn.Linear(8, 20, bias=False)
            self.lm_head.weight = self.embed.weight

    model = Tied()
    torch.save(model.state_dict(), tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.pt") as held:
        report = wtools.freeze(held, head_only=True, by="tensor", code="torch")
    run_torch(model, report.summary["code"])
    assert trainable(model) == {"embed.weight"}
    assert {row.name for row in report.rows if row.trained} == {"embed.weight", "lm_head.weight"}
    assert any("trained together" in note for note in report.notes)


def test_beginnings_cover_what_is_wanted_and_nothing_else() -> None:
    rng = random.Random(0)
    for _ in range(300):
        names = {
            ".".join(rng.choices(["a", "ab", "b", "0", "1"], k=rng.randint(1, 4)))
            for _ in range(12)
        }
        names = {n for n in names if not any(m.startswith(n + ".") for m in names)}
        wanted = {n for n in names if rng.random() < 0.5}
        found = beginnings(sorted(wanted), sorted(names - wanted))

        def matches(name: str, found: list[str] = found) -> bool:
            return any(name == s or (s[-1] == "." and name.startswith(s)) for s in found)

        assert {n for n in names if matches(n)} == wanted


# --- PEFT ----------------------------------------------------------------------------------------


@dataclass
class LoraConfig:
    target_modules: str
    modules_to_save: list[str]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_peft_patterns_match_exactly(
    kind: str, choice: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MODELS[kind]()
    report = wtools.freeze(tree(arrays(model)), by="tensor", code="peft", **choice)
    named = {row.name for row in report.rows if row.trained}
    peft = ModuleType("peft")
    peft.LoraConfig = LoraConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "peft", peft)
    names: dict[str, Any] = {}
    exec(report.summary["code"], names)
    matched = {n for n, _ in model.named_parameters() if re.match(names["TRAINED"], n)}
    assert matched == named == expected(model, {n.rpartition(".")[0] for n in named})
    assert re.compile(report.summary["pattern"]).pattern == names["TRAINED"]
    config = names["config"]
    adapted = {n for n, _ in model.named_modules() if re.fullmatch(config.target_modules, n)}
    layers = {name.rpartition(".")[0] for name in named}
    matrices = (torch.nn.Linear, torch.nn.Conv2d)
    for name in adapted:
        assert isinstance(model.get_submodule(name), matrices)
    assert adapted | set(config.modules_to_save) == layers
    assert not adapted & set(config.modules_to_save)


# --- Keras ---------------------------------------------------------------------------------------


def keras_model(seed: int = 0) -> Any:
    keras = pytest.importorskip("keras")
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(6, 3, name="c"),
            layers.BatchNormalization(name="bn"),
        ],
        name="inner",
    )
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="c")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = inner(x)
    x = layers.Reshape((6, 36), name="rows")(x)
    x = layers.Bidirectional(layers.LSTM(5), name="both")(x)
    x = layers.Dropout(0.1)(layers.Dense(9, name="hidden")(x))
    return keras.Model(inputs, layers.Dense(3, name="out")(x))


def leaves(model: Any, above: str = "") -> dict[str, Any]:
    found = {}
    for layer in model.layers:
        if hasattr(layer, "layers"):
            found |= leaves(layer, f"{above}{layer.name}/")
        elif layer.weights:
            found[above + layer.name] = layer
    return found


def flags(model: Any) -> dict[str, bool]:
    """Of each layer with weights: are all its weights trained that can be?"""
    return {
        path: bool(layer.trainable and layer.trainable_weights)
        for path, layer in leaves(model).items()
    }


@pytest.mark.parametrize("ending", ["keras", "h5"])
@pytest.mark.parametrize("choices", [CHOICES[2:3], pytest.param(CHOICES, marks=pytest.mark.slow)])
def test_keras_code_and_flags_freeze_exactly_the_named_layers(
    ending: str, choices: list[dict[str, Any]], tmp_path: Path
) -> None:
    keras = pytest.importorskip("keras")
    model = keras_model()
    leaves(model)["hidden"].trainable = False
    leaves(model)["both"].trainable = False
    path = tmp_path / f"m.{ending}"
    model.save(path)
    original = path.read_bytes()
    for i, choice in enumerate(choices):
        out = tmp_path / f"out{i}.{ending}"
        with wtools.open(path) as held:
            report = wtools.freeze(held, code="keras", by="tensor", **choice)
        named = {row.layer for row in report.rows if row.trained}
        wanted = {p: p in named for p in leaves(model)}
        if choice == {}:
            assert {p for p, does in wanted.items() if not does} == {"hidden", "both"}
        again = keras.models.load_model(path)
        exec(report.summary["code"], {"model": again})
        assert flags(again) == wanted, choice
        arguments = [
            f"--{k.replace('_', '-')}" + ("" if v is True else f"={v}") for k, v in choice.items()
        ]
        done = CliRunner().invoke(cli, ["freeze", str(path), *arguments, "--apply", str(out)])
        assert done.exit_code == 0, done.output
        assert path.read_bytes() == original
        copy = keras.models.load_model(out)
        assert flags(copy) == wanted, choice
        for one, two in zip(model.weights, copy.weights, strict=True):
            assert np.array_equal(one.numpy(), two.numpy())
        trained = {row.name for row in report.rows if row.trained}
        with wtools.open(out) as held:
            assert {t.name for t in held.values() if t.trainable} == trained
        x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
        assert np.array_equal(model(x), copy(x))


@pytest.mark.parametrize("seeds", [(0,), pytest.param(range(1, 9), marks=pytest.mark.slow)])
def test_what_keras_fine_tuning_moved(seeds: Sequence[int], tmp_path: Path) -> None:
    """Random subsets of layers, one step at 1e-5; both formats, and one against the other."""
    keras = pytest.importorskip("keras")
    rng = random.Random(seeds[0])
    x = np.random.default_rng(0).normal(size=(8, 8, 8, 3)).astype(np.float32)
    for seed in seeds:
        model = keras_model(seed)
        for variable in model.trainable_variables:
            variable.assign_add(0.02 * keras.random.normal(variable.shape, seed=seed))
        for ending in ("keras", "h5"):
            model.save(tmp_path / f"base{seed}.{ending}")
        chosen = set(rng.sample(sorted(leaves(model)), rng.randint(1, 5)))
        for path, layer in leaves(model).items():
            layer.trainable = path in chosen
        model.compile(keras.optimizers.Adam(1e-5), "mse", jit_compile=False)
        model.fit(x, np.eye(3, dtype=np.float32)[np.arange(8) % 3], batch_size=8, verbose=0)
        for ending in ("keras", "h5"):
            model.save(tmp_path / f"tuned{seed}.{ending}")
        for one, two in (("keras", "keras"), ("h5", "h5"), ("keras", "h5")):
            with (
                wtools.open(tmp_path / f"base{seed}.{one}") as a,
                wtools.open(tmp_path / f"tuned{seed}.{two}") as b,
            ):
                rows = wtools.freeze(a, b).rows
                before = {t.name: t.read() for t in a.values()}
                after = {t.name: b[t.name].read() for t in a.values()}
            # a frozen batch norm of Keras runs in inference mode: its statistics stay, too
            assert {r.state for r in rows if r.layer not in chosen} == {"identical"}
            assert {r.state for r in rows if r.layer in chosen} <= MOVED, (seed, one, two)
            assert not [r.remark for r in rows if "though" in r.remark]
            rounded = {name: through(array) for name, array in after.items()}
            for row in wtools.freeze(tree(before, "/"), tree(rounded, "/")).rows:
                lost = np.array_equal(through(before[row.name]), rounded[row.name])
                assert row.state in (STAYED if lost else MOVED), row


def test_a_keras_file_against_the_torch_model_made_of_it(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="bn"),
            layers.DepthwiseConv2D(3, name="dw"),
            layers.Conv2DTranspose(5, 3, name="up"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(6, name="fc"),
            layers.LayerNormalization(name="ln"),
            layers.Dense(6, name="square"),
        ]
    )
    nn = torch.nn
    parts = {
        "conv": nn.Conv2d(3, 4, 3),
        "bn": nn.BatchNorm2d(4),
        "dw": nn.Conv2d(4, 4, 3, groups=4),
        "up": nn.ConvTranspose2d(4, 5, 3),
        "fc": nn.Linear(5, 6),
        "ln": nn.LayerNorm(6),
        "square": nn.Linear(6, 6),
    }
    axes = {"conv": (3, 2, 0, 1), "dw": (2, 3, 0, 1), "up": (3, 2, 0, 1), "fc": (1, 0)}
    axes["square"] = (1, 0)
    with torch.no_grad():
        for name, order in axes.items():
            kernel, bias = (w.numpy() for w in model.get_layer(name).weights)
            parts[name].weight.copy_(torch.tensor(kernel.transpose(order).copy()))
            parts[name].bias.copy_(torch.tensor(bias))
        parts["up"].weight.add_(1e-5)
    model.save(tmp_path / "m.h5")
    torch.save(nn.ModuleDict(parts).state_dict(), tmp_path / "m.pt")
    with wtools.open(tmp_path / "m.h5") as ours, wtools.open(tmp_path / "m.pt") as theirs:
        for a, b in ((ours, theirs), (theirs, ours)):
            states = {row.name.replace("/", "."): row.state for row in wtools.freeze(a, b).rows}
            assert states.pop("bn.num_batches_tracked", None) in (None, "identical")
            moved = states.pop("up.kernel" if a is ours else "up.weight")
            assert moved == "moved" and set(states.values()) == {"identical"}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["h5", "keras"])
def test_flags_of_keras_2_models(ending: str, tmp_path: Path) -> None:
    keras = pytest.importorskip("tf_keras")
    layers = keras.layers
    deep = keras.Sequential(
        [keras.Input((4, 4, 6)), layers.Conv2D(6, 1), layers.BatchNormalization()], name="deep"
    )
    held = keras.Input((6, 6, 3))
    x = layers.BatchNormalization(name="bn")(layers.Conv2D(6, 3, name="c")(held))
    x = layers.BatchNormalization(name="last")(deep(x))
    inner = keras.Model(held, x, name="inner")
    image = keras.Input((6, 6, 3))
    model = keras.Model(image, layers.Dense(2, name="head")(layers.Flatten()(inner(image))))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 1, weight.shape))
    x = rng.normal(size=(2, 6, 6, 3)).astype(np.float32)
    for frozen in (set(), {"inner/bn", "inner/c"}, set(leaves(model))):
        for path, layer in leaves(model).items():
            layer.trainable = path not in frozen
        model.save(tmp_path / f"m.{ending}")
        for choice in ({"head_only": True}, {"norms": True}, {"last": 2}, {"last": 9}, {"last": 0}):
            with wtools.open(tmp_path / f"m.{ending}") as tree_:
                made = dict(plan(tree_, Choice(**choice)).layers())
            write_flags(tmp_path / f"m.{ending}", tmp_path / f"out.{ending}", made, overwrite=True)
            copy = keras.models.load_model(tmp_path / f"out.{ending}", compile=False)
            assert flags(copy) == made
            assert np.array_equal(model(x), copy(x))


def test_flags_are_not_written_where_they_cannot_be(tmp_path: Path, fixtures: Path) -> None:
    def code(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["freeze", *arguments], catch_exceptions=True)
        raised = done.exception
        number = getattr(raised, "exit_code", done.exit_code)
        return number, str(raised) + done.output

    state = str(fixtures / "pytorch/state_dict.pt")
    assert code(state, "--apply", str(tmp_path / "x.pt"))[0] == 2
    weights = str(fixtures / "keras/nested.weights.h5")
    number, said = code(weights, "--apply", str(tmp_path / "x.h5"))
    assert number == 4 and "whole Keras models" in said
    model = str(fixtures / "keras/nested.h5")
    assert code(model, "--apply", str(tmp_path / "x.keras"))[0] == 4
    (tmp_path / "there.h5").write_bytes(b"kept")
    assert code(model, "--apply", str(tmp_path / "there.h5"))[0] == 4
    assert (tmp_path / "there.h5").read_bytes() == b"kept"
    assert code(model, "--apply", str(tmp_path / "there.h5"), "--overwrite")[0] == 0
    assert code(model, "--apply", model)[0] == 4


# --- odd input -----------------------------------------------------------------------------------

ODD = [
    'a"b',
    "a'b",
    "back\\",
    "{brace}",
    "line\nbreak",
    "nul\0",
    "ünï",
    "\u202e",
    "(",
    "%s",
    "\ud800",
    " ",
]


@pytest.mark.parametrize("code", ["torch", "peft"])
def test_no_name_breaks_out_of_the_code(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{name}{i}.weight" for i, name in enumerate(ODD)]
    held = tree({name: np.ones((3, 4), np.float32) for name in names})
    text = wtools.freeze(held, last=4, code=code).summary["code"]
    assert all(c.isprintable() or c == "\n" for c in text)
    peft = ModuleType("peft")
    peft.LoraConfig = LoraConfig  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "peft", peft)
    ran: dict[str, Any] = {"model": torch.nn.Module()}
    exec(text, ran)
    wanted = {row.name for row in wtools.freeze(held, last=4, by="tensor").rows if row.trained}
    assert 0 < len(wanted) < len(names)
    if code == "peft":
        assert {name for name in names if re.match(ran["TRAINED"], name)} == wanted
    else:
        assert {name for name in names if ran["found"](name)} == wanted


def test_a_model_without_tensors() -> None:
    report = wtools.freeze(tree({}), head_only=True, code="torch")
    assert not report.rows and report.summary["trained_parameters"] == 0
    exec(report.summary["code"], {"model": torch.nn.Module()})
    assert not wtools.freeze(tree({}), tree({}), by="block").rows


# --- what is refused -----------------------------------------------------------------------------


def test_choices_that_contradict_each_other_are_refused() -> None:
    held = tree(arrays(resnet()))
    with pytest.raises(UsageError, match="only one"):
        wtools.freeze(held, head_only=True, last=2)
    with pytest.raises(UsageError, match="--lr"):
        wtools.freeze(held, decay=0.9)
    with pytest.raises(NameNotFoundError, match=r"layer2\.1"):
        wtools.freeze(held, until="layer2.7")
    with pytest.raises(UsageError, match="Keras"):
        wtools.freeze(held, code="keras")
    with pytest.raises(UsageError, match="torch"):
        wtools.freeze(tree({"a/kernel": np.ones((2, 3))}, "/"), code="torch")


def test_json_has_all_of_it(fixtures: Path) -> None:
    done = CliRunner().invoke(
        cli,
        [
            "freeze",
            str(fixtures / "pytorch/state_dict.pt"),
            "--head-only",
            "--code=torch",
            "--json",
        ],
    )
    held = json.loads(done.output)
    assert held["schema"] == "wtools.freeze/1"
    assert "requires_grad_" in held["summary"]["code"] and held["summary"]["pattern"]


@pytest.mark.parametrize(
    "arguments", [["a", "b", "c"], ["a", "b", "--head-only"], ["a", "--threads=1"]], ids=str
)
def test_options_of_the_other_form_are_refused(arguments: list[str]) -> None:
    assert run(["freeze", *arguments]) == 2
