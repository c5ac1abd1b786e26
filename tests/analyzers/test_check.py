"""Every rule of `wtools check`, with a model that trips it and one that does not."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import safetensors.numpy
from analyzers.test_stats import odd, random_array
from hypothesis import given, settings
from hypothesis import strategies as st

import wtools
from wtools import dtypes
from wtools.analyzers.channels import around, channel_max, slabs
from wtools.analyzers.rules import RULES
from wtools.cli import run
from wtools.errors import CorruptError, NameNotFoundError
from wtools.formats.onnx.graph import Graph, Model, Node, Value
from wtools.notes import SURPLUS_SHARDS, UNSAFE_PICKLE, Note
from wtools.render import render
from wtools.tree import LazyData, Quantization, Storage, Tensor, WeightTree

Array = np.ndarray[Any, np.dtype[Any]]
Pair = tuple[WeightTree, WeightTree]


def tree(**arrays: Any) -> WeightTree:
    tensors = [a if isinstance(a, Tensor) else Tensor.of(n, a) for n, a in arrays.items()]
    return WeightTree(tensors, separator="/")


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def with_value(array: Array, value: float) -> Array:
    array = array.copy()
    array.reshape(-1)[1] = value
    return array


# --- one function for each rule: (a model that trips it, one that does not) ----------------------


def nan() -> Pair:
    fp8 = normal(4, 4).astype(dtypes.get("float8_e4m3fn").numpy)
    # NaN is found although an fp8 tensor stands beside it, and in fp8 itself
    return tree(a=fp8, w=with_value(normal(4, 4), np.nan)), tree(a=fp8, w=normal(4, 4))


def inf() -> Pair:
    return tree(w=with_value(normal(4, 4), -np.inf)), tree(w=with_value(normal(4, 4), 3e38))


def negative_variance() -> Pair:
    def norm(variance: float) -> WeightTree:
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        values = {f"bn/{n}": with_value(np.abs(normal(8)), 0.5) for n in names}
        values["bn/moving_variance"][3] = variance
        return tree(**values)

    return norm(-1e-8), norm(1e-8)


def bad_scale() -> Pair:
    def quantized(scale: float) -> WeightTree:
        scales = Tensor.of("s", np.float32([0.5, scale, 1, 1]))
        q = Tensor.of("w", np.int8(normal(4, 4) * 50), quantization=Quantization(scales, axis=0))
        return tree(w=q)

    return quantized(0.0), quantized(0.1)


def fp16_overflow() -> Pair:
    return tree(w=with_value(normal(4, 4), 65505.0)), tree(w=with_value(normal(4, 4), 30000.0))


def subnormals() -> Pair:
    small = normal(100, 100)
    small.reshape(-1)[:200] = 1e-40
    few = normal(100, 100)
    few.reshape(-1)[:50] = 1e-40
    return tree(w=small), tree(w=few)


def all_zero() -> Pair:
    return tree(w=np.zeros((4, 4))), tree(w=with_value(np.zeros((4, 4)), 1e-30))


def constant() -> Pair:
    return tree(w=np.full((4, 4), 0.5)), tree(w=with_value(np.full((4, 4), 0.5), 0.25))


def outlier_channels() -> Pair:
    def dense(factor: float) -> WeightTree:
        kernel = normal(64, 32)
        kernel[:, 7] *= factor
        return tree(**{"dense/kernel": kernel, "dense/bias": normal(32)})

    return dense(50), dense(5)


def unreadable() -> Pair:
    def fail() -> Array:
        raise CorruptError("is damaged", place="w")

    return tree(w=Tensor("w", (3,), "float32", LazyData(fail))), tree(w=normal(3))


def unsafe_pickle() -> Pair:
    note = Note("unpickling this file would call os.system; wtools did not", UNSAFE_PICKLE)
    bad = WeightTree([], notes=[note], metadata={"globals": ["os.system"]})
    return bad, WeightTree([], notes=["1 string tensor left out"])


def unknown_classes() -> Pair:
    return WeightTree([], metadata={"globals": ["my.Net"]}), WeightTree([])


def surplus_shards() -> Pair:
    told = "named like a shard, but not part of this model: model-00009-of-00009.safetensors"
    return WeightTree([], notes=[Note(told, SURPLUS_SHARDS)]), WeightTree([], notes=[told])


def unused_initializer() -> Pair:
    def onnx(feeds: list[Any]) -> WeightTree:
        return WeightTree([Tensor.of("w", normal(3), facts={"feeds": feeds})], format="onnx")

    return onnx([]), onnx([("node", "MatMul", "B")])


def unreachable() -> Pair:
    def onnx(output: str) -> WeightTree:
        nodes = (
            Node("MatMul", "first", inputs=("x", "w"), outputs=("y",)),
            Node("Relu", "left over", inputs=("y",), outputs=("z",)),
        )
        graph = Graph(nodes=nodes, inputs=(Value("x"),), outputs=(Value(output),))
        return WeightTree([], format="onnx", architecture=Model(8, {}, graph))

    return onnx("y"), onnx("z")


def duplicate() -> Pair:
    w = normal(300, 300)
    almost = w.copy()
    almost[0, 0], almost[0, 1] = w[0, 1], w[0, 0]  # every count is equal, the content is not
    return tree(a=w, b=w.copy()), tree(a=w, b=almost, c=w.T, zero=np.zeros(9), none=np.zeros(9))


def tied() -> Pair:
    storage = Storage("f", 0, 12)
    a, b = (Tensor.of(n, normal(3), storage=storage) for n in "ab")
    return tree(a=a, b=b), tree(a=normal(3), b=normal(3, seed=1))


def mixed_dtypes() -> Pair:
    half = normal(3).astype(np.float16)
    return tree(a=normal(3), b=half), tree(a=normal(3), steps=np.int64(3))


def empty() -> Pair:
    return tree(a=np.zeros((0, 4))), tree(a=normal(3))


MODELS: dict[str, Callable[[], Pair]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(nan, inf, negative_variance, bad_scale, fp16_overflow, subnormals, all_zero, constant),
        *(outlier_channels, unreadable, unsafe_pickle, unknown_classes, surplus_shards),
        *(unused_initializer, unreachable, duplicate, tied, mixed_dtypes, empty),
    )
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_each_rule(rule: Any) -> None:
    if rule.id == "keys":
        return  # below: it takes another model
    bad, good = MODELS[rule.id]()
    report = wtools.check(bad, only=[rule.id])
    assert [row.rule for row in report.rows] == [rule.id]
    assert report.rows[0].severity == rule.severity and len(rule.explanation) > 20
    assert report.failed == (rule.severity == "error")
    assert wtools.check(bad, only=[rule.id], strict=True).failed == (rule.severity != "info")
    assert not wtools.check(good, only=[rule.id]).rows
    assert rule.id not in {row.rule for row in wtools.check(bad, ignore=[rule.id]).rows}


def test_keys() -> None:
    w = normal(3, 4)
    own = tree(same=w, shape=w, dtype=w, surplus=w)
    other = tree(same=w, shape=w.T, dtype=w.astype(np.float16), lacking=w)
    report = wtools.check(own, like=other, only=["keys"])
    found = {(row.tensor, row.severity) for row in report.rows}
    assert found == {("", "error"), ("shape", "error"), ("dtype", "warning"), ("surplus", "error")}
    assert any("lacks lacking" in row.finding for row in report.rows)
    assert not wtools.check(own, like=own, only=["keys"]).rows
    assert not wtools.check(own, only=["keys"]).rows


# --- severity follows what is usual --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "array", "rule"),
    [
        ("attn/mask", np.float32([0, -np.inf]), "inf"),
        ("dense/bias", np.zeros(3), "all-zero"),
        ("norm/gamma", np.ones(3), "constant"),
        ("w", with_value(normal(4), 40000), "fp16-overflow"),
    ],
)
def test_what_is_usual_is_information(name: str, array: Array, rule: str) -> None:
    (row,) = wtools.check(tree(**{name: array}), only=[rule]).rows
    assert row.severity == "info"


@pytest.mark.parametrize("array", [np.zeros((2, 2), np.int64), np.zeros(()), np.ones((1, 1))])
def test_counters_and_scalars_may_be_constant(array: Array) -> None:
    assert not wtools.check(tree(w=array), only=["all-zero", "constant"]).rows


def test_narrow_floats_use_their_subnormals() -> None:
    fp8 = (normal(50, 50) * 0.01).astype(dtypes.get("float8_e4m3fn").numpy)
    assert not wtools.check(tree(w=fp8), only=["subnormals"]).rows


def test_a_good_model_has_no_finding_of_weight(fixtures: Path) -> None:
    with wtools.open(fixtures / "keras/mnist_cnn.h5") as model:
        report = wtools.check(model, strict=True)
    assert not report.failed and report.summary["rules"] == len(RULES)


def test_errors_come_first_and_are_counted() -> None:
    model = tree(zero=np.zeros((2, 2)), bias=np.zeros(3), w=np.float32([np.nan, 1]))
    report = wtools.check(model, ignore=["mixed-dtypes"])
    assert [row.severity for row in report.rows] == ["error", "warning", "info"]
    summary = {name: report.summary[name] for name in ("errors", "warnings", "infos")}
    assert summary == {"errors": 1, "warnings": 1, "infos": 1}


def test_an_unknown_rule() -> None:
    with pytest.raises(NameNotFoundError, match="duplicate"):
        wtools.check(tree(), ignore=["duplicates"])


def test_structural_rules_read_nothing() -> None:
    def refuse() -> Array:
        raise AssertionError("read for nothing")

    model = tree(w=Tensor("w", (3, 3), "float32", LazyData(refuse)))
    assert not wtools.check(model, only=["tied", "mixed-dtypes"]).rows


def test_tensors_are_read_once() -> None:
    reads: list[str] = []

    def lazy(name: str, array: Array) -> Tensor:
        def read() -> Array:
            reads.append(name)
            return array

        return Tensor(name, array.shape, "float32", LazyData(read))

    names = [f"{layer}/{part}" for layer in "abc" for part in ("kernel", "bias")]
    model = tree(**{n: lazy(n, normal(40, 40, seed=i)) for i, n in enumerate(names)})
    wtools.check(model)
    assert sorted(reads) == sorted(names)


# --- figures along an axis -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 5), (700, 900), (2, 300_001), (3, 1, 2, 90_000)])
@pytest.mark.parametrize("file", [False, True])
def test_channel_maxima_are_those_of_numpy(
    shape: tuple[int, ...], file: bool, tmp_path: Path
) -> None:
    array = normal(*shape)
    array.reshape(-1)[::1000] = np.nan
    array.reshape(-1)[5::1000] = -np.inf
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file({"w": array}, path)
    finite = np.where(np.isfinite(array), np.abs(array), 0)
    with wtools.open(path) as model:
        tensor = model["w"] if file else Tensor.of("w", array)
        for axis in range(array.ndim):
            others = tuple(k for k in range(array.ndim) if k != axis)
            assert np.array_equal(channel_max(tensor, axis), finite.max(axis=others))
            seen = np.zeros(array.shape[axis], np.int64)
            for first, slab in slabs(tensor, around(array.shape, axis)):
                seen[first : first + slab.shape[1]] += slab.shape[0] * slab.shape[2]
            assert (seen == array.size // array.shape[axis]).all()


# --- forms ---------------------------------------------------------------------------------------


@pytest.fixture
def bad(tmp_path: Path) -> str:
    path = tmp_path / "bad model.safetensors"
    tensors = {"w": with_value(normal(4, 4), np.nan), "zero": np.zeros((3, 3), np.float32)}
    safetensors.numpy.save_file(tensors, path)
    return str(path)


def test_exit_codes(bad: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", bad]) == 1
    assert "2 of" not in capfd.readouterr().out
    assert run(["check", bad, "--ignore", "nan"]) == 0
    assert run(["check", bad, "--ignore", "nan", "--strict"]) == 1
    assert run(["check", bad, "--only", "inf", "--only", "empty"]) == 0
    assert run(["check", bad, "--only", "nann"]) == 2
    assert run(["check", bad + "x"]) == 3
    assert run(["check", bad, "--like", bad, "--only", "keys"]) == 0
    capfd.readouterr()
    assert run(["check", "--list-rules"]) == 0
    assert all(rule.id in capfd.readouterr().out for rule in RULES[:1])


def test_sarif(bad: str, capfd: pytest.CaptureFixture[str]) -> None:
    run(["check", bad, "--sarif"])
    log = json.loads(capfd.readouterr().out)
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-schema-2.1.0.json")
    (one,) = log["runs"]
    rules = one["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {rule.id for rule in RULES}
    levels = {}
    for result in one["results"]:
        assert set(result) <= {
            *("ruleId", "ruleIndex", "level", "message", "locations", "properties")
        }
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        (place,) = result["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"].endswith(
            "bad%20model.safetensors"
        )
        levels[place["logicalLocations"][0]["fullyQualifiedName"]] = result["level"]
    assert levels == {"w": "error", "zero": "warning"}


def test_junit(bad: str, capfd: pytest.CaptureFixture[str]) -> None:
    run(["check", bad, "--junit"])
    suite = ElementTree.fromstring(capfd.readouterr().out).find("testsuite")
    assert suite is not None
    assert suite.get("failures") == "1" and suite.get("tests") == str(len(RULES))
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["nan: w"]
    run(["check", bad, "--junit", "--strict"])
    suite = ElementTree.fromstring(capfd.readouterr().out).find("testsuite")
    assert suite is not None and suite.get("failures") == "2"


def test_hostile_names_do_not_break_the_forms() -> None:
    model = tree(**{"\x00\x1b[31m<&\ud800": np.zeros((2, 2))})
    report = wtools.check(model)
    ElementTree.fromstring(render(report, "junit"))
    json.loads(render(report, "sarif").encode())


@pytest.mark.parametrize("form", ["--sarif", "--junit"])
def test_a_file_that_does_not_open_is_a_finding_for_pipelines(
    form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0{")
    assert run(["check", str(path), form]) == 3
    captured = capfd.readouterr()
    assert "unreadable" in captured.out and "error" in captured.err


def test_crc(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Stored members are read in place, without their checksum, unless --crc asks for it."""
    path = tmp_path / "x.npz"
    np.savez(path, w=normal(40, 40))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    assert run(["check", str(path), "--crc"]) == 0
    data = bytearray(path.read_bytes())
    data[3000] ^= 1
    path.write_bytes(data)
    assert run(["check", str(path)]) == 0
    assert run(["check", str(path), "--crc"]) == 1
    assert "CRC" in capfd.readouterr().out


def test_pickles_that_would_run_code(fixtures: Path, tmp_path: Path) -> None:
    import pickle

    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return (exec, ("open('WTOOLS_PWNED', 'w')",))

    path = tmp_path / "evil.pt"
    torch.save({"state_dict": {"w": torch.ones(3)}, "extra": Evil()}, path, pickle_module=pickle)
    with wtools.open(path) as model:
        report = wtools.check(model, only=["unsafe-pickle"])
    assert report.failed and "exec" in report.rows[0].finding
    with wtools.open(fixtures / "pytorch/state_dict.pt") as model:
        assert not wtools.check(model, only=["unsafe-pickle", "unknown-classes"]).rows


def test_initializers_that_no_node_uses(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(normal(4, 4, seed=i), n) for i, n in enumerate("ab")]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "a"], ["y"])], "g", [x], [y], weights
    )
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    with wtools.open(tmp_path / "m.onnx") as model:
        report = wtools.check(model, only=["unused-initializer"])
    assert [row.tensor for row in report.rows] == ["b"]


def test_nodes_that_no_output_depends_on(tmp_path: Path) -> None:
    """With a branch whose body takes values from around it, and an output that is a constant."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    node, value = helper.make_node, helper.make_tensor_value_info
    weights = [numpy_helper.from_array(normal(4, 4, seed=i), n) for i, n in enumerate("abcde")]
    x, y, e = (value(n, TensorProto.FLOAT, [4, 4]) for n in "xye")
    body = [
        node("MatMul", ["x", "b"], ["then_out"], name="used"),
        node("MatMul", ["x", "c"], ["nowhere"], name="in vain"),
    ]
    branch = helper.make_graph(body, "then", [], [value("then_out", TensorProto.FLOAT, None)])
    other = [node("Identity", ["h"], ["else_out"])]
    otherwise = helper.make_graph(other, "else", [], [value("else_out", TensorProto.FLOAT, None)])
    nodes = [
        node("MatMul", ["x", "a"], ["h"], name="first"),
        node("If", ["flag"], ["y"], name="either", then_branch=branch, else_branch=otherwise),
        node("MatMul", ["h", "d"], ["lost"], name="lost"),
        node("Relu", ["lost"], ["too"], name="after it"),
    ]
    flag = value("flag", TensorProto.BOOL, [])
    graph = helper.make_graph(nodes, "g", [x, flag], [y, e], weights)
    onnx.checker.check_model(helper.make_model(graph))
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    with wtools.open(tmp_path / "m.onnx") as model:
        report = wtools.check(model, only=["unreachable", "unused-initializer"])
    assert [row.tensor for row in report.rows] == ["", "c", "d"]
    assert report.rows[0].evidence["nodes"] == ["either/then_branch/in vain", "lost", "after it"]
    graph.node.remove(graph.node[3])
    graph.node.remove(graph.node[2])
    (then,) = (a.g for a in graph.node[1].attribute if a.name == "then_branch")
    then.node.remove(then.node[1])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    with wtools.open(tmp_path / "m.onnx") as model:
        assert not wtools.check(model, only=["unreachable"]).rows


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(list(dtypes.DTYPES)),
    st.lists(st.integers(0, 40), max_size=3).map(tuple),
)
def test_any_weights_can_be_checked(seed: int, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.asarray(random_array(dtype, shape, seed))
    if array.size > 20:
        array = odd(dtype, array)
    report = wtools.check(tree(**{"dense/kernel": array, "bn/moving_variance": array}))
    for form in ("sarif", "junit", "json"):
        assert render(report, form)
