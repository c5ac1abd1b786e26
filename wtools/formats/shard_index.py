"""The index of a sharded checkpoint: which shard holds which tensor.

    {"metadata": {"total_size": 12},
     "weight_map": {"a.weight": "model-00001-of-00002.safetensors"}}

as transformers and huggingface_hub write it (`*.index.json`) and, with h5 groups for keys and a
list where a group lies in several shards, keras.src.saving.saving_lib (`*.weights.json`).
The map may be long and a stranger's, so it is walked in place, never built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import CorruptError, UnsafeError
from ..files import Source
from .strict_json import Json, Names, pattern, shown

MAX_INDEX = 200_000_000  # bytes; the largest known has 9 million
MAX_SHARDS = 10_000
MAX_KEYS = 1_000  # of the outermost object
_MAP = "weight_map"
_pair = pattern(rb" $ : $ ")

Span = tuple[int, int]


class Index:
    """`files`: the shards in the order of their first mention; `metadata`; iterating gives
    (key, files) for each entry of the map.

    Raises CorruptError, and UnsafeError for a shard that is not a plain name in the folder.
    """

    def __init__(self, source: Source) -> None:
        if source.size > MAX_INDEX:
            raise CorruptError(
                f"an index of {source.size} bytes; at most {MAX_INDEX} are read", path=source.path
            )
        self._json = Json(source.pread(0, source.size), source.path)
        self._map_at = -1
        self.metadata: Mapping[str, Any] = {}
        self._outermost()
        if self._map_at < 0:
            self._json.fail(0, "the index has no weight_map")
        self._files: dict[str, None] = {}
        names = Names()
        for at, key, files in self._entries():
            names.add(key, at)
            for file in files:
                self._admit(at, file)
        for one, other in names.suspects():
            name = self._json.name(*self._json.string(one, _MAP))
            if name == self._json.name(*self._json.string(other, _MAP)):
                self._json.fail(other, f"the index names {shown(name)} twice")
        if not self._files:
            self._json.fail(self._map_at, "the index names no tensor")

    @property
    def files(self) -> list[str]:
        return list(self._files)

    def __iter__(self) -> Iterator[tuple[str, list[str]]]:
        return ((key, files) for _, key, files in self._entries())

    def _outermost(self) -> None:
        """Find the map and read the metadata; whatever else stands beside them is passed over."""
        json = self._json
        at = json.expect(0, b"{", "an index is a JSON object")
        seen: set[str] = set()
        more = json.peek(at) != b"}"
        while more:
            span = json.string(at, "the index")
            key = json.name(*span)
            if key in seen or len(seen) > MAX_KEYS:
                json.fail(span[0], f"the index has {shown(key)} twice, or too many keys")
            seen.add(key)
            at = json.space(json.expect(span[1], b":", "the index"))
            end = json.skip(at, f"{shown(key)} of the index")
            if key == _MAP:
                self._map_at = at
            elif key == "metadata":
                value = json.value(at, end, "the index's metadata")
                self.metadata = value if isinstance(value, dict) else {}
            more = json.peek(end) == b","
            at = json.space(end) + more
        at = json.expect(at, b"}", "the index")
        if json.peek(at):
            json.fail(at, f"{json.seen(json.space(at))} follows the index")

    def _entries(self) -> Iterator[tuple[int, str, list[str]]]:
        """(offset, key, shards) of each entry of the map."""
        json = self._json
        at = json.expect(self._map_at, b"{", "weight_map is an object")
        more = json.peek(at) != b"}"
        while more:
            found = _pair.match(json.raw, at)
            if found is not None:
                start, end = found.span(1)
                key = json.name(start - 1, end + 1)
                start, end = found.span(2)
                files = [json.name(start - 1, end + 1)]
                yield at, key, files
                at = found.end()
            else:
                span = json.string(at, _MAP)
                key = json.name(*span)
                files, end = self._shards(json.expect(span[1], b":", _MAP))
                yield at, key, files
                at = json.space(end)
            more = json.raw[at : at + 1] == b","
            at += more
        json.expect(at, b"}", _MAP)

    def _shards(self, at: int) -> tuple[list[str], int]:
        """The shard or list of shards that comes next, and the offset after it."""
        json, what = self._json, "weight_map names shards by strings"
        if json.peek(at) != b"[":
            span = json.string(at, what)
            return [json.name(*span)], span[1]
        at = json.expect(at, b"[", what)
        files: list[str] = []
        while True:
            span = json.string(at, what)
            files.append(json.name(*span))
            if len(files) > MAX_SHARDS:
                json.fail(at, f"more than {MAX_SHARDS} shards for one key")
            at = span[1]
            if json.peek(at) != b",":
                return files, json.expect(at, b"]", what)
            at = json.space(at) + 1

    def _admit(self, at: int, file: str) -> None:
        if file in self._files:
            return
        if file in ("", ".", "..") or any(c in file for c in "/\\\0"):
            raise UnsafeError(
                f"names the shard {shown(file)}, which is not a plain name in its folder",
                path=self._json.path,
                place=f"byte {at}",
            )
        if len(self._files) >= MAX_SHARDS:
            self._json.fail(at, f"more than {MAX_SHARDS} shards")
        self._files[file] = None
