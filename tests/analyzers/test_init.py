"""`wtools init` against the real initializers, trained networks, and what mathematics says."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from init_accuracy import Score, accuracy, kept_apart
from init_drawn import keras, of_module, timm_functions, timm_initializers
from init_trained import digits

import wtools
from wtools.analyzers.initfit.candidates import Setting, candidates
from wtools.analyzers.initfit.fans import Fans, fans_of
from wtools.analyzers.initfit.fit import fit
from wtools.analyzers.initfit.laws import FAMILIES, Family, Law, moment
from wtools.analyzers.initfit.sample import Sample
from wtools.analyzers.initfit.signal import ACTIVATIONS, Step, bars, moments, propagate
from wtools.analyzers.initfit.special import chi2_tail, normal_cdf, normal_quantile, smallest
from wtools.analyzers.initfit.structure import independence, structure
from wtools.cli import run
from wtools.errors import NameNotFoundError
from wtools.layers import Meaning
from wtools.sketch import sketch
from wtools.tree import Tensor, WeightTree

Array = np.ndarray


def tree_of(arrays: dict[str, Array], separator: str = ".", **fields: str) -> WeightTree:
    tensors = [Tensor.of(name, array) for name, array in arrays.items()]
    return WeightTree(tensors, separator=separator, **fields)


def draw(family: str, count: int, rng: np.random.Generator) -> Array:
    """Of scale 1."""
    if family == "uniform":
        return rng.uniform(-1, 1, count)
    if family == "normal":
        return rng.normal(size=count)
    found = rng.normal(size=2 * count)
    return found[np.abs(found) < 2][:count]


def row(tree: WeightTree, name: str) -> object:
    return next(r for r in wtools.init(tree).rows if r.name == name)


# --- against the real initializers, and trained networks ---


def test_real_initializers_are_recognised() -> None:
    check_fresh(accuracy(fresh=[0], trained=[]))


def test_initializers_of_timm_are_recognised() -> None:
    """Its module of initializers alone: timm as a whole needs torchvision."""
    if timm_initializers() is None:
        pytest.skip("timm is not installed (pip install --no-deps timm)")
    for case in timm_functions(seed=0):
        rows = {row.name: row for row in wtools.init(case.tree).rows}
        for name, names in case.expected.items():
            assert names & {rows[name].fit, *rows[name].ties}, (case.what, name)


def test_trained_layers_are_told_from_frozen_ones() -> None:
    check_trained(accuracy(fresh=[], trained=[0]))


def test_the_kernel_of_a_layer_of_one_unit_has_fans() -> None:
    rng = np.random.default_rng(0)
    kernel = np.sqrt(2 / 64) / 0.8796 * draw("truncated_normal", 400, rng)[:64]
    arrays = {
        "fc.weight": kernel.reshape(1, 64),
        "fc.bias": np.zeros(1),
        "cls": rng.normal(size=64),
    }
    tree = tree_of({name: array.astype(np.float32) for name, array in arrays.items()})
    found = row(tree, "fc.weight")
    assert found.verdict == "untouched"
    assert "he_truncated_normal" in (found.fit, *found.ties)


@pytest.mark.slow
def test_real_initializers_and_trained_networks_many_seeds() -> None:
    score = accuracy(fresh=range(10, 14), trained=range(10, 20))
    check_fresh(score)
    check_trained(score)


def check_fresh(score: Score) -> None:
    for who in {who for who, _ in score.named}:
        right, wrong = score.named[who, True], score.named[who, False]
        assert right >= 0.99 * (right + wrong), (who, score.wrong)
    total = sum(score.fresh.values())
    assert score.fresh["untouched"] >= 0.99 * total, score.fresh
    assert uniform(score.p_values) > 1e-3


def check_trained(score: Score) -> None:
    trained = score.verdicts["trained"]
    assert trained["untouched"] <= 0.01 * sum(trained.values()), score.wrong
    frozen = score.verdicts["frozen"]
    assert frozen["untouched"] == sum(frozen.values()), score.wrong


def test_a_keras_file_fresh_and_with_a_frozen_layer(tmp_path: Path) -> None:
    k = keras()
    k.utils.set_random_seed(3)
    x, y = digits()
    layers = k.layers
    model = k.Sequential(
        [
            *(k.Input((64,)), layers.Reshape((8, 8, 1)), layers.Conv2D(32, 3)),
            *(layers.BatchNormalization(), layers.ReLU(), layers.Conv2D(16, 3, activation="relu")),
            *(layers.Reshape((16, 16)), layers.Bidirectional(layers.LSTM(24, name="l"), name="bi")),
            *(layers.Dense(40, activation="tanh", name="frozen"), layers.Dense(10, name="head")),
        ]
    )
    model.save(tmp_path / "fresh.keras")
    report = wtools.init(wtools.open(tmp_path / "fresh.keras"))
    assert {r.verdict for r in report.rows} == {"untouched"}
    fits = {(r.role, r.fit) for r in report.rows if r.kind == "lstm"}
    forget = ("bias", "zeros, forget gate ones")
    assert fits == {("kernel", "glorot_uniform"), ("recurrent_kernel", "orthogonal"), forget}

    model.get_layer("frozen").trainable = False
    model.compile("adam", k.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "tuned.keras")
    report = wtools.init(wtools.open(tmp_path / "tuned.keras"))
    assert {r.layer for r in report.rows if r.verdict == "untouched"} == {"frozen"}


# --- the null distribution ---


def uniform(ps: Sequence[float]) -> float:
    from scipy.stats import kstest

    return float(kstest(ps, "uniform").pvalue)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("count", [100, 1000, 5000])
def test_p_values_are_uniform_under_the_null(family: str, dtype: type, count: int) -> None:
    rng = np.random.default_rng(count)
    law = Law(family, 0.037)  # type: ignore[arg-type]
    ps = []
    for _ in range(200):
        values = (draw(family, count, rng) * law.scale).astype(dtype)
        ps.append(fit(Sample(sketch(values)), law).p_value)
    assert uniform(ps) > 1e-3


def test_p_values_of_an_estimated_scale_are_uniform_too() -> None:
    rng = np.random.default_rng(1)
    ps = []
    for _ in range(400):
        sample = Sample(sketch(rng.normal(size=2000).astype(np.float32)))
        ps.append(fit(sample, Law("normal", sample.rms), free=True).p_value)
    assert uniform(ps) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(10, 100), (40, 32), (16, 16, 3, 3)])
def test_p_values_of_places_are_uniform(family: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    law = Law(family, 0.5)  # type: ignore[arg-type]
    ps = []
    for _ in range(200):
        values = (draw(family, math.prod(shape), rng) * 0.5).astype(np.float32).reshape(shape)
        ps.append(smallest(independence(structure(Tensor.of("x", values)), law).values()))
    assert uniform(ps) > 1e-3


def test_a_rank_one_step_shows_in_the_places_before_it_shows_in_the_distribution() -> None:
    rng = np.random.default_rng(3)
    law = Law("normal", 0.1)
    weights = rng.normal(size=(128, 96)) * 0.1
    step = np.outer(rng.normal(size=128), np.abs(rng.normal(size=96))) * 0.016
    moved = (weights + step).astype(np.float32)
    assert fit(Sample(sketch(moved)), law).p_value > 1e-3
    assert smallest(independence(structure(Tensor.of("x", moved)), law).values()) < 1e-6


@given(st.integers(0, 2**32 - 1), st.sampled_from(FAMILIES), st.integers(-20, 20))
def test_neither_sign_nor_scale_changes_a_fit(seed: int, family: Family, power: int) -> None:
    values = draw(family, 500, np.random.default_rng(seed)).astype(np.float32)
    one = fit(Sample(sketch(values)), Law(family, 1.0))
    other = fit(Sample(sketch(-values * np.float32(2.0**power))), Law(family, 2.0**power))
    assert other.parts["scale"] == pytest.approx(one.parts["scale"], rel=1e-6)
    assert other.distance == pytest.approx(one.distance, abs=0.01)


def test_one_element_beyond_the_bound_rules_a_uniform_out() -> None:
    values = np.random.default_rng(0).uniform(-0.1, 0.1, 4000).astype(np.float32)
    law = Law("uniform", 0.1)
    assert fit(Sample(sketch(values)), law).p_value > 1e-3
    values[17] = 0.1001
    assert fit(Sample(sketch(values)), law).p_value == 0


def test_special_functions_are_scipys() -> None:
    from scipy import stats

    for freedom in (1, 2, 6, 37.5, 900, 30_000):
        for x in (0.01, 1.0, freedom * 0.8, freedom, freedom * 1.1, freedom + 60):
            expected = stats.chi2.sf(x, freedom)
            assert chi2_tail(x, freedom) == pytest.approx(expected, rel=1e-4, abs=1e-15)
    p = np.array([1e-6, 0.3, 0.5, 0.99])
    assert normal_cdf(normal_quantile(p)) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_laws_are_consistent(family: str) -> None:
    law = Law(family, 0.3)  # type: ignore[arg-type]
    p = np.linspace(0.01, 0.99, 33)
    assert law.cdf(law.quantile(p)) == pytest.approx(p, abs=1e-9)
    values = draw(family, 400_000, np.random.default_rng(5)) * 0.3
    assert values.std() == pytest.approx(law.std, rel=0.01)
    assert np.mean(np.abs(values) > 0.5) == pytest.approx(law.beyond(0.5), abs=0.003)
    for power in (4, 6, 8):
        found = np.mean((values / law.std) ** power)
        assert found == pytest.approx(moment(law.family, power), rel=0.15)


# --- fans and candidates ---


@pytest.mark.parametrize(
    "axes, kind, shape, expected",
    [
        ("o i", "dense", (30, 20), (20, 30)),
        ("i o", "dense", (20, 30), (20, 30)),
        ("h w i o", "conv2d", (3, 3, 8, 16), (72, 144)),
        ("o i h w", "conv2d", (16, 8, 3, 3), (72, 144)),
        ("h w o i", "conv2d_transpose", (4, 4, 8, 24), (128, 384)),
        ("h w i m", "depthwise_conv2d", (3, 3, 64, 2), (576, 18)),
        ("i (g u)", "lstm", (24, 128), (24, 128)),
        ("D H e", "multi_head_attention", (40, 4, 16), (40, 64)),
        ("(p H e) D", "multi_head_attention", (144, 48), (48, 144)),
    ],
)
def test_fans(axes: str, kind: str, shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    tensor = Tensor.of("x", np.zeros(shape, np.float32))
    first = fans_of(tensor, Meaning(kind, "kernel", axes))[0]
    assert (first.ins, first.outs) == expected


def test_glorot_and_lecun_are_one_on_a_square_matrix() -> None:
    found = {c.name: c.law for c in candidates(Setting(fans=(Fans(50, 50),)))}
    assert found["glorot_uniform"] == found["lecun_uniform"]
    assert found["torch_default"].std == pytest.approx(found["lecun_uniform"].std / 3**0.5)


def test_what_coincides_is_a_tie_and_never_a_coin_toss() -> None:
    bound = (3 / 60) ** 0.5
    values = np.random.default_rng(2).uniform(-bound, bound, (60, 60)).astype(np.float32)
    found = row(tree_of({"fc.weight": values}), "fc.weight")
    assert "lecun_uniform" in {found.fit, *found.ties}
    assert "glorot_uniform" in {found.fit, *found.ties}
    assert found.evidence["same_distribution"]


def test_a_scale_that_no_initializer_has_is_estimated() -> None:
    values = np.random.default_rng(2).normal(size=(300, 200)).astype(np.float32) * 0.0123
    found = row(tree_of({"fc.weight": values}), "fc.weight")
    assert found.verdict == "untouched" and found.fit == "normal, scale 0.01227"
    assert found.evidence["scale"] == "estimated"


@pytest.mark.parametrize("draw_it", ["normal_(w, std=0.035)", "uniform_(w, -0.035, 0.035)"])
def test_a_scale_that_layers_share_needs_no_name(draw_it: str) -> None:
    from torch import manual_seed, nn

    manual_seed(1)
    model = nn.Sequential(*[nn.Linear(48, 48, bias=False) for _ in range(6)])
    for layer in model:
        eval(f"nn.init.{draw_it}", {"nn": nn, "w": layer.weight.data})
    report = wtools.init(of_module(model))
    assert {r.verdict for r in report.rows} == {"untouched"}
    assert {r.fit.partition(",")[0] for r in report.rows} == {draw_it.partition("_")[0]}


# --- patterns ---


def orthogonal(side: int) -> Array:
    return np.linalg.qr(np.random.default_rng(0).normal(size=(side, side)))[0]


def lstm_bias(units: int) -> Array:
    return np.concatenate([np.zeros(units), np.ones(units), np.zeros(2 * units)])


@pytest.mark.parametrize(
    "name, array, expected",
    [
        ("fc.bias", np.zeros(64), "zeros"),
        ("norm.weight", np.ones(64), "ones"),
        ("fc.weight", np.eye(40, 50), "identity"),
        ("block.gamma", np.full(32, 1e-5), "constant 1e-05"),
        ("fc.weight", orthogonal(60), "orthogonal"),
    ],
)
def test_patterns(name: str, array: Array, expected: str) -> None:
    found = row(tree_of({name: array.astype(np.float32)}), name)
    assert (found.fit, found.verdict, found.p_value) == (expected, "untouched", 1.0)


def test_forget_gates_of_keras() -> None:
    arrays = {
        "lstm/lstm_cell/kernel": np.random.default_rng(0).normal(size=(8, 64)),
        "lstm/lstm_cell/recurrent_kernel": np.random.default_rng(1).normal(size=(16, 64)),
        "lstm/lstm_cell/bias": lstm_bias(16),
    }
    tree = tree_of({k: v.astype(np.float32) for k, v in arrays.items()}, "/", format="keras")
    assert row(tree, "lstm/lstm_cell/bias").fit == "zeros, forget gate ones"


def test_a_padding_row_is_left_out() -> None:
    from torch import manual_seed, nn

    manual_seed(0)
    model = nn.Sequential(nn.Embedding(200, 24, padding_idx=0), nn.Linear(24, 24))
    found = row(of_module(model), "0.weight")
    assert (found.fit, found.verdict) == ("normal_1", "untouched")
    assert "padding" in found.evidence


def test_nan_is_not_an_init() -> None:
    values = np.zeros((40, 40), np.float32)
    values[3, 3] = np.nan
    assert row(tree_of({"fc.weight": values}), "fc.weight").verdict == "not an init"


def test_what_is_skipped_is_told() -> None:
    tree = tree_of({"ids": np.arange(5), "fc.bias": np.zeros(9, np.float32)})
    report = wtools.init(tree)
    assert [r.name for r in report.rows] == ["fc.bias"]
    assert any("1 of 2 tensors analysed" in note for note in report.notes)


# --- signal and advice ---


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_moments_of_activations_are_those_of_samples(name: str) -> None:
    x = np.random.default_rng(0).normal(size=400_000) * 1.5
    f = ACTIVATIONS[name]
    slope = (f(x + 1e-4) - f(x - 1e-4)) / 2e-4
    expected = (np.mean(f(x) ** 2), np.mean(slope**2))
    assert moments(name, 2.25) == pytest.approx(expected, rel=0.05)


def test_he_keeps_the_signal_of_relu_and_glorot_halves_it() -> None:
    def total(variance: float) -> float:
        steps = [Step(str(k), 100, 100, variance**0.5, activation="relu") for k in range(10)]
        return propagate(steps).total

    assert total(2 / 100) == pytest.approx(1)
    assert total(1 / 100) == pytest.approx(2**-10)


def test_predicted_signal_is_that_of_a_real_network() -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(400, 400, bias=False), nn.Tanh()]
        nn.init.normal_(layers[-2].weight, std=0.07)  # type: ignore[arg-type]
    model = nn.Sequential(*layers)
    predicted = wtools.init(of_module(model), activation="tanh").rows[-2].signal
    with torch.no_grad():
        real = model[:10](torch.randn(256, 400)).square().mean().item()
    assert predicted == pytest.approx(real, rel=0.1)


def deep(scheme: Callable[[object], object]) -> WeightTree:
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = [nn.Linear(64, 64) for _ in range(12)]
    for layer in layers:
        scheme(layer.weight.data)
        nn.init.zeros_(layer.bias.data)
    return of_module(nn.Sequential(*layers))


def test_relu_under_glorot_is_advised_against() -> None:
    from torch import nn

    report = wtools.init(deep(nn.init.xavier_uniform_), activation="relu")
    assert report.summary["signal"]["is"] == "vanishing"
    assert any("He's initializers" in note for note in report.notes)
    report = wtools.init(deep(nn.init.kaiming_normal_), activation="relu")
    assert report.summary["signal"]["is"] == "steady"
    assert not any(note.startswith("advice") for note in report.notes)


def test_exploding_scales_are_advised_against() -> None:
    from torch import nn

    report = wtools.init(deep(nn.init.normal_), activation="relu")
    assert report.summary["signal"]["is"] == "exploding"
    assert any("explodes" in note for note in report.notes)


def test_dead_and_twin_units_are_advised_against() -> None:
    rng = np.random.default_rng(0)
    twins = rng.normal(size=(50, 40)) * 0.02
    twins[7] = twins[8]
    equal = np.full((50, 40), 0.3)
    arrays = {"fc1.weight": np.zeros((50, 40)), "fc2.weight": equal, "fc3.weight": twins}
    report = wtools.init(tree_of({k: v.astype(np.float32) for k, v in arrays.items()}))
    advice = {r.name: r.advice for r in report.rows}
    assert "no gradient" in advice["fc1.weight"]
    assert "equal" in advice["fc2.weight"]
    assert "1 units repeat" in advice["fc3.weight"]


def test_bars_have_their_middle_at_one() -> None:
    low, middle, high = bars([0.001, 1.0, 1000.0])
    assert low < middle < high
    assert middle == bars([1.0])
    assert len(bars([1.0] * 500)) == 40


# --- the command ---


def test_the_command_prints_json(fixtures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(fixtures / "keras/mnist_cnn.h5"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wtools.init/1"
    keys = "name layer kind role shape count fit ties runner_up gain p_value verdict evidence"
    assert set(keys.split()) <= found["rows"][0].keys()
    assert found["summary"]["signal"]["activation"] == "relu"


def test_an_unknown_activation_is_told_at_once(fixtures: Path) -> None:
    with wtools.open(fixtures / "keras/mnist_cnn.h5") as tree, pytest.raises(NameNotFoundError):
        wtools.init(tree, activation="relo")


def test_every_fixture_is_analysed(fixtures: Path) -> None:
    kept_apart(fixtures)
