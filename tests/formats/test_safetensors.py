"""safetensors: the specification rule by rule, and the reference library for company."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import facts
from tests.measured import measure
from wtools import dtypes, formats
from wtools.errors import CorruptError, FormatError, UsageError, WtoolsError
from wtools.testing import FormatContract
from wtools.tree import tie_key

FACTS = facts.load("safetensors")
FOLDER = facts.ROOT / "safetensors"


class TestContract(FormatContract):
    format = "safetensors"
    samples: ClassVar[list[Path]] = [FOLDER / name for name in FACTS]


@pytest.mark.parametrize("file", FACTS)
def test_the_library_sees_the_same(file: str) -> None:
    with formats.open(FOLDER / file) as tree:
        facts.check(tree, FACTS[file])


def test_every_dtype_of_the_specification_is_among_the_fixtures() -> None:
    seen = set()
    for file in FACTS:
        with formats.open(FOLDER / file) as tree:
            seen |= {dtypes.get(tensor.dtype).safetensors for tensor in tree.values()}
    assert seen == set(dtypes.BY_SAFETENSORS)


def test_every_tensor_lies_plainly_in_the_file() -> None:
    with formats.open(FOLDER / "every_dtype.safetensors") as tree:
        data = (FOLDER / "every_dtype.safetensors").read_bytes()
        for tensor in tree.values():
            assert tensor.raw is not None and tensor.storage is not None
            at = tensor.storage.offset
            packed = b"".join(block.tobytes() for block in tensor.packed_blocks())
            assert data[at : at + tensor.nbytes] == packed


def test_metadata_are_kept() -> None:
    with formats.open(FOLDER / "names.safetensors") as tree:
        assert tree.metadata == safetensors.safe_open(FOLDER / "names.safetensors", "np").metadata()


def test_a_name_that_only_the_metadata_know_is_a_tied_tensor() -> None:
    with formats.open(FOLDER / "tied.safetensors") as tree:
        assert tree.tied() == [("embed.weight", "head.weight")]
        assert tree["head.weight"].facts["alias_of"] == "embed.weight"
        assert any("head.weight = embed.weight" in note for note in tree.notes)
        assert tree.size == 11 * 4 + 11  # counted once


@pytest.mark.parametrize(
    "metadata",
    [{"b": "a"}, {"a": "a"}, {"main": "nothing"}, {"x": "y", "y": "x"}],
    ids=["its key is a tensor", "itself", "its value is no tensor", "a circle"],
)
def test_other_metadata_tie_nothing(metadata: dict[str, str], tmp_path: Path) -> None:
    arrays = {"a": torch.zeros(2), "b": torch.ones(2)}
    safetensors.torch.save_file(arrays, tmp_path / "m.safetensors", metadata)
    with formats.open(tmp_path / "m.safetensors") as tree:
        assert set(tree) == {"a", "b"} and not tree.tied() and tree.metadata == metadata


def test_there_is_no_root() -> None:
    with pytest.raises(UsageError, match="one flat set"):
        formats.open(FOLDER / "tied.safetensors", root="model")


# --- headers by hand -----------------------------------------------------------------------------


def entry(dtype: str, shape: Any, begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def save(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    """`header`: an object to be dumped, or text, or bytes as they are."""
    if not isinstance(header, str | bytes):
        header = json.dumps(header)
    text = header.encode() if isinstance(header, str) else header
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


GOOD = entry("U8", [2], 0, 2)
TEXT = json.dumps(GOOD)

# header, data, what the error says, does the reference library refuse it too
RULES: dict[str, tuple[Any, bytes, str, bool]] = {
    "not UTF-8": (b'{"\xff":' + TEXT.encode() + b"}", b"ab", "byte 10: is not UTF-8", True),
    "an overlong encoding": (b'{"\xc0\xaf":' + TEXT.encode() + b"}", b"ab", "is not UTF-8", True),
    "a surrogate in UTF-8": (b'{"\xed\xa0\x80":' + TEXT.encode() + b"}", b"ab", "UTF-8", True),
    "no object": ("[1, 2]", b"", "begins with '{'", True),
    "leading space": (' {"a":' + TEXT + "}", b"ab", "begins with '{'", False),
    "leading BOM": ('\ufeff{"a":' + TEXT + "}", b"ab", "begins with '{'", True),
    "not closed": ('{"a":' + TEXT, b"ab", "'}' is missing", True),
    "text after it": ('{"a":' + TEXT + "}x", b"ab", "only spaces may follow", True),
    "a newline after it": ('{"a":' + TEXT + "}\n", b"ab", "only spaces may follow", False),
    "NUL after it": ('{"a":' + TEXT + "}\0", b"ab", "only spaces may follow", True),
    "a trailing comma": ('{"a":' + TEXT + ",}", b"ab", "'\"' is missing", True),
    "no comma": ('{"a":' + TEXT + ' "b":' + TEXT + "}", b"ab", "'}' is missing", True),
    "names without quotes": ("{a:" + TEXT + "}", b"ab", "'\"' is missing", True),
    "single quotes": (str({"a": GOOD}), b"ab", "'\"' is missing", True),
    "a name not closed": ('{"a', b"", "is not closed", True),
    "a raw control character": ('{"a\nb":' + TEXT + "}", b"ab", "not closed, or holds", True),
    "an unknown escape": ('{"\\x41":' + TEXT + "}", b"ab", "not closed, or holds", True),
    "a lone surrogate": ('{"\\ud800":' + TEXT + "}", b"ab", "not closed, or holds", True),
    "a surrogate turned round": ('{"\\udc00\\ud800":' + TEXT + "}", b"ab", "not closed", True),
    "a tensor twice": (f'{{"a":{TEXT},"a":{TEXT}}}', b"ab", "two tensors are named 'a'", False),
    "a tensor twice, once escaped": (
        f'{{"a":{TEXT},"\\u0061":{TEXT}}}', b"ab", "two tensors are named 'a'", False,
    ),
    "a tensor that is a list": ({"a": [GOOD]}, b"ab", "must be an object", True),
    "a tensor that is null": ({"a": None}, b"", "must be an object", True),
    "no dtype": ({"a": {"shape": [2], "data_offsets": [0, 2]}}, b"ab", "are needed", True),
    "no shape": ({"a": {"dtype": "U8", "data_offsets": [0, 2]}}, b"ab", "are needed", True),
    "no offsets": ({"a": {"dtype": "U8", "shape": [2]}}, b"ab", "are needed", True),
    "no fields": ({"a": {}}, b"", "are needed", True),
    "a field twice": (
        '{"a":{"dtype":"U8","dtype":"U8","data_offsets":[0,2]}}', b"ab", "once each", True,
    ),
    "four fields, one twice": (
        '{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        b"ab", "two fields 'dtype'", True,
    ),
    "an unknown field": ({"a": GOOD | {"strides": [1]}}, b"ab", "unknown field 'strides'", False),
    "dtype in lower case": ({"a": GOOD | {"dtype": "u8"}}, b"ab", "unknown dtype 'u8'", True),
    "dtype unknown": ({"a": GOOD | {"dtype": "F128"}}, b"ab", "unknown dtype 'F128'", True),
    "dtype a number": ({"a": GOOD | {"dtype": 8}}, b"ab", "dtype is malformed", True),
    "shape a number": ({"a": GOOD | {"shape": 2}}, b"ab", "shape is malformed", True),
    "shape negative": ({"a": GOOD | {"shape": [-1]}}, b"ab", "shape is malformed", True),
    "shape true": ({"a": GOOD | {"shape": [True, 2]}}, b"ab", "shape is malformed", True),
    "shape NaN": ('{"a":' + TEXT.replace("[2]", "[NaN]") + "}", b"ab", "shape is malformed", True),
    "shape a float": ({"a": GOOD | {"shape": [2.0]}}, b"ab", "shape is malformed", True),
    "shape with exponent": ('{"a":' + TEXT.replace("[2]", "[2e0]") + "}", b"ab", "malformed", True),
    "shape nested": ({"a": GOOD | {"shape": [[2]]}}, b"ab", "shape is malformed", True),
    "shape null": ({"a": GOOD | {"shape": [None]}}, b"ab", "shape is malformed", True),
    "shape a string": ({"a": GOOD | {"shape": ["2"]}}, b"ab", "shape is malformed", True),
    "shape with a leading zero": (
        '{"a":' + TEXT.replace("[2]", "[02]") + "}", b"ab", "no list of integers", True,
    ),
    "shape with a hole": (
        '{"a":' + TEXT.replace("[2]", "[2,,1]") + "}", b"ab", "no list of integers", True,
    ),
    "shape of 65 axes": ({"a": entry("U8", [1] * 65, 0, 1)}, b"a", "65 axes, at most 64", False),
    "shape of 100,000 axes": (
        {"a": entry("U8", [1] * 100_000, 0, 1)}, b"a", "100000 axes, at most 64", False,
    ),
    "a product that overflows": (
        {"a": entry("F64", [2**32, 2**32], 0, 0)}, b"", "takes 147573952589676412928 bytes", True,
    ),
    "a product that overflows to the truth": (
        {"a": entry("U8", [2**63, 2, 2], 0, 0)}, b"", "takes 36893488147419103232 bytes", True,
    ),
    "an overflow beside a zero": (
        {"a": entry("U8", [2**40, 2**40, 0], 0, 0)}, b"", "overflows 63 bits", True,
    ),
    "an overflow after a zero": (
        {"a": entry("U8", [0, 2**40, 2**40], 0, 0)}, b"", "overflows 63 bits", False,
    ),
    "a dimension of 2**64": ({"a": entry("U8", [2**64, 0], 0, 0)}, b"", "overflows", True),
    "too few bytes for the shape": ({"a": entry("F32", [2], 0, 4)}, b"abcd", "takes 8 bytes", True),
    "too many bytes for the shape": ({"a": entry("U8", [2], 0, 4)}, b"abcd", "takes 2 bytes", True),
    "three offsets": ('{"a":' + TEXT.replace("0, 2", "0,2,2") + "}", b"ab", "malformed", True),
    "one offset": ('{"a":' + TEXT.replace("0, 2", "2") + "}", b"ab", "malformed", True),
    "offsets negative": ({"a": entry("U8", [2], -2, 0)}, b"ab", "malformed", True),
    "offsets float": ({"a": entry("U8", [2], 0.0, 2.0)}, b"ab", "malformed", True),
    "offsets turned round": ({"a": entry("U8", [2], 2, 0)}, b"ab", "are -2", True),
    "bytes past the end": ({"a": entry("U8", [3], 0, 3)}, b"ab", "the file has", True),
    "offsets of 2**64": ({"a": entry("U8", [2], 2**64, 2**64 + 2)}, b"ab", "the file has", True),
    "a hole before": ({"a": entry("U8", [2], 1, 3)}, b"abc", "1 bytes before tensor 'a'", True),
    "a hole between": (
        {"a": GOOD, "b": entry("U8", [2], 3, 5)}, b"abcde", "1 bytes before tensor 'b'", True,
    ),
    "a tail": ({"a": GOOD}, b"abc", "1 bytes after the last tensor", True),
    "a tail without tensors": ({}, b"abc", "3 bytes after the last tensor", True),
    "an overlap": (
        {"a": GOOD, "b": entry("U8", [2], 1, 3)}, b"abc", "tensor 'b' overlaps tensor 'a'", True,
    ),
    "the same bytes twice": (
        {"a": GOOD, "b": GOOD}, b"ab", "tensor 'b' overlaps tensor 'a'", True,
    ),
    "half a byte of F4": ({"a": entry("F4", [3], 0, 2)}, b"ab", "12 bits of F4 end inside", True),
    "half a byte of F6": ({"a": entry("F6_E2M3", [2], 0, 2)}, b"ab", "end inside a byte", True),
    "metadata a list": ({"__metadata__": []}, b"", "object of strings", True),
    "metadata null": ({"__metadata__": None}, b"", "object of strings", False),
    "metadata a tensor": ({"__metadata__": GOOD}, b"ab", "must be a string", True),
    "metadata with a number": ({"__metadata__": {"a": 1}}, b"", "must be a string", True),
    "metadata with an object": ({"__metadata__": {"a": {}}}, b"", "must be a string", True),
    "metadata twice": ('{"__metadata__":{},"__metadata__":{}}', b"", "two entries", True),
    "a metadata key twice": (
        '{"__metadata__":{"a":"1","a":"2"}}', b"", "two metadata keys are named 'a'", False,
    ),
    "a metadata lone surrogate": ('{"__metadata__":{"a":"\\udfff"}}', b"", "not closed", True),
    "metadata not closed": ('{"__metadata__":{"a":"b"', b"", "is missing", True),
    "metadata with a comma too many": ('{"__metadata__":{"a":"b",}}', b"", "is missing", True),
    "a comment": ('{/**/"a":' + TEXT + "}", b"ab", "'\"' is missing", True),
    "nested 200,000 deep": ('{"a":' + "[" * 200_000, b"", "must be an object", True),
    "nested in the metadata": (
        '{"__metadata__":{"a":' + '{"a":' * 200_000, b"", "must be a string", True,
    ),
    "a very long name": ({"n" * 70_000: GOOD}, b"ab", "a name of 70002 bytes", False),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_what_the_specification_forbids_is_refused(rule: str, tmp_path: Path) -> None:
    header, data, reason, _ = RULES[rule]
    path = save(tmp_path / "m.safetensors", header, data)
    with pytest.raises(FormatError if "unknown dtype" in reason else CorruptError) as caught:
        formats.open(path, format="safetensors")
    assert reason in str(caught.value)
    assert caught.value.place and str(path) in str(caught.value)


@pytest.mark.parametrize("rule", RULES)
def test_we_are_never_laxer_than_the_library(rule: str, tmp_path: Path) -> None:
    header, data, _, theirs = RULES[rule]
    path = save(tmp_path / "m.safetensors", header, data)
    assert library_refuses(path) is theirs


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "has 0 bytes"),
        (b"\x08\0\0", "has 3 bytes"),
        (struct.pack("<Q", 0), "holds no JSON object"),
        (struct.pack("<Q", 1) + b"{", "holds no JSON object"),
        (struct.pack("<Q", 100) + b"{}", "the file has 10"),
        (struct.pack("<Q", 100_000_001) + b"{}", "the format allows 100000000"),
        (struct.pack("<Q", 2**64 - 1) + b"{}", "a header of 18446744073709551615 bytes"),
    ],
)
def test_a_length_that_cannot_be_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(CorruptError, match=reason):
        formats.open(path, format="safetensors")
    assert library_refuses(path)


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        "{}   ",
        "{ \n\t\r}",
        '{"__metadata__":{}}',
        '{"a":{"shape":[2],"data_offsets":[0,2],"dtype":"U8"}}',
        '{"a" : { "data_offsets" :\n[ 0 , 2 ] , "dtype":"U8", "shape" :\t[ 2 , 1 ] } } ',
        '{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},'
        '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"\\u0061\\n\\ud83d\\ude00":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}',
        '{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},'
        '"e":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},'
        '"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},'
        '"f":{"dtype":"U8","shape":[3,0],"data_offsets":[2,2]},"__metadata__":{"k":"v"}}',
        '{"a":{"dtype":"U8","shape":' + str([1] * 63 + [2]) + ',"data_offsets":[0,2]}}',
    ],
)
def test_all_that_it_allows_is_read(header: str, tmp_path: Path) -> None:
    data = b"ab" if "dtype" in header else b""
    path = save(tmp_path / "m.safetensors", header, data)
    theirs = safetensors.deserialize(path.read_bytes())
    with formats.open(path) as tree:
        assert {name: (list(t.shape), t.read().tobytes()) for name, t in tree.items()} == {
            name: (view["shape"], bytes(view["data"])) for name, view in theirs
        }


def test_tensors_at_odd_offsets_are_read_right(tmp_path: Path) -> None:
    values = np.arange(3, dtype="<f8")
    header = {"a": entry("U8", [1], 0, 1), "b": entry("F64", [3], 1, 25)}
    path = save(tmp_path / "m.safetensors", header, b"x" + values.tobytes())
    with formats.open(path) as tree:
        assert tree["b"].storage is not None and tree["b"].storage.offset % 8
        np.testing.assert_array_equal(tree["b"].read(), values)
        np.testing.assert_array_equal(tree["b"].read(copy=True), values)


# --- against the library, at random --------------------------------------------------------------


def library_refuses(path: Path) -> bool:
    try:
        with safetensors.safe_open(path, "np"):
            return False
    except safetensors.SafetensorError:
        return True


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
shapes = st.lists(st.integers(0, 4), max_size=4)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_valid_file_is_read_as_the_library_reads_it(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header: dict[str, Any] = {}
    blob, begin = b"", 0
    for name in data.draw(st.lists(names.filter("__metadata__".__ne__), unique=True, max_size=6)):
        shape = data.draw(shapes)
        dtype = data.draw(st.sampled_from(sorted(dtypes.BY_SAFETENSORS)))
        bits = int(np.prod(shape)) * dtypes.BY_SAFETENSORS[dtype].bits
        if bits % 8:
            shape, bits = [*shape, 4], bits * 4
        blob += data.draw(st.binary(min_size=bits // 8, max_size=bits // 8))
        header[name] = entry(dtype, shape, begin, begin + bits // 8)
        begin += bits // 8
    items = data.draw(st.permutations(list(header.items())))
    metadata = data.draw(st.none() | st.dictionaries(names, names, max_size=3))
    if metadata is not None:
        items.insert(data.draw(st.integers(0, len(items))), ("__metadata__", metadata))
    text = json.dumps(
        dict(items),
        ensure_ascii=data.draw(st.booleans()),
        indent=data.draw(st.sampled_from([None, 1])),
    )
    padding = data.draw(st.integers(0, 9))
    path = save(tmp_path_factory.mktemp("st") / "m", text + " " * padding, blob)
    theirs = dict(safetensors.deserialize(path.read_bytes()))
    with formats.open(path) as tree:
        stored = {n: t for n, t in tree.items() if "alias_of" not in t.facts}
        kept = {
            key: text
            for key, text in (metadata or {}).items()
            if key not in set(tree) - set(stored)
        }
        assert set(stored) == set(theirs) and dict(tree.metadata) == kept
        for name, view in theirs.items():
            tensor = stored[name]
            assert list(tensor.shape) == view["shape"]
            assert dtypes.get(tensor.dtype).safetensors == view["dtype"]
            packed = b"".join(block.tobytes() for block in tensor.packed_blocks(5))
            assert packed == bytes(view["data"])


SPARE = b'{}[]":,\\ \t\n0129-+.eEnulltrue_U8F32\xff\xed\x00'


@settings(max_examples=1500, deadline=None)
@given(
    file=st.sampled_from(sorted(FACTS)),
    edits=st.lists(
        st.tuples(
            st.integers(0, 10**6),
            st.sampled_from(["put", "cut", "insert", "double"]),
            st.sampled_from(SPARE) | st.integers(0, 255),
        ),
        min_size=1,
        max_size=3,
    ),
)
def test_what_the_library_refuses_we_refuse(
    file: str, edits: list[tuple[int, str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray((FOLDER / file).read_bytes())
    end = 8 + int.from_bytes(data[:8], "little")
    for at, edit, byte in edits:
        at = at % (end if byte % 4 else len(data))
        if edit == "put":
            data[at] = byte
        elif edit == "cut":
            del data[at]
        elif edit == "insert":
            data.insert(at, byte)
        else:
            data[at:at] = data[at : at + byte]
    if edits[0][2] % 2:  # with a length that fits again, so that the header itself is looked at
        data[:8] = struct.pack("<Q", max(0, end + len(data) - (FOLDER / file).stat().st_size - 8))
    path = tmp_path_factory.mktemp("st") / "m"
    path.write_bytes(data)
    try:
        with formats.open(path, format="safetensors") as tree:
            for tensor in tree.values():
                tensor.read(copy=True)
                tensor.read()
    except WtoolsError as error:
        assert error.exit_code == 3
        return
    assert not library_refuses(path)


# --- hostile sizes -------------------------------------------------------------------------------

SIZE = 12_000_000
HOSTILE: dict[str, bytes] = {
    "lists of lists": b'{"a":' + b"[[]," * (SIZE // 4),
    "200,000 deep": b'{"a":' + b"[" * 200_000,
    "a shape of millions": b'{"a":{"dtype":"U8","shape":[' + b"1," * (SIZE // 2) + b"1]}}",
    "a name of escapes": b'{"' + b"\\n" * (SIZE // 2) + b'":{}}',
    "a name that widens": b'{"' + "😀".encode() + b"n" * SIZE + b'":{}}',
    "an integer of millions of digits": b'{"a":{"dtype":"U8","shape":[' + b"1" * SIZE + b"]}}",
    "an object of millions": b'{"a":{' + b'"b":1,' * (SIZE // 6) + b"}}",
    "metadata of millions": b'{"__metadata__":{'
    + b",".join(b'"%x":""' % i for i in range(SIZE // 12))
    + b"}}",
    "spaces": b"{" + b" " * SIZE + b"}x",
    "many tensors, the last one twice": b"{"
    + b",".join(
        b'"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % (i % 150_000)
        for i in range(150_001)
    )
    + b"}",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_header_takes_little_memory(case: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.safetensors", HOSTILE[case])
    outcome, taken, _ = measure(path)
    assert outcome == "corrupt"
    assert taken <= max(64 << 20, 2 * path.stat().st_size), f"{taken >> 20} MB"


def test_300_000_empty_tensors_are_read_in_linear_time(tmp_path: Path) -> None:
    """Ten times the tensors take about ten times the CPU, not a hundred times."""

    def cost(count: int) -> int:
        header = {f"layer.{i}": entry("F32", [0, 3], 0, 0) for i in range(count)}
        outcome, _, spent = measure(save(tmp_path / f"{count}.safetensors", header))
        assert outcome == "opened"
        return spent

    base = cost(1)
    assert cost(300_000) - base < 25 * max(cost(30_000) - base, 50)


# --- finding out what it is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b'{"error": "Repository not found"}', "a JSON document"),
        (b"\0" * 4096, "begins with zero bytes"),
        (b'Entry {""} not found', "a text file"),
        ("nicht gefunden: über".encode() * 40, "a text file"),
        (b"\xff" * 600, "data of an unknown kind"),
    ],
)
def test_what_is_none_is_told_apart(content: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(FormatError, match=what):
        formats.open(tmp_path / "model.safetensors")


def test_a_tie_survives_selection() -> None:
    with formats.open(FOLDER / "tied.safetensors") as tree:
        weights = tree.select("*.weight")
        assert tie_key(weights["head.weight"]) == tie_key(weights["embed.weight"])
