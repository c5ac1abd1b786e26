"""Every format to every format with every dtype that both can hold, and home again, bit for bit."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

import wtools
from wtools import formats
from wtools.conversion import Options, convert, plan, verify_bits

from .trees import assert_same, every

# target name -> options: each way in which a format can be written
WAYS: dict[str, dict[str, object]] = {
    "m.safetensors": {},
    "s.safetensors": {"shard_size": 1000},
    "m.pt": {},
    "m.npz": {},
    "m.onnx": {"external_data": False, "weights_only": True},
    "e.onnx": {"external_data": True, "weights_only": True},
    "m.h5": {},
    "m.weights.h5": {},
}
# copies: for graphs see tests/graphs, for other frameworks' layouts tests/translation
ALONE = Options(weights_only=True, layout="keep")
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FILES = sorted(
    path
    for folder in ("safetensors", "pytorch", "keras", "onnx", "npz")
    for path in (FIXTURES / folder).iterdir()
    if path.is_file() and path.suffix not in (".json", ".data", ".py")
)


def format_of(name: str) -> str:
    return plan(every(["float32"]), name).format


def holds(name: str) -> frozenset[str]:
    writer = formats.writer(format_of(name))
    assert writer is not None
    return writer.HOLDS


def written(folder: Path, report: wtools.Report) -> Path:
    return folder / report.summary["files"][-1]


@pytest.mark.parametrize("first, second", list(product(WAYS, WAYS)))
def test_there_and_back(first: str, second: str, tmp_path: Path) -> None:
    tree = every(holds(first) & holds(second))
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
    one = written(folders[0], convert(tree, folders[0] / first, **WAYS[first]))
    keep = {"layout": "keep"}
    two = written(folders[1], convert(one, folders[1] / second, **WAYS[second], **keep))
    home = written(folders[2], convert(two, folders[2] / first, **WAYS[first], **keep))
    for path in (one, two, home):
        assert_same(tree, path)


@pytest.mark.parametrize("name", [name for name in WAYS if not name.endswith("npz")])
def test_what_a_tree_knows_comes_home(name: str, tmp_path: Path) -> None:
    tree = every(holds(name))
    found = assert_same(tree, written(tmp_path, convert(tree, tmp_path / name, **WAYS[name])))
    assert list(found) == list(tree)
    assert found.tied() == tree.tied() != []
    assert found.metadata.items() >= tree.metadata.items()
    for key, tensor in tree.items():
        assert found[key].trainable is tensor.trainable
        assert found[key].layer == tensor.layer or not tensor.layer
        assert found[key].kind == tensor.kind or not tensor.kind


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("name", WAYS)
def test_names_are_kept_whatever_joins_them(name: str, separator: str, tmp_path: Path) -> None:
    tree = every(["float32"], separator)
    report = convert(tree, tmp_path / name, **WAYS[name])
    found = assert_same(tree, written(tmp_path, report))
    assert found.separator == separator or name.endswith("npz")


@pytest.mark.parametrize("name", WAYS)
def test_the_same_tree_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    tree = every(["float32", "int64", "bool"])
    contents = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        report = convert(tree, folder / name, **WAYS[name])
        contents.append([(folder / file).read_bytes() for file in report.summary["files"]])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "m.npz", "m.onnx", "m.h5"])
@pytest.mark.parametrize("source", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_real_files_there_and_back(source: Path, name: str, tmp_path: Path) -> None:
    """What the target cannot hold is said by the plan, and is all that has to be left out."""
    with wtools.open(source) as tree:
        unheld = {
            t.name for t in tree.values() if plan(tree.replace([t]), name, options=ALONE).problems
        }
        assert unheld >= {t.name for t in tree.values() if t.dtype not in holds(name)}
        problems = plan(tree, tmp_path / name, options=ALONE).problems
        assert bool(problems) == bool(unheld) or not tree
        kept = tree.replace(t for t in tree.values() if t.name not in unheld)
        if not kept:
            return
        report = convert(kept, tmp_path / name, weights_only=True, layout="keep")
        assert report.summary["verified"]
        assert_same(kept, tmp_path / name)
        back = convert(tmp_path / name, tmp_path / f"back_{name}", layout="keep")
        assert back.summary["tensors"] == len(kept)
        with wtools.open(tmp_path / f"back_{name}") as home:
            assert verify_bits(kept, home).summary["equal"]
