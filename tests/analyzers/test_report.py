"""`wtools report`: every analysis says what its own command says, and the file is read once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
import torch
from measured import peak_of

import wtools
from wtools import formats
from wtools.analyzers import held, passing, turns
from wtools.analyzers.everything import ModelReport
from wtools.analyzers.freeze import freeze_report
from wtools.analyzers.initfit import exact
from wtools.analyzers.layer_map import layer_report
from wtools.cli import run
from wtools.errors import CorruptError, UsageError, WtoolsError
from wtools.files import Source
from wtools.render import overview
from wtools.render.json import dumps
from wtools.sketch.runner import Result, Scan, sketches
from wtools.tree import LazyData, Tensor, WeightTree

ROOT = Path(__file__).resolve().parent.parent.parent
MEASURE = ROOT / "tests" / "measured_report.py"
SINGLE: dict[str, Callable[[WeightTree], Any]] = {
    "ls": wtools.ls,
    "layers": layer_report,
    "stats": wtools.stats,
    "check": wtools.check,
    "sparsity": wtools.sparsity,
    "init": wtools.init,
    "freeze": freeze_report,
}
READ = ("stats", "check", "sparsity", "init")


def opens(path: Path) -> bool:
    try:
        formats.open(path).close()
    except WtoolsError:
        return False
    return True


FIXTURES = [
    path
    for path in sorted((ROOT / "fixtures").rglob("*"))
    if path.is_file() and not {"bad", "make"} & set(path.parts) and opens(path)
]


def same_as_single(found: ModelReport, tree: WeightTree) -> None:
    assert list(found) == list(SINGLE)
    for name, analysis in SINGLE.items():
        assert dumps(found[name].to_dict()) == dumps(analysis(tree).to_dict()), name


# --- every section is the single command's report -------------------------------------------------


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.name)
def test_every_section_is_what_the_single_command_says(path: Path) -> None:
    with wtools.open(path) as tree:
        same_as_single(wtools.report(tree), tree)


def varied() -> dict[str, Any]:
    """Models' worth of what the analyses look at twice: zeros, outliers, copies, fresh weights."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(256, 512)).astype(np.float32)
    pruned = np.where(np.abs(kernel) < 0.7, 0, kernel)
    outlier = kernel * np.where(np.arange(256) == 7, 60, 1)[:, None].astype(np.float32)
    fresh = rng.uniform(-0.0625, 0.0625, (256, 256)).astype(np.float32)
    return {
        "a.weight": kernel,
        "a.bias": np.zeros(256, np.float32),
        "b.weight": pruned,
        "c.weight": outlier,
        "copy.weight": kernel,
        "d.weight": fresh,
        "e.weight": np.linalg.qr(rng.normal(size=(256, 256)))[0].astype(np.float32),
        "half.weight": kernel.astype(np.float16),
        "steps": np.arange(5),
        "coef_": np.where(np.arange(300) % 3, 0.5, 0.0),
    }


@pytest.mark.parametrize("largest", [0, 1000, 1 << 19, 1 << 30])
def test_neither_batches_nor_streaming_change_a_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    safetensors.numpy.save_file(varied(), tmp_path / "m.safetensors")
    monkeypatch.setattr(held, "LARGEST", largest)
    monkeypatch.setattr(held, "TOGETHER", largest // 4)
    with wtools.open(tmp_path / "m.safetensors") as tree:
        found = wtools.report(tree)
        same_as_single(found, tree)
    copies = [row for row in found["check"].rows if row.rule == "duplicate"]
    assert [(row.tensor, row.evidence["copies"]) for row in copies] == [
        ("a.weight", ["copy.weight"])
    ]
    assert "outlier-channels" in {row.rule for row in found["check"].rows}


def test_a_model_in_memory_is_reported_on() -> None:
    tree = WeightTree([Tensor.of(name, array) for name, array in varied().items()], separator=".")
    same_as_single(wtools.report(tree), tree)


# --- the file is read once ------------------------------------------------------------------------


class Counter:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nbytes = 0
        lock = threading.Lock()

        def counted(name: str, nbytes: Callable[..., int]) -> None:
            real = getattr(Source, name)

            def wrapped(source: Source, *args: Any) -> Any:
                with lock:
                    self.nbytes += nbytes(*args)
                return real(source, *args)

            monkeypatch.setattr(Source, name, wrapped)

        counted("pread", lambda offset, nbytes: nbytes)
        counted("view", lambda offset, nbytes: nbytes)
        counted("readinto", lambda buffer, offset: memoryview(buffer).nbytes)


def plain(path: Path) -> None:
    safetensors.numpy.save_file(varied(), path)


def tied(path: Path) -> None:
    weights = {name: torch.from_numpy(array) for name, array in varied().items()}
    torch.save(weights | {"tied.weight": weights["a.weight"]}, path)


def legacy(path: Path) -> None:
    weights = {name: torch.from_numpy(array) for name, array in varied().items()}
    torch.save(weights, path, _use_new_zipfile_serialization=False)


def chunked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name, array in varied().items():
            group = file.create_group(name.replace(".", "_"))
            chunks = tuple(min(100, n) for n in array.shape)
            options = {"chunks": chunks, "shuffle": True, "compression": "gzip"}
            group.create_dataset(name, data=array, **options)
            group.attrs["weight_names"] = [name]
        file.attrs["layer_names"] = [name.replace(".", "_") for name in varied()]


def deflated(path: Path) -> None:
    np.savez_compressed(path, **varied())


def stored(path: Path) -> None:
    np.savez(path, **varied())


MADE = {
    "plain.safetensors": plain,
    "tied.pt": tied,
    "legacy.pt": legacy,
    "chunked.h5": chunked,
    "deflated.npz": deflated,
    "stored.npz": stored,
}


@pytest.mark.parametrize("largest", [held.LARGEST, 0], ids=["held", "passing"])
@pytest.mark.parametrize("name", MADE)
def test_what_is_read_of_a_file_is_hardly_more_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, largest: int
) -> None:
    monkeypatch.setattr(held, "LARGEST", largest)
    # no larger tensor is looked for an orthogonal matrix in
    monkeypatch.setattr(exact, "_LARGEST", min(exact._LARGEST, largest))
    path = tmp_path / name
    MADE[name](path)
    size = path.stat().st_size
    assert size > 1 << 20
    counter = Counter(monkeypatch)
    with wtools.open(path) as tree:
        wtools.report(tree)
        assert tree.nbytes / 20 < counter.nbytes <= 1.1 * size


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts what is read")
def test_the_system_counts_no_more_either(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in MADE]
    for path in paths:
        MADE[path.name](path)
    done = subprocess.run(
        [sys.executable, MEASURE],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        check=True,
    )
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        code, nbytes = map(int, line.split())
        assert code in (0, 1)
        assert 0.9 * path.stat().st_size < nbytes <= 1.1 * path.stat().st_size, path.name


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="needs Linux' counters")
@pytest.mark.parametrize("kind", ["dense", "with zeros", "heavy tails"])
@pytest.mark.parametrize("rows", [50_000, 90_000], ids=["200 MB", "360 MB"])
def test_a_large_tensor_is_read_once_in_less_than_300_mb(
    tmp_path: Path, kind: str, rows: int
) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((rows, 1024), np.float32) / 50
    if kind == "with zeros":
        weight[rng.random(len(weight)) < 0.1] = 0
    if kind == "heavy tails":
        weight **= 3
        weight[:, 7] *= 300
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file({"fc.weight": weight}, path)
    with wtools.open(path) as tree:
        same_as_single(wtools.report(tree), tree)
    del weight
    assert peak_of("report", path, "--json") < 300 << 20
    done = subprocess.run(
        [sys.executable, MEASURE], input=str(path), capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[1]) <= 1.1 * path.stat().st_size


def test_no_more_is_held_than_is_allowed_and_nothing_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain(tmp_path / "m.safetensors")
    monkeypatch.setattr(held, "LARGEST", 600_000)
    monkeypatch.setattr(held, "TOGETHER", 200_000)
    with wtools.open(tmp_path / "m.safetensors") as opened:
        tree = held.holdable(opened)
        most = 0
        for tensor, result in held.held_sketches(tree):
            assert not isinstance(result, WtoolsError)
            assert held.is_held(tensor) == (tensor.nbytes <= 600_000)
            kept = [t.data.array for t in tree.values() if isinstance(t.data, held.HeldData)]
            most = max(most, sum(array.nbytes for array in kept if array is not None))
        assert 0 < most <= 600_000
        assert not any(map(held.is_held, tree.values()))
        for tensor in tree.values():
            assert tensor.read().tobytes() == opened[tensor.name].read().tobytes()


@pytest.mark.parametrize("fails", ["at once", "later", "never"])
def test_looks_at_a_passing_tensor_end_with_it(fails: str) -> None:
    class Breaking:
        def read(self) -> Any:
            raise AssertionError("nothing is read as a whole")

        def blocks(self, nbytes: int = 0) -> Iterator[Any]:
            for n in range(20):
                if (fails, n) in (("at once", 0), ("later", 9)):
                    raise CorruptError("gone")
                yield np.full(10, n, np.float32)

    before = threading.active_count()
    tensor = Tensor("w", (20, 10), "float32", Breaking())
    passed = Tensor("w", (20, 10), "float32", passing.PassingData(tensor))

    def total(tensor: Tensor) -> float:
        return sum(float(block.sum()) for block in tensor.blocks())

    def some(tensor: Tensor) -> float:
        return float(next(iter(tensor.blocks())).sum())

    def wrong(tensor: Tensor) -> float:
        raise UsageError("no such look")

    for name, look in (("total", total), ("some", some), ("wrong", wrong)):
        passing.expect(passed, name, look)
    assert isinstance(passed.data, passing.PassingData)
    ((_, result),) = sketches([passed.data.to_sketch()])
    assert threading.active_count() == before
    with pytest.raises(UsageError):
        passing.once(passed, "wrong", total)
    assert held.is_held(passed)
    if fails == "never":
        assert passing.once(passed, "total", wrong) == 1900
        assert passing.once(passed, "some", wrong) == 0
    else:
        assert isinstance(result, CorruptError)
        with pytest.raises(CorruptError):
            passing.once(passed, "total", total)


# --- a tensor that cannot be read -----------------------------------------------------------------


def test_a_tensor_that_cannot_be_read_is_a_note_in_every_section(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.npz"
    deflated(path)
    data = bytearray(path.read_bytes())
    start = data.index(b"b.weight.npy") + 5000
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    with wtools.open(path) as tree:
        found = wtools.report(tree)
        same_as_single(found, tree)
    assert [failure.place for failure in found.failures] == ["b.weight.npy"]
    for name in READ:
        text = dumps(found[name].to_dict())
        assert "could not be read" in text or "unreadable" in text, name
        assert name == "check" or "b.weight" not in {row.name for row in found[name].rows}
    assert found.failed
    assert "1 of 10 tensors could not be read" in repr(found)
    assert run(["report", str(path), "--quiet"]) == 3
    out, err = capsys.readouterr()
    assert "unreadable" not in err and err.count("b.weight.npy") == 1 and "1 error" in out


def test_reading_that_fails_without_an_error_of_ours_ends_the_report() -> None:
    def broken() -> Any:
        raise ZeroDivisionError("a fault of the reader")

    tree = WeightTree([Tensor("w", (2,), "float32", LazyData(broken))])
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        wtools.report(tree)
    assert threading.active_count() == before


# --- taking turns ---------------------------------------------------------------------------------

TENSORS = [Tensor.of(f"t{n}", np.full(3, n, np.float32)) for n in range(5)]


def items() -> Iterator[Result]:
    return sketches(TENSORS)


def test_each_analysis_sees_each_tensor_before_the_next_is_made() -> None:
    order: list[str] = []

    def made() -> Iterator[Result]:
        for tensor, result in items():
            order.append(f"made {tensor.name}")
            yield tensor, result

    def analysis(name: str, wanted: list[Tensor]) -> Callable[[Scan], list[str]]:
        def look(scan: Scan) -> list[str]:
            seen = []
            for tensor, _ in scan(wanted):
                order.append(f"{name} {tensor.name}")
                seen.append(tensor.name)
            return seen

        return look

    found = turns.in_turns(
        {"a": analysis("a", TENSORS[:3]), "b": analysis("b", TENSORS[1:])}, made()
    )
    assert found == {"a": ["t0", "t1", "t2"], "b": ["t1", "t2", "t3", "t4"]}
    text = "made t0 a t0 made t1 a t1 b t1 made t2 a t2 b t2 made t3 b t3 made t4 b t4"
    assert " ".join(order) == text


def test_one_analysis_runs_at_a_time() -> None:
    running = threading.Lock()

    def analysis(scan: Scan) -> int:
        count = 0
        for _ in scan(TENSORS):
            assert running.acquire(blocking=False)
            for _ in range(1000):
                count += 1
            running.release()
        return count

    assert turns.in_turns(dict.fromkeys("abc", analysis), items()) == dict.fromkeys("abc", 5000)


def test_an_analysis_may_end_early_or_scan_nothing() -> None:
    def first(scan: Scan) -> str:
        return next(scan(TENSORS))[0].name

    def none(scan: Scan) -> str:
        return "nothing"

    def all_of_them(scan: Scan) -> str:
        return " ".join(tensor.name for tensor, _ in scan(TENSORS))

    found = turns.in_turns({"first": first, "none": none, "all": all_of_them}, items())
    assert found == {"first": "t0", "none": "nothing", "all": "t0 t1 t2 t3 t4"}


@pytest.mark.parametrize("at", ["before", "in the middle", "at the end"])
@pytest.mark.parametrize("error", [UsageError("no"), KeyError("k"), KeyboardInterrupt()])
def test_what_an_analysis_raises_ends_all_of_them(at: str, error: BaseException) -> None:
    cleaned = []

    def raising(scan: Scan) -> None:
        if at == "before":
            raise error
        for tensor, _ in scan(TENSORS):
            if at == "in the middle" and tensor.name == "t2":
                raise error
        raise error

    def patient(scan: Scan) -> None:
        try:
            for _ in scan(TENSORS):
                pass
        finally:
            cleaned.append(True)

    before = threading.active_count()
    for analyses in (
        {"patient": patient, "raising": raising},
        {"raising": raising, "patient": patient},
    ):
        with pytest.raises(type(error)):
            turns.in_turns(analyses, items())
    assert threading.active_count() == before
    assert len(cleaned) == (1 if at == "before" else 2)


def test_what_reading_raises_ends_the_analyses() -> None:
    def breaking() -> Iterator[Result]:
        yield next(items())
        raise CorruptError("gone")

    def analysis(scan: Scan) -> int:
        return len(list(scan(TENSORS)))

    before = threading.active_count()
    with pytest.raises(CorruptError):
        turns.in_turns({"a": analysis, "b": analysis}, breaking())
    assert threading.active_count() == before


# --- what is printed ------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    plain(tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


def test_json_holds_each_report_as_its_command_prints_it(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*args: str) -> Any:
        run([args[0], str(model), "--json", *args[1:]])
        return json.loads(capsys.readouterr().out)

    whole = printed("report")
    assert whole["schema"] == "wtools.report/1"
    assert (whole["path"], whole["format"]) == (str(model), "safetensors")
    assert whole["reports"] == {name: printed(name) for name in SINGLE}


def test_one_screen_says_the_most_important(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(model)]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 25
    for said in (
        "10 tensors",
        "dense",
        "trainable",
        "90% of the energy",
        "untouched",
        "0 errors, 2 warnings",
        "c.weight: 1 of 256 channels",
        "a.weight: stored again as copy.weight",
    ):
        assert said in out, said


def test_the_exit_code_is_that_of_check(tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    safetensors.numpy.save_file({"w": np.array([[np.nan, 1.0]], np.float32)}, path)
    assert run(["report", str(path), "--quiet"]) == 1


def test_html_is_one_page_with_a_section_and_a_table_for_each_analysis(model: Path) -> None:
    with wtools.open(model) as tree:
        page = overview.render(wtools.report(tree), "html")
    assert page.count("<html") == page.count("<h1>") == 1
    for name in SINGLE:
        assert page.count(f'<section id="{name}">') == 1 and f'href="#{name}"' in page
    assert page.count("<table>") == page.count('type="search"') == len(SINGLE)
    assert "http" not in page


def test_markdown_has_a_table_for_each_analysis(model: Path) -> None:
    with wtools.open(model) as tree:
        text = overview.render(wtools.report(tree), "markdown")
    assert text.startswith("## ") and text.count("\n### ") == len(SINGLE)
    assert "- **health**: 0 errors, 2 warnings" in text


def test_the_output_ending_chooses_the_form(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, begins in (("r.html", "<!doctype"), ("r.md", "## "), ("r.json", "{"), ("r", "/")):
        assert run(["report", str(model), "-o", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_text().startswith(begins)
    assert run(["report", str(model), "-o", str(tmp_path / "r.csv")]) == 2
    assert "cannot be written as csv" in capsys.readouterr().err


def test_names_from_the_file_cannot_break_the_page() -> None:
    tree = WeightTree([Tensor.of("<script>\x1b[31m", np.full((2, 2), np.nan, np.float32))])
    found = wtools.report(tree)
    page = overview.render(found, "html")
    for text in (repr(found), overview.render(found, "markdown"), found._repr_html_(), page):
        assert "\x1b" not in text
    assert "<script>" not in found._repr_html_()
    assert page.count("<script>") == 1  # its own


def test_an_empty_model_is_reported_on() -> None:
    found = wtools.report(WeightTree([]))
    assert "0 tensors" in repr(found)
    for form in ("json", "html", "markdown"):
        assert overview.render(found, form)
