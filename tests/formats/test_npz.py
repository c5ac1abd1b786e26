"""npz: arrays as numpy itself saves them, and what numpy would rather not have read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import facts
from wtools import formats
from wtools.errors import CorruptError, UnsafeError, UsageError, WtoolsError
from wtools.testing import FormatContract

FACTS = facts.load("npz")
FOLDER = facts.ROOT / "npz"


class TestContract(FormatContract):
    format = "npz"
    samples: ClassVar[list[Path]] = [FOLDER / name for name in FACTS]


@pytest.mark.parametrize("file", FACTS)
def test_numpy_sees_the_same(file: str) -> None:
    with formats.open(FOLDER / file) as tree:
        facts.check(tree, FACTS[file])


def test_stored_arrays_lie_plainly_in_the_file_and_deflated_ones_do_not() -> None:
    with formats.open(FOLDER / "plain.npz") as tree:
        assert tree["dtype/float32"].raw is not None
        assert tree["endian/f4"].raw is None  # its bytes are there, but the other way round
        assert tree["order/fortran"].raw is None
    with formats.open(FOLDER / "compressed.npz") as tree:
        assert tree["dtype/float32"].raw is None


def test_what_holds_no_numbers_is_left_out_and_named() -> None:
    with formats.open(FOLDER / "strangers.npz") as tree:
        assert list(tree) == ["weight"]
        for name in ("bfloat16", "text", "raw", "when", "record", "long"):
            assert any(note.startswith(f"{name} left out: ") for note in tree.notes), name
        assert "as numpy saves bfloat16" in " ".join(tree.notes)


def test_there_is_no_root() -> None:
    with pytest.raises(UsageError, match="flat set"):
        formats.open(FOLDER / "plain.npz", root="model")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), packed=st.booleans())
def test_any_array_comes_back(data: st.DataObject, packed: bool, tmp_path_factory: Any) -> None:
    kinds = st.one_of(
        hnp.boolean_dtypes(),
        hnp.integer_dtypes(endianness="?"),
        hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
        hnp.complex_number_dtypes(sizes=(64, 128), endianness="?"),
    )
    shapes = hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)
    array = data.draw(hnp.arrays(data.draw(kinds), data.draw(shapes)))
    if data.draw(st.booleans()):
        array = np.asfortranarray(array)
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    (np.savez_compressed if packed else np.savez)(path, a=array)
    native = array.astype(array.dtype.newbyteorder("="))
    with formats.open(path) as tree:
        assert tree["a"].read().tobytes() == native.tobytes()
        assert b"".join(block.tobytes() for block in tree["a"].blocks(64)) == native.tobytes()


def test_a_large_fortran_array_is_gathered_in_pieces(tmp_path: Path) -> None:
    array = np.asfortranarray(np.random.default_rng(0).normal(size=(3, 2000, 700)))
    np.savez(tmp_path / "a.npz", a=array)
    with formats.open(tmp_path / "a.npz") as tree:
        seen = np.concatenate(list(tree["a"].blocks()))
        np.testing.assert_array_equal(seen, array.reshape(-1))
        np.testing.assert_array_equal(tree["a"].read(), array)


# --- headers that are not what numpy writes ------------------------------------------------------


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members.items():
            zipped.writestr(name, content)
    return path


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode()
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + text + data


def headed(descr: str = "'<f4'", order: str = "False", shape: str = "(2,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "header",
    [
        headed(),
        headed(shape="(2L,)"),  # as Python 2 wrote
        '{"shape": (2,), "fortran_order": False, "descr": "<f4"}',
        "{'descr':'<f4','fortran_order':True,'shape':(2,)}   \n",
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_spelling_of_a_header_is_read(
    header: str, version: tuple[int, int], tmp_path: Path
) -> None:
    content = npy(header, np.float32([1, 2]).tobytes(), version)
    if "L" not in header:  # numpy itself warns or refuses
        np.testing.assert_array_equal(np.load(io.BytesIO(content)), [1, 2])
    with formats.open(archive(tmp_path / "a.npz", {"a.npy": content})) as tree:
        assert tree["a"].shape == (2,)
        np.testing.assert_array_equal(tree["a"].read(), np.float32([1, 2]))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(headed(), b"\0" * 9), "takes 8 bytes, 9 follow"),
        (npy(headed(), b"\0" * 7), "takes 8 bytes, 7 follow"),
        (npy(headed(shape=f"({2**40},)"), b"\0" * 8), "takes 4398046511104 bytes"),
        (npy(headed(shape=f"(0, {2**60},)")), "absurd"),
        (npy(headed(shape="(-2,)"), b"\0" * 8), "not understood"),
        (npy(headed(shape="(True,)"), b"\0" * 4), "not understood"),
        (npy(headed(shape="(2.0,)"), b"\0" * 8), "not understood"),
        (npy(headed(shape="[2]"), b"\0" * 8), "not understood"),
        (npy(headed(shape="(2)"), b"\0" * 8), "not understood"),
        (npy(headed(shape=f"({'1,' * 65})"), b"\0" * 4), "more than 64 axes"),
        (npy(headed(order="1"), b"\0" * 8), "not understood"),
        (npy(headed(descr="'<q9'"), b"\0" * 8), "unknown type"),
        (npy(headed(descr="'import os'"), b"\0" * 8), "unknown type"),
        (npy(headed(descr="__import__('os').system('touch WTOOLS_PWNED')")), "not understood"),
        (npy("{'descr': '<f4'}"), "not understood"),
        (npy(headed() * 2, b"\0" * 8), "not understood"),
        (npy("[" * 5000), "not understood"),
        (npy(headed() + " " * (2 << 20), b"\0" * 8, (2, 0)), "a header of more than"),
        (npy(headed(), b"\0" * 8, (4, 0)), "version 4.0"),
        (npy(headed())[:9], "a header of more than"),
    ],
)
def test_a_broken_array_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=reason) as caught:
        formats.open(archive(tmp_path / "a.npz", {"a.npy": content}))
    assert caught.value.place == "a.npy"


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(UnsafeError, match="pickle, which is not run"):
        formats.open(tmp_path / "a.npz")


def test_a_name_with_and_without_its_ending_is_refused(tmp_path: Path) -> None:
    content = npy(headed(), b"\0" * 8)
    with pytest.raises(CorruptError, match="are both in it"):
        formats.open(archive(tmp_path / "a.npz", {"a.npy": content, "a": content}))


def test_members_that_are_no_arrays_are_named(tmp_path: Path) -> None:
    members = {"a.npy": npy(headed(), b"\0" * 8), "README": b"hello", "empty.npy": b""}
    with formats.open(archive(tmp_path / "a.npz", members)) as tree:
        assert list(tree) == ["a"]
        assert "README left out: not an array" in tree.notes


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10**6), byte=st.integers(0, 255), file=st.sampled_from(sorted(FACTS)))
def test_one_wrong_byte_is_an_error_or_a_file_all_the_same(
    at: int, byte: int, file: str, tmp_path_factory: Any
) -> None:
    data = bytearray((FOLDER / file).read_bytes())
    data[at % len(data)] = byte
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    path.write_bytes(data)
    try:
        with formats.open(path, format="npz") as tree:
            for tensor in tree.values():
                tensor.read(copy=True)
    except WtoolsError as error:
        assert error.exit_code == 3


def test_small_floats_are_named_for_what_numpy_made_of_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(2, ml_dtypes.float8_e4m3fn))
    with formats.open(tmp_path / "a.npz") as tree:
        assert not tree and "float8" in tree.notes[0]
