"""From a Keras file to a running ONNX model: wtools, Keras' own export, tf2onnx.

Each converter is a process of its own, from the `.keras` file to the `.onnx` file, so that its
time and peak memory are what a person pays. TF2ONNX_PYTHON names an interpreter that has tf2onnx
beside TensorFlow and Keras (Keras needs it, too); by default it is this one.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .keras_to_onnx_models import LAYERS, MODELS
from .measure import WTOOLS, Cost, once, table

MIB = 1 << 20
PEER = os.environ.get("TF2ONNX_PYTHON", sys.executable)
TOOLS = ("wtools", "keras export", "tf2onnx")
QUIET = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
SCRIPT = Path(__file__).with_name("keras_to_onnx_models.py")


def run() -> str:
    """Markdown: whole models, then layer by layer."""
    os.environ.update(QUIET)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script(sys.executable, "make", folder)
        return f"{_models(folder)}\n\n{_layers(folder)}"


def script(python: str, *arguments: object) -> str:
    """Run a part of the script of models; what it prints. Raises where it fails."""
    command = [python, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=QUIET)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def _command(tool: str, source: Path, target: Path) -> list[str]:
    if tool == "wtools":
        return [*WTOOLS, "convert", str(source), str(target), "--overwrite", "--quiet"]
    return [PEER, str(SCRIPT), "convert", tool, str(source), str(target)]


def _models(folder: Path) -> str:
    rows = []
    for model in MODELS:
        for tool in TOOLS:
            source, target = folder / f"{model}.keras", folder / f"{model}.{tool}.onnx"
            try:
                spent = once(_command(tool, source, target))
            except RuntimeError as error:
                rows.append([model, tool, _reason(str(error)), *[""] * 6])
                continue
            rows.append([model, tool, *_figures(spent, source, target)])
            target.unlink()
    header = ["model", "converter", "seconds", "peak MB", "largest difference", "nodes"]
    return table([*header, "names kept", "ms a run", "MB"], rows)


def _figures(spent: Cost, source: Path, target: Path) -> list[str]:
    size = target.stat().st_size / MIB
    try:
        told = json.loads(script(sys.executable, "check", source, target).splitlines()[-1])
    except RuntimeError:
        return [f"{spent.wall:.1f}", f"{spent.peak / MIB:.0f}", "does not load", *[""] * 3, ""]
    return [
        f"{spent.wall:.1f}",
        f"{spent.peak / MIB:.0f}",
        f"{told['difference']:.1e}",
        str(told["nodes"]),
        f"{told['kept']} of {told['weights']}",
        f"{told['milliseconds']:.1f}",
        f"{size:.0f}",
    ]


def _reason(error: str) -> str:
    """The last line that names an error; a process that is killed for its memory leaves none."""
    named = [line for line in error.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return f"fails: {named[-1][:80]}" if named else "fails: killed (memory)"


def _layers(folder: Path) -> str:
    answers: dict[str, dict[str, str]] = {}
    for tool in TOOLS:
        answers[tool] = {}
        if tool == "wtools":
            for layer in LAYERS:
                source, target = folder / f"{layer}.keras", folder / f"{layer}.{tool}.onnx"
                once(_command(tool, source, target))
        else:
            script(PEER, "layers", tool, folder)
        for line in script(sys.executable, "compare", tool, folder).splitlines():
            layer, _, answer = line.partition("\t")
            answers[tool][layer] = answer
    rows: list[Sequence[str]] = []
    for layer in LAYERS:
        rows.append([layer, *(answers[tool].get(layer, "") for tool in TOOLS)])
    note = "Nodes of the graph, where it agrees with Keras within 1e-5; else what is wrong."
    return f"{note}\n\n{table(['layer', *TOOLS], rows)}"


if __name__ == "__main__":
    sys.stdout.write(run() + "\n")
