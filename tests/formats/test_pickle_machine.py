"""The pickle interpreter: what pickle.loads makes of plain values, and nothing of anything else."""

from __future__ import annotations

import collections
import contextlib
import io
import math
import pickle
import pickletools
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wtools.errors import CorruptError, FormatError, UnsafeError, WtoolsError
from wtools.files import Source
from wtools.formats.pytorch import constructors, pickle_machine
from wtools.formats.pytorch.pickle_machine import Machine
from wtools.formats.pytorch.reader import Reader
from wtools.formats.pytorch.values import Dict, FileBytes, Global, Object

PROTOCOLS = range(6)


def no_torch_file(_: object) -> None:
    raise ValueError


@pytest.fixture
def interpret(tmp_path: Path) -> Callable[..., Any]:
    """bytes of a pickle -> its value; with `in_file`, read from the file in pieces."""

    def run(data: bytes, *, in_file: bool = False, machine: bool = False) -> Any:
        path = tmp_path / "p"
        path.write_bytes(data)
        with Source(path) as source:
            reader = Reader(source) if in_file else Reader(source, data=data)
            table = constructors.table(no_torch_file)
            interpreter = Machine(reader, table, constructors.build)
            value = interpreter.load()
        return interpreter if machine else value

    return run


# --- plain values --------------------------------------------------------------------------------

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.complex_numbers()
)
keys = st.recursive(scalars, lambda inner: st.tuples(inner, inner), max_leaves=4)
values = st.recursive(
    scalars | st.binary(max_size=20).map(bytearray) | st.frozensets(keys, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(keys, inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5).map(collections.OrderedDict)
        | st.sets(keys, max_size=4)
    ),
    max_leaves=20,
)


def same(ours: Any, theirs: Any) -> bool:
    """Equal in type and value, NaN equal to NaN, an OrderedDict equal to our Dict."""
    if isinstance(theirs, dict):
        return (
            type(ours) is (Dict if isinstance(theirs, collections.OrderedDict) else dict)
            and len(ours) == len(theirs)
            and all(
                same(key, other) and same(ours[key], theirs[other])
                for key, other in zip(ours, theirs, strict=True)
            )
        )
    if type(ours) is not type(theirs):
        return False
    if isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, set | frozenset):
        return sorted(map(repr, ours)) == sorted(map(repr, theirs))
    if isinstance(theirs, float):
        return struct.pack(">d", ours) == struct.pack(">d", theirs) or math.isnan(ours + theirs)
    return repr(ours) == repr(theirs)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
@given(value=values)
def test_plain_values_are_what_pickle_says(
    interpret: Callable[..., Any], protocol: int, value: Any
) -> None:
    data = pickle.dumps(value, protocol)
    theirs = pickle.loads(data)
    assert same(interpret(data), theirs)
    assert same(interpret(data, in_file=True), theirs)
    assert same(interpret(pickletools.optimize(data)), theirs)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_long_values_cross_the_pieces_they_are_read_in(
    interpret: Callable[..., Any], protocol: int
) -> None:
    value = ["é" * 700_000, list(range(200_000)), "z" * 3_000_000, ["line\nfeed"] * 3, 1 << 5000]
    assert interpret(pickle.dumps(value, protocol), in_file=True) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_shared_and_cyclic_values_stay_so(interpret: Callable[..., Any], protocol: int) -> None:
    shared: list[Any] = [1]
    cycle: dict[str, Any] = {"a": shared, "b": shared}
    cycle["self"] = cycle
    ours = interpret(pickle.dumps(cycle, protocol))
    assert ours["a"] is ours["b"] and ours["self"] is ours


@pytest.mark.parametrize("protocol", [4, 5])
def test_long_bytes_stay_in_the_file(interpret: Callable[..., Any], protocol: int) -> None:
    raw = bytes(range(256)) * 64
    data = pickle.dumps([raw, bytearray(raw), b"short"], protocol)
    first, _, short = interpret(data, in_file=True)
    assert isinstance(first, FileBytes) and short == b"short"
    assert data[first.offset : first.offset + first.nbytes] == raw


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_dictionaries_of_other_kinds(interpret: Callable[..., Any], protocol: int) -> None:
    for value in (
        collections.Counter("hello"),
        collections.defaultdict(list, {"k": [1]}),
        collections.OrderedDict(a=1),
    ):
        assert dict(interpret(pickle.dumps(value, protocol))) == dict(value)


def test_what_python_2_wrote(interpret: Callable[..., Any]) -> None:
    assert interpret(b"\x80\x02]q\x00(U\x03abcq\x01U\x02\xff\xfeq\x02K\x01e.") == [
        "abc",
        b"\xff\xfe",
        1,
    ]
    assert interpret(b"(lp0\nS'it\\'s'\np1\naI01\naL12L\na.") == ["it's", True, 12]
    assert interpret(b"c__builtin__\nset\n((lp0\nI1\natR.") == {1}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_numbers_are_python_numbers(interpret: Callable[..., Any], protocol: int) -> None:
    values = [np.float32(0.5), np.int64(-3), np.bool_(True), np.complex64(1 + 2j)]
    assert interpret(pickle.dumps(values, protocol)) == [0.5, -3, True, 1 + 2j]


# --- everything else -----------------------------------------------------------------------------


class Plain:
    def __init__(self) -> None:
        self.x, self.y = 1, [2]


class Caller:
    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_are_inert(interpret: Callable[..., Any], protocol: int) -> None:
    ours = interpret(pickle.dumps(Plain(), protocol))
    assert isinstance(ours, Object) and ours.class_name == "Plain"
    assert ours.attributes == {"x": 1, "y": [2]}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("function", [eval, exec, open, getattr, __import__, np.load])
def test_calls_are_named_and_not_made(
    interpret: Callable[..., Any], protocol: int, function: Any, tmp_path: Path
) -> None:
    marker = tmp_path / "WTOOLS_PWNED"
    machine = interpret(pickle.dumps(Caller(function, str(marker), "w"), protocol), machine=True)
    assert next(iter(machine.unknown)).endswith(function.__name__)
    assert not marker.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'touch WTOOLS_PWNED'\ntR.",
        b"(S'touch WTOOLS_PWNED'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch WTOOLS_PWNED'\no.",
        b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00touch\x85\x81.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85}\x92.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R}X\x01\x00\x00\x00aK\x01sb.",
        b"\x80\x02cos\nsystem\n)RX\x01\x00\x00\x00x\x85R.",
        b"\x80\x02cos\nsystem\n}b.",
        b"\x80\x02\x82\x05)R.",
    ],
)
def test_every_way_to_call(
    interpret: Callable[..., Any], code: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = interpret(code)
    assert isinstance(value, Object | Global)
    assert not (tmp_path / "WTOOLS_PWNED").exists()


def test_known_calls_take_only_what_they_take(interpret: Callable[..., Any]) -> None:
    for code in (
        b"cbuiltins\nbytes\n(L99999999999L\ntR.",
        b"cbuiltins\nbytearray\n(L99999999999L\ntR.",
        b"cbuiltins\nlist\n(S'text'\ntR.",
        b"c_codecs\nencode\n(S'text'\nS'rot13'\ntR.",
        b"ccollections\nOrderedDict\n(I5\ntR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n(I5\ntR.",
        b"cnumpy\ndtype\n(S'f4'\ntRI5\nb.",
    ):
        with pytest.raises(CorruptError):
            interpret(code)


class NoNames(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(name)


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(values, st.sampled_from(PROTOCOLS), st.randoms(use_true_random=False))
def test_nothing_is_taken_that_pickle_refuses(
    interpret: Callable[..., Any], value: Any, protocol: int, random: Any
) -> None:
    data = bytearray(pickle.dumps(value, protocol))
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data))
        data[at] = random.choice([*b"(]}).0122tuaesd", random.randrange(256)])
    try:
        machine = interpret(bytes(data), machine=True)
    except WtoolsError:
        return
    if machine.names or machine.unknown:
        return
    ours, theirs = interpret(bytes(data)), NoNames(io.BytesIO(bytes(data)), encoding="utf-8").load()
    assert same(ours, theirs)


# --- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (b"", CorruptError),
        (b"\x80\x04", CorruptError),
        (b".", CorruptError),
        (b"(lp0\n", CorruptError),
        (b"K", CorruptError),
        (b"h\x05.", CorruptError),
        (b"X\xff\xff\xff\x7fabc.", CorruptError),
        (b"\x8e" + b"\xff" * 8 + b".", CorruptError),
        (b"\x8b\xff\xff\xff\x7f.", CorruptError),
        (b"]}a.", None),
        (b"NNa.", CorruptError),
        (b"}](s.", CorruptError),
        (b"}]Ns.", CorruptError),
        (b"t.", CorruptError),
        (b"I1" + b"0" * 5000 + b"\n.", CorruptError),
        (b"\xff.", CorruptError),
        (b"P123\n.", FormatError),
        (b"NQ.", FormatError),
        (b"\x97.", CorruptError),
        (b"K\x01K\x02\x93.", CorruptError),
        (b"K\x01)R.", CorruptError),
        (b"K\x01}b.", CorruptError),
    ],
)
def test_nonsense_is_an_error_that_says_where(
    interpret: Callable[..., Any], code: bytes, error: type[WtoolsError] | None
) -> None:
    if error is None:
        assert interpret(code) == [{}]
        return
    with pytest.raises(error, match="byte "):
        interpret(code)


@settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60))
def test_random_bytes_are_an_error_or_a_value(interpret: Callable[..., Any], data: bytes) -> None:
    with contextlib.suppress(WtoolsError):
        interpret(data + b".")


def peak(run: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_far_memo_index_costs_nothing(interpret: Callable[..., Any]) -> None:
    code = b"\x80\x02]r\x00\x00\x00\x08j\x00\x00\x00\x08."
    assert peak(lambda: interpret(code)) < 1 << 20


def test_depth_needs_no_recursion(interpret: Callable[..., Any]) -> None:
    value = interpret(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 199_999
    interpret(b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".")
    interpret(b"\x80\x02" + b"cx\ny\n" + b")R" * 100_000 + b".")


@pytest.mark.parametrize(
    "code",
    [
        b"\x8f" * 40_000,
        b"}" * 80_000,
        b"]\x94" * 60_000,
        b"N" * 200_000,
        b"(" * 60_000,
        b"]" + b"2a" * 1_000_000,
        b"cx\ny\n" + b"2)R" * 60_000,
    ],
    ids=["sets", "dicts", "memo", "stack", "marks", "appends", "objects"],
)
def test_small_opcodes_cannot_make_a_large_structure(
    interpret: Callable[..., Any], code: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a sixty-fourth of the true bounds."""
    monkeypatch.setattr(pickle_machine, "_FLOOR", 1 << 20)
    monkeypatch.setattr(pickle_machine, "_MOST_SLOTS", 1 << 16)

    def run() -> None:
        with pytest.raises(UnsafeError, match="MB"):
            interpret(code + b".")

    assert peak(run) < (2 << 20) + 4 * len(code)


def test_keys_cannot_be_made_to_collide(interpret: Callable[..., Any]) -> None:
    modulus = (1 << 61) - 1  # integers a multiple of this apart have one hash
    data = pickle.dumps({n * modulus: None for n in range(1, 4000)}, 4)
    assert len(interpret(data)) == 3999
    numbers = b"".join(
        b"\x8a\x0a" + (n * modulus).to_bytes(10, "little") + b"N" for n in range(1, 60_000)
    )
    assert len(interpret(b"\x80\x04}(" + numbers + b"u.")) == 59_999


def test_a_key_cannot_be_a_bomb(interpret: Callable[..., Any]) -> None:
    bomb = b"\x80\x02}K\x01" + b"2\x86" * 40 + b"Ns."
    with pytest.raises(CorruptError, match="key"):
        interpret(bomb)
