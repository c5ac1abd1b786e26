"""Planted faults are found: the layer is named, and its cause."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wtools.engines import Engine, runnable
from wtools.verification.run import compare

from .models import as_module, images, saved, series

torch = pytest.importorskip("torch")
pytest.importorskip("keras")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def image_model(folder: Path) -> Iterator[Engine]:
    with Engine(runnable(saved(images(), folder / "images.h5"))) as engine:
        yield engine.ready()


@pytest.fixture(scope="module")
def series_model(folder: Path) -> Iterator[Engine]:
    with Engine(runnable(saved(series(), folder / "series.keras"))) as engine:
        yield engine.ready()


def against(
    engine: Engine,
    edit: Callable[[str], str] = str,
    change: Callable[[dict[str, Any]], None] = lambda state: None,
) -> Any:
    """The report of that model against its own PyTorch module, the fault planted in it."""
    weights, source = as_module(Path(engine.model.path))
    state = torch.load(weights, weights_only=True)
    change(state)
    torch.save(state, weights)
    module = weights.with_suffix(".py")
    module.write_text(edit(source))
    with Engine(runnable(weights, str(module))) as other:
        assert other.pid != engine.pid
        return compare(engine, other.ready())


def replaced(pattern: str, text: str) -> Callable[[str], str]:
    def edit(source: str) -> str:
        edited, count = re.subn(pattern, text, source)
        assert count == 1, f"{pattern} stands {count} times in\n{source}"
        return edited

    return edit


def test_the_module_itself_agrees(image_model: Engine, series_model: Engine) -> None:
    for engine in (image_model, series_model):
        report = against(engine)
        assert report.summary["equal"], report
        assert "layer" not in report.summary
        assert all(row.equal and row.max_abs < 1e-5 * (1 + row.scale) for row in report.rows)


IMAGE_FAULTS = {
    "epsilon": (replaced(r"eps=0\.001, momentum", "eps=1e-05, momentum"), "norm", "epsilon"),
    "layer epsilon": (replaced(r"LayerNorm\(8, eps=0\.001", "LayerNorm(8, eps=1e-06"), "layernorm",
                      "epsilon"),
    "padding": (replaced(r"\(0, 1, 0, 1\)", "(1, 1, 1, 1)"), "conv", "padding"),
    "pooling": (replaced(", count_include_pad=False", ""), "pool", "pooling count"),
    "flatten": (replaced(r"x\.flatten\(1\)", "x.permute(0, 2, 3, 1).flatten(1)"), "hidden",
                "flatten order"),
    "gelu": (replaced(r"F\.gelu\(x\)", "F.gelu(x, approximate='tanh')"), "layernorm",
             "activation"),
}  # fmt: skip


@pytest.mark.parametrize("fault", IMAGE_FAULTS)
def test_faults_of_an_image_model(fault: str, image_model: Engine) -> None:
    edit, layer, cause = IMAGE_FAULTS[fault]
    report = against(image_model, edit)
    found = report.summary
    assert not found["equal"]
    assert (found["layer"], found["cause"]) == (layer, cause), found
    assert found["cause_left"] is not None and found["cause_left"] < found["layer_max_abs"] / 50
    assert any(layer in note for note in report.notes)


def gates(prefix: str, order: tuple[int, ...]) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        for name, tensor in state.items():
            if name.startswith(prefix):
                parts = tensor.chunk(len(order))
                state[name] = torch.cat([parts[i] for i in order])

    return change


def test_the_statistics_of_a_norm_exchanged(image_model: Engine) -> None:
    def change(state: dict[str, Any]) -> None:
        mean, variance = state["norm.running_mean"], state["norm.running_var"]
        state["norm.running_mean"], state["norm.running_var"] = variance, mean.abs()

    report = against(image_model, change=change)
    assert (report.summary["layer"], report.summary["cause"]) == ("norm", "statistics")


def test_swapped_gates_of_an_lstm(series_model: Engine) -> None:
    report = against(series_model, change=gates("first.", (0, 3, 1, 2)))
    found = report.summary
    assert (found["layer"], found["cause"]) == ("first", "gate order")
    assert "i o f c" in found["explanation"] or "i c o f" in found["explanation"]


def test_gates_of_a_bidirectional_gru_in_keras_order(series_model: Engine) -> None:
    report = against(series_model, change=gates("both.", (1, 0, 2)))
    assert (report.summary["layer"], report.summary["cause"]) == ("both", "gate order")


def test_the_last_step_of_a_backward_direction(series_model: Engine) -> None:
    edit = replaced(r"torch\.cat\(\(.*\), dim=-1\)", "self.both(first)[0][:, -1]")
    report = against(series_model, edit)
    assert not report.summary["equal"]
    assert report.summary["layer"] == "head"  # the module's own layers do what they should


def test_a_bias_left_out(image_model: Engine) -> None:
    def change(state: dict[str, Any]) -> None:
        state["head.bias"].zero_()

    report = against(image_model, change=change)
    assert (report.summary["layer"], report.summary["cause"]) == ("head", "bias")


def test_a_narrow_policy_is_the_cause_not_a_layer_s_options(folder: Path) -> None:
    import keras

    import wtools

    layers = [keras.layers.Conv2D(4, 3, dtype="mixed_float16"), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    path = folder / "mixed.keras"
    model.save(path)
    wtools.convert(path, folder / "mixed.onnx")
    report = wtools.verify(path, folder / "mixed.onnx", batches=[2])
    assert not report.summary["equal"]
    assert report.summary["layer"] == "conv2d" or report.summary["kind"] == "Conv2D"
    assert report.summary["cause"] == "precision"
    assert "mixed_float16" in report.summary["explanation"]
