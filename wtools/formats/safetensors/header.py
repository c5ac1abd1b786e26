"""The header of a safetensors file, every rule of the specification enforced.

Stricter than the reference library where the specification is: names and metadata keys may not
repeat, nothing may stand before the `{` and only spaces after the `}`, `__metadata__` may not be
null, a tensor has its three fields and no other. And where numpy could not hold the tensor: at
most 64 axes, sizes below 2**63 even beside an axis of 0. Names end at 64 KB, metadata at 100,000
keys.

The text is gone through twice. The first pass keeps 32 bytes a tensor and accepts or refuses the
file as a whole; the second yields the tensors of a file that was accepted. So a hostile header of
the largest size, 100 MB, is refused within twice its size.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...dtypes import DType
from ...errors import CorruptError, FormatError
from ...files import Source
from ..strict_json import MAX_NAME, Json, Names, pattern, shown
from . import MAX_HEADER

MAX_RANK = 64 if int(np.__version__.split(".")[0]) >= 2 else 32  # what numpy can hold
MAX_KEYS = 100_000  # of the metadata
_LARGEST = 2**63 - 1
_METADATA = "__metadata__"
Span = tuple[int, int]

# The three fields in any order; the groups of the two alternatives not taken stay empty.
_FIELD = (
    rb' "(?:dtype" : "([A-Za-z0-9_]*)"'
    rb'|shape" : \[([0-9,\x20\t\n\r]*)\]'
    rb'|data_offsets" : \[ (#) , (#) \]) '
)
_FIELDS = rb" : \{" + _FIELD + rb"," + _FIELD + rb"," + _FIELD + rb"\} "
_entry = pattern(rb" $" + _FIELDS)
_after_name = pattern(rb"()" + _FIELDS)
_shape = pattern(rb" (?:# (?:, # )*)?")
_values = {
    "dtype": pattern(rb' "[A-Za-z0-9_]*" '),
    "shape": pattern(rb" \[[0-9,\x20\t\n\r]*\] "),
    "data_offsets": pattern(rb" \[ # , # \] "),
}


class Entry(NamedTuple):
    """One tensor. `begin`, `end`: its bytes in the file."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    begin: int
    end: int


class Header:
    """The validated header of a file: `metadata` and, by iterating, the entries in its order.

    Raises CorruptError, or FormatError for a dtype that the specification does not know.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        length = _length(source)
        self._data = 8 + length
        self._json = Json(source.pread(8, length), source.path, 8)
        self._metadata_at = -1
        self._validate()
        self.metadata: dict[str, str] = {}
        if self._metadata_at >= 0:
            text, found = self._json.text, self.metadata
            self._walk_metadata(self._metadata_at, lambda k, v: found.update({text(*k): text(*v)}))

    def __iter__(self) -> Iterator[Entry]:
        return (entry for _, entry in self._entries())

    def _validate(self) -> None:
        if self._json.raw[:1] != b"{":
            self._json.fail(0, f"a header begins with '{{', this one with {self._json.seen(0)}")
        names = Names()
        begins, ends = array("Q"), array("Q")
        for at, entry in self._entries():
            names.add(entry.name, at)
            begins.append(entry.begin)
            ends.append(entry.end)
        self._refuse_repeats(names, "tensors")
        del names
        if self._metadata_at >= 0:
            keys = Names()
            self._walk_metadata(self._metadata_at, lambda k, _: keys.add(self._json.name(*k), k[0]))
            self._refuse_repeats(keys, "metadata keys")
        self._refuse_gaps(np.asarray(begins), np.asarray(ends))

    def _entries(self) -> Iterator[tuple[int, Entry]]:
        """(offset in the text, entry) of each tensor; remembers where the metadata stand."""
        json, raw, metadata_at = self._json, self._json.raw, -1
        at = 1
        more = json.peek(at) != b"}"
        while more:
            found = _entry.match(raw, at)
            if found is not None and found.end(1) - at < MAX_NAME:
                name = found[1].decode("utf-8")
            else:
                start, end = json.string(at, "the header: a tensor's name")
                name = self._json.name(start, end)
                found = _after_name.match(raw, end)
            if name == _METADATA:
                if metadata_at >= 0:
                    json.fail(at, "two entries are named '__metadata__'")
                after = json.string(at, "the header")[1]
                self._metadata_at = metadata_at = json.expect(after, b":", "the metadata")
                at = json.space(self._walk_metadata(metadata_at))
            elif found is None:
                self._explain(at)
            else:
                yield at, self._checked(at, name, found.groups())
                at = found.end()
            more = raw[at : at + 1] == b","
            at += more
        at = json.expect(at, b"}", "the header")
        if raw[at:].strip(b" "):
            json.fail(at, f"only spaces may follow the header's '}}', not {json.seen(at)}")

    def _checked(self, at: int, name: str, groups: tuple[bytes | None, ...]) -> Entry:
        """The entry whose fields are `groups`: name, dtype, shape and bytes in agreement."""
        kind, dims, first, last = groups[1], groups[6], groups[11], groups[12]  # the usual order
        if kind is None or dims is None or first is None:
            kind, dims, first, last = (
                next((g for g in groups[i::4] if g is not None), None) for i in (1, 2, 3, 4)
            )
        if kind is None or dims is None or first is None or last is None:
            self._json.fail(at, f"{_of(name)}: dtype, shape and data_offsets are needed once each")
        dtype = dtypes.BY_SAFETENSORS.get(kind.decode())
        if dtype is None:
            raise FormatError(
                f"unknown dtype {shown(kind.decode())}",
                path=self._source.path,
                place=_of(name),
                advice=f"The format knows {', '.join(dtypes.BY_SAFETENSORS)}.",
            )
        if dims.count(b",") >= MAX_RANK:
            self._refuse(
                name, f"its shape has {dims.count(b',') + 1} axes, at most {MAX_RANK} can be read"
            )
        if not _shape.fullmatch(dims):
            self._refuse(name, f"its shape [{dims[:80].decode()}] is no list of integers")
        shape = tuple(map(int, dims.split(b","))) if dims.strip() else ()
        begin, end = int(first), int(last)
        count = math.prod(shape)
        if not count and math.prod(n or 1 for n in shape) * dtype.numpy.itemsize > _LARGEST:
            self._refuse(name, f"its shape {list(shape)} overflows 63 bits")
        bits = count * dtype.bits
        if bits % 8:
            self._refuse(name, f"its {bits} bits of {kind.decode()} end inside a byte")
        if end - begin != bits // 8:
            self._refuse(
                name,
                f"{kind.decode()} {list(shape)} takes {bits // 8} bytes, "
                f"data_offsets {begin} to {end} are {end - begin}",
            )
        begin, end = self._data + begin, self._data + end
        self._source.check(begin, end - begin, _of(name))
        return Entry(name, dtype, shape, begin, end)

    def _walk_metadata(
        self, at: int, visit: Callable[[Span, Span], None] = lambda key, value: None
    ) -> int:
        """Call `visit` with the places of each key and value; the offset after the object."""
        json = self._json
        at = json.expect(at, b"{", "__metadata__ must be an object of strings")
        more, count = json.peek(at) != b"}", 0
        while more:
            count += 1
            if count > MAX_KEYS:
                json.fail(at, f"more than {MAX_KEYS} metadata keys")
            key = json.string(at, "a metadata key")
            at = json.expect(key[1], b":", "a metadata entry")
            value = json.string(at, "a metadata value must be a string")
            visit(key, value)
            at = json.space(value[1])
            more = json.raw[at : at + 1] == b","
            at += more
        return json.expect(at, b"}", "the metadata")

    # --- what the entries must be together ------------------------------------------------------

    def _refuse_repeats(self, names: Names, what: str) -> None:
        for one, other in names.suspects():
            name = self._name_at(one)
            if name == self._name_at(other):
                self._json.fail(other, f"two {what} are named {shown(name)}")

    def _refuse_gaps(self, begins: NDArray[np.uint64], ends: NDArray[np.uint64]) -> None:
        """The tensors' bytes, in whatever order, must cover the file without gap or overlap."""
        order = np.lexsort((ends, begins))
        first, last = np.uint64(self._data), np.uint64(self._source.size)
        expected = np.concatenate(([first], ends[order]))
        actual = np.concatenate((begins[order], [last]))
        wrong = np.flatnonzero(expected != actual)
        if not wrong.size:
            return
        i = int(wrong[0])
        want, have = int(expected[i]), int(actual[i])
        if i == len(order):
            what = f"{have - want} bytes after the last tensor belong to none"
        elif have > want:
            what = f"{have - want} bytes before {self._nth(order[i])} belong to no tensor"
        else:
            what = f"{self._nth(order[i])} overlaps {self._nth(order[i - 1])}"
        raise CorruptError(what, path=self._source.path, place=f"byte {min(want, have)}")

    def _nth(self, index: int) -> str:
        return _of(next(islice(self, int(index), None)).name)

    def _name_at(self, at: int) -> str:
        return self._json.name(*self._json.string(at, "the header"))

    # --- errors ---------------------------------------------------------------------------------

    def _refuse(self, name: str, reason: str) -> NoReturn:
        raise CorruptError(reason, path=self._source.path, place=_of(name))

    def _explain(self, at: int) -> NoReturn:
        """Say what is wrong with the entry at `at`, which is none."""
        json = self._json
        span = json.string(at, "the header")
        who = _of(self._json.name(*span))
        at = json.expect(span[1], b":", who)
        at = json.expect(at, b"{", f"{who} must be an object")
        seen: set[str] = set()
        while json.peek(at) != b"}":
            span = json.string(at, who)
            key = self._json.name(*span)
            if key not in _values or key in seen:
                json.fail(
                    span[0],
                    f"{who} has {'two fields' if key in seen else 'an unknown field'} {shown(key)}",
                )
            seen.add(key)
            at = json.expect(span[1], b":", who)
            found = _values[key].match(json.raw, at)
            if found is None:
                json.fail(at, f"{who}: its {key} is malformed, {json.seen(at)} stands here")
            at = found.end()
            if json.raw[at : at + 1] != b",":
                json.expect(at, b"}", who)
                break
            at += 1
        json.fail(at, f"{who}: dtype, shape and data_offsets are needed, it has {sorted(seen)}")


def _length(source: Source) -> int:
    """The length of the header in bytes, possible in this file."""
    if source.size < 8:
        raise CorruptError(
            f"the file has {source.size} bytes, a header's length alone takes 8", path=source.path
        )
    length = int.from_bytes(source.pread(0, 8), "little")
    if length > MAX_HEADER:
        raise CorruptError(
            f"a header of {length} bytes; the format allows {MAX_HEADER}",
            path=source.path,
            place="byte 0",
        )
    if length < 2:
        raise CorruptError(
            f"a header of {length} bytes holds no JSON object", path=source.path, place="byte 0"
        )
    source.check(8, length, "the header")
    return length


def _of(name: str) -> str:
    return f"tensor {shown(name)}"
