"""ONNX files: what the onnx package sees in them, lazily and without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import facts as known
import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import wtools.formats as formats
from wtools import dtypes
from wtools.errors import CorruptError, MissingError, UnsafeError, UsageError, WtoolsError
from wtools.files import Source
from wtools.formats.onnx import graph as g
from wtools.testing import FormatContract
from wtools.tree import Tensor, WeightTree

FOLDER = known.ROOT / "onnx"
BAD = known.ROOT / "bad" / "onnx"
FACTS = known.load("onnx")


def tree_of(name: str) -> WeightTree:
    return formats.open(FOLDER / name)


def open_bytes(content: bytes, folder: Path) -> WeightTree:
    path = folder / "model.onnx"
    path.write_bytes(content)
    return formats.open(path, format="onnx")


def model_of(*initializers: TensorProto, nodes: Any = (), **fields: Any) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [], [], list(initializers))
    fields = {"opset_imports": [helper.make_opsetid("", 21)], "ir_version": 10} | fields
    return helper.make_model(graph, **fields)


def everything(tree: WeightTree) -> list[Tensor]:
    return [*tree.values(), *(t for below in tree.apart.values() for t in below.values())]


class TestOnnx(FormatContract):
    format = "onnx"
    samples: ClassVar[list[str | Path]] = [FOLDER / name for name in FACTS]

    def survives_cut(self, data: bytes, length: int) -> bool:
        """Cut exactly between two fields of the model, a file is a shorter whole one: protobuf
        has no end mark.
        """
        return onnx.load_model_from_string(data[:length]).HasField("graph")


@pytest.mark.parametrize("name", FACTS)
def test_names_shapes_dtypes_and_sums_are_what_onnx_says(name: str) -> None:
    with tree_of(name) as tree:
        known.check(tree, FACTS[name])


@pytest.mark.parametrize("name", json.loads((BAD / "expected.json").read_text()))
def test_a_bad_file_is_refused_for_its_fault(name: str) -> None:
    expected = json.loads((BAD / "expected.json").read_text())[name]
    with pytest.raises(WtoolsError) as caught, formats.open(BAD / name) as tree:
        for tensor in everything(tree):
            tensor.read(copy=True)
    assert expected["match"] in str(caught.value)
    assert caught.value.code == expected["code"]


# --- what the graph tells of a weight -------------------------------------------------------------


def test_a_numbered_weight_is_called_by_the_node_it_feeds() -> None:
    with tree_of("torch_encoder.onnx") as tree:
        weight = tree["layer.0/query/MatMul.weight"]
        assert weight.stored.startswith("onnx::MatMul_")
        assert weight.facts["feeds"] == [("/layer.0/query/MatMul", "MatMul", "B")]
        assert (weight.kind, weight.layer) == ("MatMul", "layer.0.query")
        assert tree["layer.0.query.bias"].layer == weight.layer
        assert tree[weight.stored] is weight
        assert weight.trainable is None


def test_the_newer_torch_exporter_tells_modules_in_its_metadata() -> None:
    with tree_of("torch_dynamo.onnx") as tree:
        assert tree["layer.1/key/MatMul.weight"].stored.startswith("val_")
        assert tree["layer.1/key/MatMul.weight"].layer == "layer.1.key"


def test_recurrent_weights_have_their_roles() -> None:
    with tree_of("torch_lstm.onnx") as tree:
        feeds = {name: tree[f"rnn/LSTM.{name}"].facts["feeds"][0][2] for name in (
            "weight_ih", "weight_hh", "bias")}  # fmt: skip
    assert feeds == {"weight_ih": "W", "weight_hh": "R", "bias": "B"}


def test_a_weight_passes_through_functions_and_branches() -> None:
    with tree_of("nested.onnx") as tree:
        assert tree["block/product.weight"].facts["feeds"] == [("product", "MatMul", "B")]
        assert tree["Loop_0/body/If_0/then_branch/inner.weight"].kind == "MatMul"
        assert tree["counts"].facts == {"held_in": "constant node"}
        assert set(tree.apart["constants"]) == {"times", "axes", "Loop_0/body/If_0/else_branch/one"}
        assert not tree.notes, "the listing tells what is kept apart"


def test_one_initializer_that_feeds_two_nodes_is_one_tensor(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["w", "i"], ["a"], name="embed"),
             helper.make_node("Transpose", ["w"], ["t"]),
             helper.make_node("MatMul", ["a", "t"], ["b"], name="head")]  # fmt: skip
    model = model_of(numpy_helper.from_array(np.ones((3, 2), np.float32), "w"), nodes=nodes)
    with open_bytes(model.SerializeToString(), tmp_path) as tree:
        assert list(tree) == ["w"]
        assert tree["w"].facts["feeds"] == [("embed", "Gather", "data"), ("head", "MatMul", "B")]


def test_equal_names_in_two_branches_stay_apart(tmp_path: Path) -> None:
    def branch(value: float) -> onnx.GraphProto:
        weight = numpy_helper.from_array(np.full((2, 2), value, np.float32), "w")
        node = helper.make_node("Identity", ["w"], ["o"])
        return helper.make_graph([node], "b", [], [onnx.ValueInfoProto(name="o")], [weight])

    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=branch(i), else_branch=branch(i + 1))
        for i in (1, 3)
    ]
    with open_bytes(model_of(nodes=nodes).SerializeToString(), tmp_path) as tree:
        firsts = {name: float(tensor.read()[0, 0]) for name, tensor in tree.items()}
    assert sorted(firsts.values()) == [1, 2, 3, 4]
    assert firsts["If_1/else_branch/w"] in (3, 4)


def test_colliding_names_are_told_apart_in_a_stable_way(tmp_path: Path) -> None:
    one = np.ones((2, 2), np.float32)
    nodes = [helper.make_node("MatMul", ["1", "2"], ["y"], name="m")]
    tensors = [numpy_helper.from_array(one, name) for name in ("1", "2", "m.weight")]
    with open_bytes(model_of(*tensors, nodes=nodes).SerializeToString(), tmp_path) as tree:
        assert {t.stored: t.name for t in tree.values()} == {
            "1": "m.weight#2", "2": "m.weight#3", "m.weight": "m.weight"}  # fmt: skip


def test_scale_and_zero_point_are_found_in_each_way_to_quantize() -> None:
    schemes = {
        "qdq.onnx": {"conv.weight_quantized": "per-channel axis 0",
                     "head.weight_quantized": "per-channel axis 1"},
        "qdq_per_tensor.onnx": {"conv.weight_quantized": "per-tensor"},
        "qoperator.onnx": {"conv.weight_quantized": "per-channel axis 0",
                           "head.weight_quantized": "per-channel axis 1",
                           "conv.bias_quantized": "per-channel axis 0"},
        "dynamic.onnx": {"conv.weight_quantized": "per-tensor",
                         "head.weight_quantized": "per-channel axis 1"},
        "quantized_by_hand.onnx": {"blocked": "per-block(3) axis 0",
                                   "MatMul_8.weight": "per-channel axis 1"},
    }  # fmt: skip
    for file, wanted in schemes.items():
        with tree_of(file) as tree:
            for name, scheme in wanted.items():
                quantization = tree[name].quantization
                assert quantization is not None and quantization.scheme == scheme, (file, name)


def test_a_dequantized_bias_is_near_the_float_bias() -> None:
    with tree_of("qoperator.onnx") as tree, tree_of("float_net.onnx") as real:
        bias = tree["conv.bias_quantized"].dequantized().read()
        np.testing.assert_allclose(bias, real["conv.bias"].read(), atol=1e-3)
        weight = tree["conv.weight_quantized"].dequantized().read()
        step = float(tree["conv.weight_scale"].read().max())
        assert np.abs(weight - real["conv.weight"].read()).max() <= step * 0.5001


def test_coefficients_in_node_attributes_are_weights() -> None:
    with tree_of("sklearn_multinomial.onnx") as tree:
        assert tree["LinearClassifier.coefficients"].shape == (3, 4)
        assert tree["LinearClassifier.coefficients"].kind == "LinearClassifier"
        assert set(tree) == {"Scaler.offset", "Scaler.scale", "LinearClassifier.coefficients",
                             "LinearClassifier.intercepts"}  # fmt: skip


def test_trees_are_no_weights_and_said_so() -> None:
    with tree_of("sklearn_forest.onnx") as tree:
        assert len(tree) == 0
        assert "TreeEnsemble" in tree.notes[0]


def test_metadata_and_graph() -> None:
    with tree_of("torch_cnn.onnx") as tree:
        assert tree.metadata["producer_name"] == "pytorch"
        assert tree.metadata["opset_import"] == {"ai.onnx": 17}
        model = tree.architecture
        assert isinstance(model, g.Model)
        reference = onnx.load(FOLDER / "torch_cnn.onnx").graph
        assert [n.op_type for n in model.graph.nodes] == [n.op_type for n in reference.node]
        assert [n.inputs for n in model.graph.nodes] == [tuple(n.input) for n in reference.node]
        conv = model.graph.nodes[0]
        assert conv.attribute("kernel_shape") == (3, 3)
        assert model.graph.inputs[0].shape == (1, 3, 8, 8)


def test_constants_open_by_root() -> None:
    with formats.open(FOLDER / "nested.onnx", root="constants") as tree:
        assert tree["axes"].read().tolist() == [0, 1]
    with pytest.raises(UsageError, match="no set of tensors named 'optimizer'"):
        formats.open(FOLDER / "nested.onnx", root="optimizer")


def test_training_graphs_are_kept_apart(tmp_path: Path) -> None:
    model = model_of(numpy_helper.from_array(np.ones(2, np.float32), "w"))
    step = helper.make_graph([], "t", [], [], [numpy_helper.from_array(np.ones(3), "rate")])
    model.training_info.append(helper.make_training_info(step, [], None, None))
    with open_bytes(model.SerializeToString(), tmp_path) as tree:
        assert list(tree) == ["w"]
        assert [t.stored for t in tree.apart["training"].values()] == ["rate"]


# --- laziness -------------------------------------------------------------------------------------


def test_opening_a_gigabyte_reads_a_few_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, nbytes = 8, 1 << 27
    path = tmp_path / "big.onnx"
    write_sparse_file(path, count, nbytes)
    read = 0
    pread = Source.pread

    def counted(self: Source, offset: int, size: int) -> bytes:
        nonlocal read
        read += size
        return pread(self, offset, size)

    monkeypatch.setattr(Source, "pread", counted)
    with formats.open(path) as tree:
        assert len(tree) == count and tree.nbytes == count * nbytes
    assert read < 4 << 20


def write_sparse_file(path: Path, count: int, nbytes: int) -> None:
    """A model of `count` float tensors of `nbytes` bytes each that take no space on the disk."""

    def head(number: int, length: int) -> bytes:
        return bytes([number << 3 | 2]) + varint(length)

    tensors = []
    for i in range(count):
        fields = b"\x08" + varint(nbytes // 4) + b"\x10\x01" + b"\x42\x02w" + bytes([48 + i])
        tensors.append(fields + head(9, nbytes))
    inside = sum(len(head(5, len(t) + nbytes)) + len(t) + nbytes for t in tensors)
    with open(path, "wb") as file:
        file.write(b"\x08\x08" + head(7, inside))
        for tensor in tensors:
            file.write(head(5, len(tensor) + nbytes) + tensor)
            file.seek(nbytes, os.SEEK_CUR)
        file.write(b"\x42\x04\x0a\x00\x10\x11")


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def test_nothing_of_onnx_is_imported() -> None:
    code = (
        "import sys, wtools.formats as f\n"
        "for p in sys.argv[1:]:\n"
        "    with f.open(p) as tree:\n"
        "        [t.read() for t in tree.values()]\n"
        "names = {'onnx', 'google.protobuf', 'onnxruntime', 'torch', 'h5py'} & set(sys.modules)\n"
        "assert not names, names\n"
    )
    files = [str(FOLDER / name) for name in FACTS]
    subprocess.run([sys.executable, "-c", code, *files], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", ["nodes", "names", "tensors", "attributes", "inputs"])
def test_small_fields_do_not_become_large_objects(kind: str, tmp_path: Path) -> None:
    """A file of 2 MB with hundreds of thousands of tiny messages: refused within 64 MB."""
    node = helper.make_node("A", ["x"], [])
    part = {
        "nodes": lambda i: b"\x0a" + field_bytes(b"\x22\x01A"),
        "names": lambda i: b"\x0a" + field_bytes(b"\x22\x01A\x0a\x04" + b"%04x" % (i % 65536)),
        "tensors": lambda i: b"\x2a" + field_bytes(b"\x08\x00\x10\x01\x42\x05%05x" % i),
        "attributes": lambda i: b"\x0a" + field_bytes(b"\x22\x01A" + b"\x2a\x02\x0a\x00" * 50),
        "inputs": lambda i: b"\x0a" + field_bytes(node.SerializeToString() + b"\x0a\x01x" * 30),
    }[kind]
    content = bytearray()
    while len(content) < 2 << 20:
        content += part(len(content) // 13)
    path = tmp_path / "many.onnx"
    path.write_bytes(b"\x08\x08\x3a" + field_bytes(bytes(content)) + b"\x42\x02\x10\x11")
    code = (
        "import sys, wtools.formats as f\n"
        "from wtools.errors import WtoolsError\n"
        "def peak():  # not ru_maxrss, which a child process inherits\n"
        "    status = open('/proc/self/status').read()\n"
        "    return int(status.partition('VmHWM:')[2].split()[0])\n"
        "f.formats()\n"
        "before = peak()\n"
        "try:\n"
        "    f.open(sys.argv[1], format='onnx')\n"
        "except WtoolsError as error:\n"
        "    print(type(error).__name__)\n"
        "print((peak() - before) // 1024)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    assert int(run.stdout.split()[-1]) <= 64, run.stdout


def field_bytes(content: bytes) -> bytes:
    return varint(len(content)) + content


# --- the forms that protobuf allows ---------------------------------------------------------------


def test_numbers_may_be_packed_or_not_and_in_pieces(tmp_path: Path) -> None:
    floats, ints = np.arange(5, dtype="<f4"), [3, -1, 2**40, 0, 7]
    unpacked = b"".join(b"\x25" + floats[i].tobytes() for i in range(3))
    packed = b"\x22\x08" + floats[3:].tobytes()
    tail = b"".join(b"\x38" + varint(n & (1 << 64) - 1) for n in ints[2:])
    first = b"\x3a" + field_bytes(b"".join(varint(n & (1 << 64) - 1) for n in ints[:2]))
    proto = TensorProto.FromString(b"\x0a\x01\x05\x10\x01\x42\x01a" + unpacked + packed)
    assert list(proto.float_data) == floats.tolist()
    content = (
        b"\x2a" + field_bytes(b"\x0a\x01\x05\x10\x01\x42\x01a" + unpacked + packed)
        + b"\x2a" + field_bytes(b"\x08\x05\x10\x07\x42\x01b" + first + tail)
    )  # fmt: skip
    model = b"\x08\x08\x3a" + field_bytes(content) + b"\x42\x02\x10\x11"
    with open_bytes(model, tmp_path) as tree:
        assert tree["a"].read().tolist() == floats.tolist()
        assert tree["b"].read().tolist() == ints


@pytest.mark.parametrize("size", [3, 100, 60_000])
def test_long_lists_in_attributes_stay_in_the_file(size: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(size)
    floats = rng.normal(size=size).astype(np.float32)
    ints = rng.integers(-(2**62), 2**62, size) >> rng.integers(0, 62, size)
    nodes = [helper.make_node("Constant", [], ["f"], value_floats=floats.tolist()),
             helper.make_node("Constant", [], ["i"], value_ints=ints.tolist()),
             helper.make_node("LinearRegressor", ["x"], ["y"], domain="ai.onnx.ml", name="lin",
                              coefficients=floats.tolist(), intercepts=[1.0], targets=1),
             helper.make_node("Custom", ["x"], ["z"], domain="own", name="mine",
                              table=floats.tolist(), few=[1.0, 2.0], words=["w"] * size),
             ]  # fmt: skip
    with open_bytes(model_of(nodes=nodes).SerializeToString(), tmp_path) as tree:
        assert tree["f"].read().tolist() == floats.tolist()
        assert tree["i" if size > 64 else "f"].shape == (size,)
        held = tree if size > 64 else tree.apart["constants"]
        assert held["i"].read().tolist() == ints.tolist()
        assert tree["lin.coefficients"].read().tolist() == [floats.tolist()]
        assert ("mine.table" in tree) == (size > 16)
        assert "mine.few" not in tree


def test_sparse_tensors_out_of_proportion_show_their_values(tmp_path: Path) -> None:
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "s")
    indices = numpy_helper.from_array(np.array([5, 10**12]), "")
    model = model_of()
    sparse = helper.make_sparse_tensor(values, indices, [10**7, 10**7])
    model.graph.sparse_initializer.append(sparse)
    with open_bytes(model.SerializeToString(), tmp_path) as tree:
        assert tree["s"].read().tolist() == [1.0, 2.0]
        assert tree["s"].facts["sparse"] == {"shape": [10**7, 10**7], "nnz": 2, "dense": False}


# --- external data --------------------------------------------------------------------------------


def external_model(location: str) -> bytes:
    tensor = numpy_helper.from_array(np.zeros((2, 3), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "length": "24"}.items():
        tensor.external_data.add(key=key, value=value)
    return bytes(model_of(tensor).SerializeToString())


def test_external_data_is_read_from_the_models_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "w.data").write_bytes(np.arange(6, dtype="<f4").tobytes())
    (tmp_path / "model.onnx").write_bytes(external_model("./deep//w.data"))
    monkeypatch.chdir(tmp_path)
    with formats.open("model.onnx") as tree:
        array = tree["w"].read()
        assert tree["w"].raw is not None
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "w.data").write_bytes(bytes(24))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link.data").symlink_to(secret / "w.data")
    (folder / "linked").symlink_to(secret)
    os.link(secret / "w.data", folder / "hard.data")
    os.mkfifo(folder / "pipe.data")
    (folder / "sub").mkdir()
    for location, reason in {
        "link.data": "symbolic link",
        "linked/w.data": "symbolic link",
        "hard.data": "hard link",
        "pipe.data": "not a regular file",
        "sub": "not a regular file",
        "../secret/w.data": "leaves the model's folder",
        str(secret / "w.data"): "absolute path",
    }.items():
        with pytest.raises(UnsafeError, match=reason):
            open_bytes(external_model(location), folder)
    with pytest.raises(MissingError, match=r"'none/w\.data' is not there"):
        open_bytes(external_model("none/w.data"), folder)
    with pytest.raises(MissingError, match="cannot be opened"):
        open_bytes(external_model("model.onnx/w.data"), folder)


# --- against the onnx package, at random ----------------------------------------------------------

RANDOM = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
CODES = {d.onnx: d for d in dtypes.DTYPES.values() if d.onnx is not None}


@st.composite
def tensors(draw: st.DrawFn, name: str) -> TensorProto:
    """A TensorProto of any type and shape, its data raw or in the typed field."""
    code = draw(st.sampled_from(sorted(CODES)))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    size = int(np.prod(shape))
    dtype = CODES[code]
    raw = draw(st.binary(min_size=(n := dtype.nbytes(size)), max_size=n))
    if dtype.kind == "bool":
        raw = bytes(byte & 1 for byte in raw)
    array = dtype.unpack(np.frombuffer(raw, np.uint8), size)
    if draw(st.booleans()):
        return numpy_helper.from_array(array.reshape(shape).astype(array.dtype), name)
    return helper.make_tensor(name, code, shape, array)


@RANDOM
@given(st.data())
def test_any_model_reads_as_onnx_reads_it(tmp_path: Path, data: st.DataObject) -> None:
    protos = [data.draw(tensors(f"t{i}.weight")) for i in range(data.draw(st.integers(1, 4)))]
    held = [helper.make_node("Constant", [], [p.name], value=p) for p in protos[::2]]
    inner = helper.make_graph(held, "inner", [], [])
    choose = helper.make_node("If", ["c"], [], name="If_0", then_branch=inner, else_branch=inner)
    model = model_of(*protos, nodes=[choose], ir_version=14)
    with open_bytes(model.SerializeToString(), tmp_path) as tree:
        found = {tensor.name: tensor for tensor in everything(tree)}
        for proto in protos:
            expected = numpy_helper.to_array(proto)
            tensor = found[proto.name]
            assert (tensor.shape, tensor.dtype) == (expected.shape, expected.dtype.name)
            assert packed(tensor.read()) == packed(expected)
        assert len(found) == len(protos) + 2 * len(held)


SAMPLES = ["nested.onnx", "typed.onnx", "sparse.onnx", "sklearn_logistic.onnx", "qdq.onnx"]


@settings(RANDOM, max_examples=400)
@given(st.sampled_from(SAMPLES), st.data())
def test_a_damaged_file_is_read_as_onnx_reads_it_or_refused(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray((FOLDER / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        what = data.draw(st.sampled_from(["set", "flip", "cut", "drop", "double"]))
        if what == "set":
            content[at] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
        elif what == "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "cut":
            del content[max(1, at) :]
        elif what == "drop":
            del content[at : at + data.draw(st.integers(1, 8))]
        else:
            content[at:at] = content[at : at + 8]
        content = content or bytearray(b"\x08")
    try:
        with open_bytes(bytes(content), tmp_path) as tree:
            ours = {t.stored: (t.shape, t.dtype, t.read(copy=True)) for t in tree.values()}
    except WtoolsError:
        return
    model = onnx.load_model_from_string(bytes(content))  # raises what protobuf refuses
    for proto in model.graph.initializer:
        if proto.data_type == TensorProto.STRING:
            continue
        expected = numpy_helper.to_array(proto)
        shape, dtype, array = ours[proto.name]
        assert (shape, dtype) == (expected.shape, expected.dtype.name)
        assert packed(array) == packed(expected)


def packed(array: np.ndarray[Any, Any]) -> bytes:
    """The bytes of a file: onnx leaves the upper bits of an int4 in memory as they come."""
    return bytes(dtypes.of_numpy(array.dtype).pack(array).tobytes())


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes((FOLDER / "raw.onnx").read_bytes())
    with formats.open(path) as tree:
        assert tree.format == "onnx" and tree.variant.startswith("IR 14")


@pytest.mark.parametrize(
    "content",
    [
        b"\x0a\x05hello" * 9,  # a TensorProto's or a GraphProto's strings
        bytes(100),
        b"\x08\x01\x12\x04abcd",  # a SavedModel
        b"\x08\x08",
        b'{"ir_version": 8}',
        onnx.load(FOLDER / "raw.onnx").graph.SerializeToString(),
        onnx.load(FOLDER / "raw.onnx").graph.initializer[0].SerializeToString(),
        np.random.default_rng(0).bytes(5000),
    ],
)
def test_other_protobufs_and_noise_are_not_claimed(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with Source(path) as source:
        assert not formats.named("onnx").sniff(source)


def test_text_is_named_when_forced(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="is text"):
        open_bytes(b'ir_version: 8\nproducer_name: "x"', tmp_path)


def test_ml_dtypes_and_the_table_agree_on_what_onnx_has() -> None:
    names = {helper.tensor_dtype_to_np_dtype(code).name for code in CODES}
    assert names == {dtype.name for dtype in CODES.values()}
    assert hasattr(ml_dtypes, "int2")
