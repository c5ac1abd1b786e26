"""`wtools convert --module` and `wtools.torch_module`: the file, the names, what is refused."""

from __future__ import annotations

import ast
import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import wtools
from wtools.cli import run
from wtools.errors import UnsupportedError
from wtools.graphs.ir import Graph, Layer, Node, Ref
from wtools.graphs.torch_export import export
from wtools.graphs.torch_export.names import MODULE_NAMES, Attributes, identifier
from wtools.graphs.torch_model import to_torch
from wtools.tree import Tensor

torch = pytest.importorskip("torch")


def dense(path: str, kind: str = "Dense", **config: object) -> Layer:
    weights = {
        "kernel": Tensor.of(f"{path}/kernel", np.ones((3, 3), np.float32)),
        "bias": Tensor.of(f"{path}/bias", np.zeros(3, np.float32)),
    }
    return Layer(path, kind, {"trainable": True, "dtype": "float32", **config}, weights)


def model(*layers: Layer, name: str = "model", given: str = "input") -> Graph:
    """The layers one after the other."""
    nodes = [Node(Layer(given, "InputLayer", {"batch_shape": [None, 3], "dtype": "float32"}))]
    nodes += [Node(layer, (Ref(i),)) for i, layer in enumerate(layers)]
    return Graph(name, tuple(nodes), (0,), (("y", Ref(len(layers))),))


def live(graph: Graph) -> object:
    """The module of a graph, made from its source as a user would."""
    made = export(graph)
    names: dict[str, object] = {}
    exec(compile(made.source, "model.py", "exec"), names)
    module = names["Model"]()  # type: ignore[operator]
    state = {name: torch.from_numpy(t.read(copy=True)) for name, t in made.weights.items()}
    module.load_state_dict(state, strict=True)
    return module.eval()


HOSTILE = (
    '"""\nimport os; os.system("touch WTOOLS_PWNED")\n"""',
    "x); __import__('os').system('touch WTOOLS_PWNED') #",
    "forward",
    "self",
    "class",
    "match",
    "training",
    "__init__",
    "_modules",
    "0",
    "",
    "//",
    "\0" + "0\0",
    "é€ \u202e",
    "a" * 500,
    "torch",
    "F",
    "x",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_file_becomes_code(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    graph = model(dense(name), dense(f"{name}/{name}"), dense("other"), name=name, given=name)
    source = export(graph).source
    tree = ast.parse(source)
    assert [type(node).__name__ for node in tree.body] == [
        *("Expr", "Import", "Import", "ImportFrom", "ClassDef"),
    ]
    x = torch.tensor([[1.0, 2, 3]])
    assert live(graph)(x).tolist() == [[54.0] * 3]  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


def test_strings_of_a_config_are_written_as_strings() -> None:
    layer = dense("e", "EinsumDense", equation="ab,bc->ac'); print('x", bias_axes="c")
    with pytest.raises(Exception, match="EinsumDense"):
        export(model(layer))


@pytest.mark.parametrize("name", HOSTILE)
def test_identifiers(name: str) -> None:
    found = identifier(name)
    assert found.isidentifier() and found.isascii() and not found.startswith("_")
    compile(f"self.{found} = {found}", "x", "exec")


def test_layers_of_one_spelling_stay_apart() -> None:
    attributes = Attributes()
    paths = ["a b", "a_b", "a/b", "a", "A/B", "a/b/c", "a b/c"]
    assert len({attributes.of(path) for path in paths}) == len(paths)
    assert attributes.of("a/b") == attributes.of("a/b")


def test_names_of_a_module_are_taken() -> None:
    """Asked of torch alone: other libraries of this process add names of their own."""
    script = "import torch; m = torch.nn.Module; print(*dir(m), *vars(m()))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    public = {name for name in run.stdout.split() if not name.startswith("_")}
    assert public <= MODULE_NAMES


def test_what_is_not_supported_names_the_layer_and_writes_nothing() -> None:
    with pytest.raises(UnsupportedError, match=r"layer 'odd': .*ConvLSTM2D.*filters"):
        export(model(dense("odd", "ConvLSTM2D", filters=3)))


def test_the_command_writes_the_module_and_its_weights(
    fixtures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target, module = fixtures / "keras/mnist_cnn.h5", tmp_path / "m.pt", tmp_path / "m.py"
    command = ["convert", str(source), str(target), "--module", str(module), "--json"]
    assert run(command) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["summary"]["written"] and report["summary"]["verified"]
    names: dict[str, object] = {}
    exec(compile(module.read_text(), "m.py", "exec"), names)
    made = names["Model"]()  # type: ignore[operator]
    made.load_state_dict(torch.load(target, weights_only=True), strict=True)
    with wtools.open(source) as tree:
        origins = {row["name"] for row in report["rows"]} - {""}
        assert origins == set(tree)
        other = wtools.torch_module(tree)
    shape = [n or 2 for n in made.INPUTS[0][0]]
    x = torch.rand(shape)
    assert torch.equal(made.eval()(x), other(x))

    wtools.convert(source, tmp_path / "n.pt", module=tmp_path / "n.py")
    assert (tmp_path / "n.py").read_text() == module.read_text()
    with wtools.open(target) as one, wtools.open(tmp_path / "n.pt") as same:
        assert wtools.verify_bits(one, same).summary["equal"]

    assert run(command) == 4  # exists already
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["m.h5", "--module", "m.py"], 2),
        (["m.pt", "--module", "m.py", "--rename", "a=b"], 2),
        (["m.pt", "--module", "m.pt"], 2),
        (["m.pt", "--module", "no/m.py"], 4),
        (["no/m.pt", "--module", "m.py"], 4),
    ],
)
def test_nothing_is_written_when_it_cannot_be(
    arguments: list[str],
    code: int,
    fixtures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["convert", str(fixtures / "keras/mnist_cnn.h5"), *arguments]) == code
    assert not list(tmp_path.iterdir())


def test_weights_without_a_config_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.zeros(3, np.float32))
    with wtools.open(tmp_path / "w.npz") as tree, pytest.raises(UnsupportedError, match="config"):
        wtools.torch_module(tree)


ODD = (
    *(None, 0, -1, 1, 2, 10**9, 10**30, 1.5, float("nan"), float("inf"), True, False),
    *(
        "same",
        "relu",
        "x'); import os",
        "\x001\x00",
        "channels_first",
        [],
        [1, 2],
        [[1, 2], [3, 4]],
    ),
    *({}, {"class_name": "x"}),
)


def _places(value: object, path: tuple[object, ...] = ()) -> Iterator[tuple[object, ...]]:
    yield path
    inside = value.items() if isinstance(value, dict) else ()
    inside = enumerate(value) if isinstance(value, list) else inside
    for key, inner in inside:
        yield from _places(inner, (*path, key))


@pytest.mark.parametrize("name", ["keras2_zoo.h5", "mnist_cnn.h5", "nested.keras", "shared.h5"])
def test_any_config_ends_in_a_module_or_in_an_error(name: str, fixtures: Path) -> None:
    """One value of the config exchanged at random: source that compiles and weights that can be
    read, or a WtoolsError."""
    rng = random.Random(name)
    with wtools.open(fixtures / "keras" / name) as tree:
        places = [place for place in _places(tree.architecture["keras"]) if place]
        for _ in range(150):
            known = copy.deepcopy(dict(tree.architecture))
            *way, last = rng.choice(places)
            inner = known["keras"]
            for key in way:
                inner = inner[key]
            inner[last] = copy.deepcopy(rng.choice(ODD))
            try:
                made = to_torch(tree.replace(tree.values(), architecture=known))
                compile(made.source, "model.py", "exec")
                for tensor in made.tree.values():
                    tensor.read()
            except wtools.WtoolsError:
                continue
