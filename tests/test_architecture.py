"""Which part of wtools may import which, walked from the source; and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "wtools"
MODULES = sorted(PACKAGE.rglob("*.py"))

# first part of the importing module -> parts of wtools it may not import
FORBIDDEN = {
    "errors": {"*"},
    "dtypes": {"*", "-errors"},
    "threads": {"*"},
    "tree": {"formats", "analyzers", "render", "commands", "cli", "sketch", "files", "conversion"},
    "files": {"formats", "analyzers", "render", "commands", "cli", "sketch", "conversion"},
    "sketch": {"formats", "analyzers", "render", "commands", "cli", "reports", "conversion"},
    "layers": {"formats", "analyzers", "render", "commands", "cli", "sketch", "conversion"},
    "layouts": {"formats", "analyzers", "layers", "translation", "conversion", "commands", "cli"},
    "translation": {
        *("formats", "analyzers", "render", "commands", "cli", "sketch", "conversion"),
        *("reports", "files", "outputs"),
    },
    "estimators": {"*", "-errors", "-dtypes", "-tree"},
    "formats": {"analyzers", "render", "commands", "cli", "sketch", "reports", "conversion"},
    "analyzers": {"formats", "render", "commands", "cli", "conversion"},
    "reports": {"formats", "analyzers", "commands", "cli", "sketch", "tree", "conversion"},
    "render": {"formats", "analyzers", "commands", "cli", "sketch", "tree", "conversion"},
    "graphs": {"analyzers", "render", "commands", "cli", "sketch", "reports", "conversion"},
    "conversion": {"commands", "cli", "render"},
    "commands": {"cli"},
}
# late, or for types alone: how a tree, a report and all reports together look in a notebook
LOOKS = {
    ("tree", "analyzers"),
    ("reports", "render"),
    ("analyzers", "render"),
    ("render", "analyzers"),
}
# imported by nothing but functions, and never by what reads a file or computes statistics
LATE = {
    *("torch", "tensorflow", "keras", "onnx", "onnxruntime", "pandas", "matplotlib", "scipy"),
    *("sklearn", "skops", "joblib", "h5py", "ml_dtypes", "rich"),
}


def part(module: Path) -> str:
    """`formats` for wtools/formats/npz.py, `tree` for wtools/tree.py."""
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(module: Path) -> Iterator[tuple[str, bool]]:
    """(dotted name, at module level and not for type checking only) of every import."""
    tree = ast.parse(module.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    local = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        top = id(node) not in local and id(node) not in typing_only
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, top
        elif isinstance(node, ast.ImportFrom):
            yield from ((name, top) for name in absolute(module, node))


def absolute(module: Path, node: ast.ImportFrom) -> list[str]:
    if not node.level:
        return [node.module or ""]
    base = ("wtools", *module.relative_to(PACKAGE).with_suffix("").parts)
    if module.name == "__init__.py":
        base = (*base[:-1], "__init__")
    above = ".".join(base[: len(base) - node.level])
    if node.module:
        return [f"{above}.{node.module}"]
    return [f"{above}.{alias.name}" for alias in node.names]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_dependencies_point_one_way(module: Path) -> None:
    here = part(module)
    forbidden = FORBIDDEN.get(here, set())
    allowed = {name[1:] for name in forbidden if name.startswith("-")} | {here}
    for name, top in imports(module):
        if not name.startswith("wtools.") or here in ("__init__", "testing"):
            continue
        target = name.split(".")[1]
        late = not top and (here, target) in LOOKS
        if target in allowed or late:
            continue
        assert "*" not in forbidden and target not in forbidden, f"{here} imports {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_late(module: Path) -> None:
    heavy = {name for name, top in imports(module) if top and name.split(".")[0] in LATE}
    assert not heavy


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_modules_stay_short(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 500


def loaded(code: str) -> set[str]:
    """The top-level modules that running `code` in a new interpreter loads."""
    script = f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_importing_wtools_costs_nothing() -> None:
    assert not loaded("import wtools") & {"numpy", "click", "h5py", "rich", "ml_dtypes"}


def test_help_needs_click_alone() -> None:
    seen = loaded("from wtools.cli import run; run(['--help'])")
    assert "click" in seen
    assert not seen & {"numpy", "h5py", "rich", "ml_dtypes"}


@pytest.mark.parametrize(
    "sample",
    [
        "keras/mnist_cnn.h5",
        "pytorch/state_dict.pt",
        "safetensors/tied.safetensors",
        "onnx/raw.onnx",
        "npz/plain.npz",
        "skops/pipeline.skops",
    ],
)
def test_reading_and_statistics_need_no_framework(sample: str, fixtures: Path) -> None:
    path = fixtures / sample
    seen = loaded(f"from wtools.cli import run; assert run(['stats', {str(path)!r}]) == 0")
    assert not seen & {"torch", "tensorflow", "keras", "onnx", "onnxruntime", "pandas"}
    assert not seen & {"sklearn", "skops", "scipy"}
    assert "h5py" not in seen or sample.startswith("keras")
