"""Sharded checkpoints: an index file and the weights files beside it, opened as one tree.

The shards are ordinary files of any format here; the tree has their format. What is missing is
an error, what is surplus a note, each by name.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CorruptError, FormatError, MissingError, UnsafeError
from ..files import Source
from ..notes import SURPLUS_SHARDS, Note, within
from ..tree import Tensor, WeightTree
from .strict_json import shown

if TYPE_CHECKING:
    from .shard_index import Index

NAME = "sharded"
TITLE = "sharded checkpoints (.index.json and .weights.json, with the shards beside it)"
EXTENSIONS = (".index.json", ".weights.json")

_HEAD = 1 << 20
_SPARE = 64  # file descriptors that the rest of the program may need
# model-00001-of-00003.safetensors, and x_00000.weights.h5 as Keras has it
_NUMBERED = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<end>\..+)")
_KERAS = re.compile(r"(?P<stem>.+)_\d{5}(?P<end>\.weights\.h5)")


class Series(NamedTuple):
    """What the names of one checkpoint's shards have in common; `total` 0 where they hide it."""

    stem: str
    end: str
    total: int

    def names(self) -> list[str]:
        """The names of all its shards."""
        parts = range(1, self.total + 1)
        return [f"{self.stem}-{part:05}-of-{self.total:05}{self.end}" for part in parts]


def series(file: str) -> Series | None:
    """The series that the name of a shard belongs to."""
    if found := _NUMBERED.fullmatch(file):
        return Series(found["stem"], found["end"], int(found["count"]))
    if found := _KERAS.fullmatch(file):
        return Series(found["stem"], found["end"], 0)
    return None


def sniff(source: Source) -> bool:
    """A JSON object with a "weight_map" in its first megabyte."""
    if source.size < 2 or not source.pread(0, min(source.size, 64)).lstrip().startswith(b"{"):
        return False
    return b'"weight_map"' in source.pread(0, min(source.size, _HEAD))


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The tensors of all shards that the index names, shard after shard; all headers are read.

    Raises MissingError (shards), CorruptError (an index or a shard, tensors that are not where
    the index says), UnsafeError (shards outside the folder).
    """
    from .shard_index import Index

    index = Index(source)
    source.close()
    folder = os.path.dirname(source.path)
    shards = open_all(folder, index.files, source.path, root)
    try:
        return _joined(shards, index, source.path, folder)
    except BaseException:
        _close(shards)
        raise


def read_set(folder: str, files: Sequence[str], *, root: str | None = None) -> WeightTree:
    """As `read`, for shards without an index: `files` of `folder` are all there are."""
    shards = open_all(folder, files, folder, root)
    try:
        return _joined(shards, None, folder, folder)
    except BaseException:
        _close(shards)
        raise


def open_all(
    folder: str, files: Sequence[str], path: str, root: str | None
) -> dict[str, WeightTree]:
    """file -> its tree. Either all are open afterwards or none."""
    absent = [file for file in files if not os.path.exists(os.path.join(folder, file))]
    if absent:
        raise MissingError(
            f"{len(absent)} of {len(files)} shards are missing: {_listed(absent)}",
            path=path,
            advice="Download or copy them into the same folder.",
        )
    _make_room(len(files))
    shards: dict[str, WeightTree] = {}
    try:
        for file in files:
            shards[file] = _open(folder, file, path, root)
    except BaseException:
        _close(shards)
        raise
    return shards


def _open(folder: str, file: str, path: str, root: str | None) -> WeightTree:
    from . import detect

    target = os.path.join(folder, file)
    home = os.path.realpath(folder or ".")
    real = os.path.dirname(os.path.realpath(target))
    if real not in (home, _blobs(folder)):
        raise UnsafeError(f"the shard {shown(file)} is a link out of the folder", path=path)
    source = Source(target)
    try:
        format = detect(source)
        if format.NAME == NAME:
            raise CorruptError(f"the shard {shown(file)} is itself an index", path=path)
        return format.read(source, root=root)
    except BaseException:
        source.close()
        raise


def _blobs(folder: str) -> str | None:
    """Where the download cache of huggingface_hub keeps what `snapshots/<revision>` links to."""
    above, name = os.path.split(os.path.dirname(os.path.abspath(folder or ".")))
    return os.path.realpath(os.path.join(above, "blobs")) if name == "snapshots" else None


def _make_room(count: int) -> None:
    """An open shard takes a file descriptor, a mapped one two: raise too low a soft limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = 2 * count + _SPARE
    if soft != resource.RLIM_INFINITY and soft < need:
        with contextlib.suppress(OSError, ValueError):  # else the open that fails will say so
            most = need if hard == resource.RLIM_INFINITY else min(need, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _joined(
    shards: Mapping[str, WeightTree], index: Index | None, path: str, folder: str
) -> WeightTree:
    """One tree of all shards, held against the index."""
    first = next(iter(shards.values()))
    kinds = sorted({tree.format for tree in shards.values()})
    if len(kinds) > 1:
        raise FormatError(f"its shards have different formats: {', '.join(kinds)}", path=path)
    notes = [within(file, note) for file, tree in shards.items() for note in tree.notes]
    notes += [
        f"{file} also holds {', '.join(tree.apart)}, which stays apart"
        for file, tree in shards.items()
        if tree.apart
    ]
    claimed = None if index is None else _claimed(shards, index, path)
    tensors = _merged(shards, claimed, path, notes)
    metadata = _common(shards) | dict(index.metadata if index else {})
    notes += _surplus(folder, list(shards))
    tree = WeightTree(
        tensors.values(),
        format=first.format,
        variant=", ".join(filter(None, (f"sharded, {len(shards)} files", first.variant))),
        path=path,
        separator=first.separator,
        metadata=metadata,
        architecture=first.architecture,
        notes=notes,
        close=lambda: _close(shards),
    )
    return _with_aliases(tree) if first.format == "safetensors" else tree


def _claimed(shards: Mapping[str, WeightTree], index: Index, path: str) -> dict[str, set[str]]:
    """file -> names of its tensors that the index places there. Raises for what is not there."""
    groups = {file: _groups(tree) for file, tree in shards.items()}
    claimed: dict[str, set[str]] = {file: set() for file in shards}
    absent, count = [], 0
    for key, files in index:
        for file in files:
            tree = shards[file]
            if key in tree:
                claimed[file].add(tree[key].name)
            elif key.strip("/") in groups[file]:
                claimed[file].update(groups[file][key.strip("/")])
            else:
                count += 1
                absent += [f"{shown(key)} in {file}"] if count <= 8 else []
    if absent:
        more = f" and {count - 8} more" if count > 8 else ""
        raise CorruptError(
            f"the index names tensors that are not in their shards: {', '.join(absent)}{more}",
            path=path,
        )
    return claimed


def _groups(tree: WeightTree) -> dict[str, list[str]]:
    """Group of an h5 file -> names of the tensors in it; a Keras index names the groups."""
    groups: dict[str, list[str]] = {}
    for tensor in tree.values():
        above, slash, _ = tensor.stored.strip("/").rpartition("/")
        if slash:
            groups.setdefault(above, []).append(tensor.name)
    return groups


def _merged(
    shards: Mapping[str, WeightTree],
    claimed: Mapping[str, set[str]] | None,
    path: str,
    notes: list[str],
) -> dict[str, Tensor]:
    """All tensors by name. One that the index does not place yields to one that it does."""
    tensors: dict[str, Tensor] = {}
    surplus: dict[str, list[str]] = {}
    placed = set().union(*claimed.values()) if claimed is not None else set()
    for file, tree in shards.items():
        for tensor in tree.values():
            if claimed is not None and tensor.name not in claimed[file]:
                if "alias_of" not in tensor.facts:
                    surplus.setdefault(file, []).append(tensor.name)
                if tensor.name in placed:
                    continue
            if tensor.name in tensors:
                tensor = replace(tensor, name=tensor.stored)  # readable names met, stored do not
                if tensor.name in tensors:
                    raise CorruptError(f"{shown(tensor.name)} is in two shards", path=path)
            tensors[tensor.name] = tensor
    notes += [
        Note(f"{file} holds what the index does not name: {_listed(names)}", SURPLUS_SHARDS)
        for file, names in surplus.items()
    ]
    return tensors


def _common(shards: Mapping[str, WeightTree]) -> dict[str, Any]:
    """The metadata on which all shards agree."""
    first, *others = shards.values()
    return {
        key: value
        for key, value in first.metadata.items()
        if all(key in tree.metadata and tree.metadata[key] == value for tree in others)
    }


def _with_aliases(tree: WeightTree) -> WeightTree:
    """huggingface_hub notes the tied tensors that it left out in the metadata of the index."""
    from . import carried
    from .safetensors.reader import alias_note, aliases, without_aliases

    dropped = aliases(tree, tree.metadata)
    notes = [*tree.notes, alias_note(dropped)] if dropped else tree.notes
    # An alias that its own shard tells of is in the tree already, and still in the index.
    known = [tensor for tensor in (*tree.values(), *dropped) if "alias_of" in tensor.facts]
    metadata = without_aliases(tree.metadata, known)
    tensors = [*tree.values(), *dropped]
    return carried.restore(tree.replace(tensors, notes=notes, metadata=metadata))


def _surplus(folder: str, files: Sequence[str]) -> list[str]:
    """A note on files of the folder that are named like the shards but are none."""
    kin = {(s.stem, s.end) for s in map(series, files) if s}
    held = set(files)
    with contextlib.suppress(OSError):
        extra = [
            file
            for file in sorted(os.listdir(folder or "."))
            if (s := series(file)) and (s.stem, s.end) in kin and file not in held
        ]
        if extra:
            told = f"named like a shard, but not part of this model: {_listed(extra)}"
            return [Note(told, SURPLUS_SHARDS)]
    return []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _close(shards: Mapping[str, WeightTree]) -> None:
    for tree in shards.values():
        tree.close()
