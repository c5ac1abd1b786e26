"""The examples: each script runs alone and shows what it claims, and so does the notebook."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wtools

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def run_script(name: str, folder: Path) -> str:
    """What the script prints, run as its first lines say."""
    command = [sys.executable, str(EXAMPLES / name), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    proofs = re.findall(r"^equal +(\w+)$", done.stdout, re.MULTILINE)
    assert proofs and set(proofs) == {"yes"}
    return done.stdout


def test_linear_models(tmp_path: Path) -> None:
    lengths = re.search(
        r"length: ([\d.]+) .*, ([\d.]+) with", run_script("linear_models.py", tmp_path)
    )
    assert lengths and float(lengths[2]) < float(lengths[1])
    with (
        wtools.open(tmp_path / "ridge.onnx") as own,
        wtools.open(tmp_path / "linear.onnx") as other,
    ):
        assert not wtools.verify_bits(own, other).summary["equal"]


@pytest.mark.slow
def test_two_layers(tmp_path: Path) -> None:
    run_script("two_layers.py", tmp_path)
    with wtools.open(tmp_path / "two_layers_fresh.keras") as tree:
        found = {row.name: (row.fit, row.verdict) for row in wtools.init(tree).rows}
    assert found["hidden/kernel"] == found["logits/kernel"] == ("he_truncated_normal", "untouched")
    with wtools.open(tmp_path / "two_layers.keras") as tree:
        assert {row.verdict for row in wtools.init(tree).rows} <= {"trained", "lightly trained"}


@pytest.mark.slow
def test_small_cnn(tmp_path: Path) -> None:
    text = run_script("small_cnn.py", tmp_path)
    accuracies = re.search(r"accuracy ([\d.]+), with L1 ([\d.]+)", text)
    assert accuracies and min(map(float, accuracies.groups())) > 0.8
    assert "nn.Conv2d(1, 16, 3, padding=1)" in text
    with wtools.open(tmp_path / "small_cnn_l1.h5") as tree:
        rows = {row.name: row for row in wtools.sparsity(tree, threshold=1e-3).rows}
    assert rows["hidden/kernel"].zero_fraction > 0.5 > rows["conv2/kernel"].zero_fraction
    assert rows["hidden/kernel"].explanation.startswith("L1")


@pytest.mark.slow
def test_lstm(tmp_path: Path) -> None:
    run_script("lstm.py", tmp_path)
    with wtools.open(tmp_path / "lstm.onnx") as tree:
        assert "LSTM" in {tensor.kind for tensor in tree.values()}
    assert "nn.LSTM(" not in (tmp_path / "lstm_module.py").read_text()  # which knows tanh alone


@pytest.mark.slow
def test_transfer_resnet50(tmp_path: Path) -> None:
    run_script("transfer_resnet50.py", tmp_path)
    start, tuned = tmp_path / "resnet50_start.keras", tmp_path / "resnet50_tuned.keras"
    with wtools.open(start) as before, wtools.open(tuned) as after:
        moved = {row.name for row in wtools.freeze(before, after).rows if row.state != "identical"}
        assert moved == {"new_head/kernel", "new_head/bias"}
        assert {t.name for t in after.values() if t.trainable} == moved


@pytest.mark.slow
def test_the_notebook(tmp_path: Path) -> None:
    """Run from the top, as a reader would; its assertions hold, and no cell complains."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    notebook = nbformat.read(EXAMPLES / "wtools.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=500,
        kernel_name="python3",
        resources={"metadata": {"path": str(EXAMPLES)}},
    )
    client.execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [output for output in shown if output.get("name") == "stderr"]
    assert sum("text/html" in output.get("data", {}) for output in shown) > 15


def test_the_notebook_is_committed_with_its_outputs() -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(EXAMPLES / "wtools.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells[1:])
    imported = "\n".join(cell.source for cell in cells)
    for script in SCRIPTS:
        assert f"import {script.stem}" in imported  # no example is left out


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_says_how_to_run_it(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) < 100
    assert f"python examples/{script.name}" in (ast.get_docstring(ast.parse(text)) or "")
