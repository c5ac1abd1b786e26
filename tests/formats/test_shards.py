"""Sharded checkpoints and model folders: as their writers leave them, and as accidents do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy

from tests import facts
from tests.measured import measure
from wtools import formats
from wtools.errors import CorruptError, FormatError, MissingError, UnsafeError, UsageError
from wtools.files import Source
from wtools.testing import FormatContract
from wtools.tree import WeightTree

FACTS = facts.load("shards")
FOLDER = facts.ROOT / "shards"
INDEX = "model.safetensors.index.json"


def check(tree: WeightTree, path: str) -> None:
    """Keras itself goes by the stored names: shards do not say what every layer is called."""
    if tree.format == "keras":
        tree = tree.map(lambda tensor: tensor.rename(tensor.stored))
    facts.check(tree, FACTS[path])


@pytest.mark.parametrize("path", FACTS)
def test_the_writer_sees_the_same(path: str) -> None:
    with formats.open(FOLDER / path) as tree:
        check(tree, path)
        assert tree.variant.startswith("sharded, ") and not any("shard" in n for n in tree.notes)


@pytest.mark.parametrize("path", FACTS)
def test_a_folder_is_its_index(path: str) -> None:
    folder = FOLDER / path.partition("/")[0]
    with formats.open(folder) as tree:
        check(tree, path)
        assert Path(tree.path).parent == folder


def test_an_index_is_known_by_its_content(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    os.rename(folder / INDEX, folder / "whatever")
    with formats.open(folder / "whatever") as tree:
        assert tree.format == "safetensors" and len(tree) == 9
    with Source(folder / "whatever") as source:
        assert formats.detect(source).NAME == "sharded"


def test_opening_reads_no_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("safetensors", "transformers"):
        FormatContract().test_opening_reads_no_tensor(FOLDER / folder, monkeypatch)


def test_the_config_beside_the_shards_is_the_architecture() -> None:
    with formats.open(FOLDER / "transformers") as tree:
        assert tree.architecture["transformers"]["model_type"] == "gpt2"


def test_what_the_index_says_of_tied_tensors_is_heard() -> None:
    with formats.open(FOLDER / "safetensors") as tree:
        assert tree.tied() == [("embed.weight", "head.weight")]
        assert tree.metadata["total_size"] and tree.metadata["format"] == "pt"


# --- made by hand --------------------------------------------------------------------------------


def copy(tmp_path: Path, name: str = "safetensors") -> Path:
    return Path(shutil.copytree(FOLDER / name, tmp_path / "m"))


def shard(path: Path, *names: str, value: float = 0.0) -> None:
    safetensors.numpy.save_file({name: np.full(3, value, np.float32) for name in names}, path)


def index(folder: Path, weight_map: Any, **others: Any) -> Path:
    path = folder / INDEX
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map} | others))
    return path


def two(folder: Path, weight_map: Any = None) -> Path:
    """Shards 1 (a, b) and 2 (c), and an index."""
    shard(folder / "model-00001-of-00002.safetensors", "a", "b", value=1)
    shard(folder / "model-00002-of-00002.safetensors", "c", value=2)
    return index(folder, FULL if weight_map is None else weight_map)


ONE, TWO = (f"model-{i:05}-of-00002.safetensors" for i in (1, 2))
FULL = {"a": ONE, "b": ONE, "c": TWO}


def test_tensors_come_shard_after_shard(tmp_path: Path) -> None:
    with formats.open(two(tmp_path, {"c": TWO, "b": ONE, "a": ONE})) as tree:
        assert list(tree) == ["c", "a", "b"]
        assert tree["a"].read().tolist() == [1, 1, 1] and tree["c"].read().tolist() == [2, 2, 2]
        storage = tree["c"].storage
        assert storage is not None and storage.file.endswith(TWO)


def test_closing_the_tree_closes_every_shard(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with formats.open(two(tmp_path)) as tree:
        assert len(os.listdir("/proc/self/fd")) == before + 2
        kept = tree["a"].read()
    assert kept.tolist() == [1, 1, 1]
    del kept  # a mapping holds a descriptor of its own
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(UsageError, match="closed"):
        tree["c"].read(copy=True)


@pytest.mark.parametrize("weight_map", [FULL | {"z": TWO}, {"a": "../x"}, {"a": "absent"}])
def test_a_failure_leaves_no_file_open(weight_map: dict[str, str], tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises((CorruptError, UnsafeError, MissingError)):
        formats.open(two(tmp_path, weight_map))
    assert len(os.listdir("/proc/self/fd")) == before


def test_missing_shards_are_named(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    for i in (1, 3):
        (folder / f"model-{i:05}-of-00003.safetensors").unlink()
    with pytest.raises(
        MissingError, match=r"2 of 3 shards are missing: model-00001.*, model-00003"
    ):
        formats.open(folder)


def test_tensors_that_are_not_in_their_shard_are_named(tmp_path: Path) -> None:
    wrong = FULL | {"c": ONE, "z": TWO}
    with pytest.raises(CorruptError, match=f"'c' in {ONE}, 'z' in {TWO}"):
        formats.open(two(tmp_path, wrong))


def test_tensors_that_are_not_in_the_index_are_kept_and_named(tmp_path: Path) -> None:
    with formats.open(two(tmp_path, {"a": ONE, "c": TWO})) as tree:
        assert set(tree) == {"a", "b", "c"}
        assert f"{ONE} holds what the index does not name: b" in tree.notes


def test_the_index_decides_between_two_shards(tmp_path: Path) -> None:
    two(tmp_path)
    shard(tmp_path / TWO, "a", "c", value=2)
    with formats.open(tmp_path) as tree:
        assert tree["a"].read().tolist() == [1, 1, 1]
        assert f"{TWO} holds what the index does not name: a" in tree.notes


def test_surplus_shards_are_named(tmp_path: Path) -> None:
    two(tmp_path)
    shard(tmp_path / "model-00003-of-00003.safetensors", "d")
    shard(tmp_path / "other.safetensors", "e")
    with formats.open(tmp_path) as tree:
        (note,) = [note for note in tree.notes if "named like a shard" in note]
        assert note.endswith(": model-00003-of-00003.safetensors")


def test_shards_of_two_formats_are_refused(tmp_path: Path) -> None:
    two(tmp_path)
    np.savez(tmp_path / "x.npz", c=np.zeros(3))
    with pytest.raises(FormatError, match="different formats: npz, safetensors"):
        formats.open(index(tmp_path, FULL | {"c": "x.npz"}))


def test_shards_may_be_of_any_format(tmp_path: Path) -> None:
    for i in "ab":
        np.savez(tmp_path / f"{i}.npz", **{i: np.zeros(3)})
    with formats.open(index(tmp_path, {"a": "a.npz", "b": ["b.npz"]})) as tree:
        assert tree.format == "npz" and list(tree) == ["a", "b"]


# --- an index that is none -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../" + ONE, "/etc/passwd", "sub/" + ONE, "..", ".", "", "..\\" + ONE, "a\0b", "./" + ONE],
)
def test_a_shard_must_be_a_plain_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="not a plain name in its folder"):
        formats.open(two(tmp_path, FULL | {"c": name}))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    path = two(inside)
    os.rename(inside / TWO, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", inside / TWO)
    with pytest.raises(UnsafeError, match="a link out of the folder"):
        formats.open(path)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    path = two(tmp_path)
    os.rename(tmp_path / TWO, tmp_path / "real")
    os.symlink("real", tmp_path / TWO)
    formats.open(path).close()


def test_the_links_of_a_download_cache_are_followed(tmp_path: Path) -> None:
    """huggingface_hub keeps files in blobs/ and links to them from snapshots/<revision>/."""
    cache = tmp_path / "models--org--name"
    snapshot = cache / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (cache / "blobs").mkdir()
    two(snapshot)
    for i, file in enumerate(list(snapshot.iterdir())):
        os.rename(file, cache / "blobs" / f"{i}")
        os.symlink(f"../../blobs/{i}", file)
    with formats.open(snapshot) as tree:
        assert set(tree) == {"a", "b", "c"}
    os.rename(cache / "blobs", tmp_path / "blobs")
    os.symlink(tmp_path / "blobs", cache / "blobs")  # the cache itself may be moved
    formats.open(snapshot).close()


def test_a_fifo_for_a_shard_is_not_waited_for(tmp_path: Path) -> None:
    path = two(tmp_path)
    (tmp_path / TWO).unlink()
    os.mkfifo(tmp_path / TWO)
    with pytest.raises(MissingError, match="not a regular file"):
        formats.open(path)


def test_an_index_may_not_name_itself(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="is itself an index"):
        formats.open(index(tmp_path, {"a": INDEX}))


M = '{"weight_map":'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (M + "{}}", "names no tensor"),
        (M + "[]}", "weight_map is an object"),
        (M + "null}", "weight_map is an object"),
        (M + '{"a":1}}', "names shards by strings"),
        (M + '{"a":null}}', "names shards by strings"),
        (M + '{"a":{}}}', "names shards by strings"),
        (M + '{"a":[]}}', "names shards by strings"),
        (M + '{"a":["x",1]}}', "names shards by strings"),
        (M + '{"a":[["x"]]}}', "names shards by strings"),
        (M + '{"a":"x",}}', "is missing"),
        (M + '{"a":"x","a":"x"}}', "names 'a' twice"),
        (M + '{"a":"x","\\u0061":"x"}}', "names 'a' twice"),
        (M + '{"a":"x"},"weight_map":{"a":"x"}}', "'weight_map' twice"),
        (M + '{"a":"x"}', "'}' is missing"),
        (M + '{"a":"x"', "brackets are not closed"),
        (M + '{"a":"x"}} {}', "follows the index"),
        (M + '{"a":"x"},"metadata":{"b":NaN}}', "NaN is no JSON number"),
        (M + '{"a":"x"},"metadata":{"b":1,"b":2}}', "stands twice"),
        (M + '{"a":"x"},"metadata":{"b":}}', "is not valid JSON"),
        (M + '{"a":"x"},"metadata":' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        (M + '{"a":"x"},"other":' + "[" * 200_000 + "}", "not closed"),
        (M + '{"a":"\\ud800"}}', "not closed, or holds"),
        ('{"x":"weight_map","weight_map" 1}', "':' is missing"),
        ('{"a":"\\"weight_map\\"", "b":"weight_map"}', "no weight_map"),
    ],
)
def test_a_broken_index_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(text)
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(CorruptError, match=reason) as caught:
        formats.open(tmp_path / INDEX, format="sharded")
    assert caught.value.place


def test_an_index_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_bytes(b'{"weight_map":{"\xff":"x"}}')
    with pytest.raises(CorruptError, match="is not UTF-8"):
        formats.open(tmp_path / INDEX)


def test_a_shard_that_is_no_weights_file_says_what_it_is(tmp_path: Path) -> None:
    path = two(tmp_path)
    (tmp_path / TWO).write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(FormatError, match="a git-LFS pointer") as caught:
        formats.open(path)
    assert str(caught.value.path).endswith(TWO)


# --- folders -------------------------------------------------------------------------------------


def opened(folder: Path) -> WeightTree:
    tree = formats.open(folder)
    tree.close()
    return tree


def test_shards_without_an_index_are_joined(tmp_path: Path) -> None:
    two(tmp_path).unlink()
    tree = opened(tmp_path)
    assert list(tree) == ["a", "b", "c"] and tree.path == str(tmp_path)
    assert tree.variant == "sharded, 2 files"


def test_a_gap_among_shards_without_an_index_is_named(tmp_path: Path) -> None:
    shard(tmp_path / "model-00002-of-00003.safetensors", "a")
    with pytest.raises(MissingError, match=r"2 of 3 shards are missing: model-00001.*model-00003"):
        formats.open(tmp_path)


def test_a_name_in_two_shards_without_an_index_is_refused(tmp_path: Path) -> None:
    shard(tmp_path / ONE, "a")
    shard(tmp_path / TWO, "a")
    with pytest.raises(CorruptError, match="'a' is in two shards"):
        formats.open(tmp_path)


def test_the_safetensors_of_two_forms_are_opened_and_the_other_named(tmp_path: Path) -> None:
    shard(tmp_path / "model.safetensors", "a")
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    (tmp_path / "tf_model.h5").write_bytes(b"nor this")
    (tmp_path / "optimizer.pt").write_bytes(b"nor this")
    tree = opened(tmp_path)
    assert list(tree) == ["a"] and tree.path == str(tmp_path / "model.safetensors")
    assert "model.safetensors was opened" in tree.notes[-1]
    assert "optimizer.pt" not in tree.notes[-1]


def test_an_adapter_is_a_model(tmp_path: Path) -> None:
    shard(tmp_path / "adapter_model.safetensors", "a")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert opened(tmp_path).architecture == {"peft": {"peft_type": "LORA"}}


@pytest.mark.parametrize("text", ["{", "[1]", '{"a":' * 100_000, " " * (2 << 20), "NaN", "\xff"])
def test_a_config_that_is_none_does_no_harm(text: str, tmp_path: Path) -> None:
    shard(tmp_path / "model.safetensors", "a")
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    tree = opened(tmp_path)
    assert list(tree) == ["a"] and tree.architecture is None


def test_two_models_are_a_question(tmp_path: Path) -> None:
    shard(tmp_path / "one.safetensors", "a")
    shard(tmp_path / "two.safetensors", "a")
    with pytest.raises(UsageError, match=r"holds 2 models: one\.safetensors, two\.safetensors"):
        formats.open(tmp_path)


def test_what_training_leaves_is_opened_only_if_it_is_all_there_is(tmp_path: Path) -> None:
    shard(tmp_path / "optimizer.safetensors", "a")
    assert list(opened(tmp_path)) == ["a"]
    shard(tmp_path / "my.safetensors", "b")
    assert list(opened(tmp_path)) == ["b"]


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="the folder holds no weights file"):
        formats.open(tmp_path)


# --- many and large ------------------------------------------------------------------------------

MANY = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 4096))
from wtools import formats
with formats.open(sys.argv[1]) as tree:
    print(len(tree), sum(float(t.read().sum()) for t in tree.values()))
"""


def test_three_hundred_shards_are_open_at_once(tmp_path: Path) -> None:
    """Also where the process began with a low limit on open files."""
    weight_map = {}
    for i in range(300):
        name = f"model-{i + 1:05}-of-00300.safetensors"
        shard(tmp_path / name, f"t{i}", value=1)
        weight_map[f"t{i}"] = name
    index(tmp_path, weight_map)
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout.split() == ["300", "900.0"], done.stderr


SIZE = 12_000_000


class TestHostileIndex:
    cases: ClassVar[dict[str, bytes]] = {
        "names": b",".join(b'"%x":"x"' % i for i in range(SIZE // 11)),
        "shards": b",".join(b'"%x":"%x"' % (i, i) for i in range(SIZE // 16)),
        "a list": b'"a":[' + b",".join(b'"%x"' % i for i in range(SIZE // 9)) + b"]",
        "a long name": b'"a":"' + "😀".encode() + b"n" * SIZE + b'"',
    }

    @pytest.mark.parametrize("case", cases)
    def test_it_takes_little_memory(self, case: str, tmp_path: Path) -> None:
        shard(tmp_path / "x", "a")
        path = tmp_path / INDEX
        path.write_bytes(M.encode() + b"{" + self.cases[case] + b"}}")
        outcome, taken, _ = measure(path)
        assert outcome == "corrupt"
        assert taken <= max(64 << 20, 2 * path.stat().st_size), f"{taken >> 20} MB"

    def test_metadata_of_any_form_take_little_memory(self, tmp_path: Path) -> None:
        path = tmp_path / INDEX
        path.write_bytes(M.encode() + b'{"a":"x"},"metadata":[' + b"[]," * (SIZE // 3) + b"[]]}")
        outcome, taken, _ = measure(path)
        assert outcome == "corrupt" and taken <= 64 << 20
