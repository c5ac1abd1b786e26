"""Sketches are saved, read back and merged without loss."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sketch.reference import NAMES, assert_agree, example

from wtools.errors import (
    CorruptError,
    FormatError,
    MissingError,
    OutputError,
    UnsafeError,
    UsageError,
)
from wtools.sketch import Sketch, files, sketch


def all_kinds(part: slice = slice(None), *, histogram: bool = True) -> dict[str, Sketch]:
    return {n: sketch(example(n, 2_000)[part], histogram=histogram) for n in NAMES}


@pytest.mark.parametrize("histogram", [True, False])
def test_what_is_saved_is_read_back(tmp_path: Path, histogram: bool) -> None:
    saved = all_kinds(histogram=histogram)
    files.save(tmp_path / "a.sketch", saved, {"path": "model.pt", "shapes": [1, 2]})
    loaded = files.load(tmp_path / "a.sketch")
    assert list(loaded.sketches) == list(saved)
    assert loaded.metadata == {"path": "model.pt", "shapes": [1, 2]}
    for name, one in saved.items():
        assert repr(loaded.sketches[name]) == repr(one)
        assert loaded.sketches[name].histogram == one.histogram
        assert loaded.sketches[name].exact == one.exact
        np.testing.assert_array_equal(loaded.sketches[name].values, one.values)


def test_a_sketch_file_is_a_safetensors_file(tmp_path: Path) -> None:
    from wtools.files import Source
    from wtools.formats.safetensors import read

    files.save(tmp_path / "a", all_kinds())
    tree = read(Source(tmp_path / "a"))
    assert tree["counts"].shape == (len(NAMES), 6)
    assert tree["bins"].shape == tree["bin_counts"].shape


def test_integers_beyond_float64_survive(tmp_path: Path) -> None:
    ends = np.array([-(1 << 63), (1 << 63) - 1] * 7 + [-(1 << 63)])
    most = np.full(9, (1 << 64) - 1, np.uint64)
    saved = {"ends": sketch(ends), "most": sketch(most), "none": sketch(ends[:0])}
    files.save(tmp_path / "a", saved)
    loaded = files.load(tmp_path / "a").sketches
    assert loaded["ends"].sum == -7 - (1 << 63)
    assert loaded["most"].sum == 9 * ((1 << 64) - 1)
    assert loaded["none"].count == 0


def test_shards_add_up_to_the_whole(tmp_path: Path) -> None:
    parts = []
    for place, part in enumerate((slice(0, 700), slice(700, 701), slice(701, None))):
        files.save(tmp_path / str(place), all_kinds(part), {"shard": place})
        parts.append(files.load(tmp_path / str(place)))
    merged = files.merge(parts)
    assert merged.metadata["merged"] == [{"shard": 0}, {"shard": 1}, {"shard": 2}]
    for name, whole in all_kinds().items():
        assert_agree(merged.sketches[name], whole)


def test_names_that_only_one_shard_has_are_kept(tmp_path: Path) -> None:
    left = files.SketchFile({"a": sketch(np.ones(3)), "both": sketch(np.ones(2))})
    right = files.SketchFile({"b": sketch(np.zeros(4)), "both": sketch(np.ones(5))})
    merged = files.merge([left, right]).sketches
    assert {n: s.count for n, s in merged.items()} == {"a": 3, "both": 7, "b": 4}


def test_shards_of_different_dtypes_do_not_merge() -> None:
    left = files.SketchFile({"a": sketch(np.ones(3))})
    right = files.SketchFile({"a": sketch(np.ones(3, np.float32))})
    with pytest.raises(UsageError, match="a: a sketch of float64 does not add to one of float32"):
        files.merge([left, right])
    with pytest.raises(UsageError, match="nothing to merge"):
        files.merge([])


def test_an_existing_file_is_only_replaced_when_asked(tmp_path: Path) -> None:
    files.save(tmp_path / "a", {})
    with pytest.raises(OutputError, match="exists already"):
        files.save(tmp_path / "a", {}, overwrite=False)


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(MissingError):
            files.load(tmp_path / "none")

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"{}"])
    def test_not_a_sketch_file(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises((CorruptError, FormatError)):
            files.load(tmp_path / "bad")

    def test_another_archive(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "bad.npz", a=np.ones(3))
        with pytest.raises((CorruptError, FormatError), match=r"bad\.npz"):
            files.load(tmp_path / "bad.npz")

    def test_a_pickle_in_it_is_not_run(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "bad.npz", header=np.array([{"a": 1}], object))
        with pytest.raises((CorruptError, FormatError)):
            files.load(tmp_path / "bad.npz")

    def test_a_damaged_or_cut_file(self, tmp_path: Path) -> None:
        files.save(tmp_path / "good", all_kinds())
        good = (tmp_path / "good").read_bytes()
        for place in range(0, len(good), max(1, len(good) // 60)):
            damaged = bytearray(good)
            damaged[place] ^= 0x55
            for content in (bytes(damaged), good[:place]):
                (tmp_path / "bad").write_bytes(content)
                with contextlib.suppress(CorruptError, FormatError):
                    files.load(tmp_path / "bad")

    def test_a_header_of_empty_lists_takes_no_memory(self, tmp_path: Path) -> None:
        text = b'{"a":[' + b"[]," * (4 << 20) + b"[]]}"
        (tmp_path / "bad").write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(UnsafeError, match="too much memory"):
            files.load(tmp_path / "bad")

    def test_what_contradicts_itself(self, tmp_path: Path) -> None:
        good = sketch(example("float32", 500))
        assert good.histogram is not None
        wrong = [
            dataclasses.replace(good, count=-1),
            dataclasses.replace(good, zeros=501),
            dataclasses.replace(good, count=501),
            dataclasses.replace(good, dtype="bfloat16", histogram=sketch(np.ones(500)).histogram),
            dataclasses.replace(good, m2=-1.0),
        ]
        for number, one in enumerate(wrong):
            files.save(tmp_path / str(number), {"t": one})
            with pytest.raises((CorruptError, FormatError)):
                files.load(tmp_path / str(number))
