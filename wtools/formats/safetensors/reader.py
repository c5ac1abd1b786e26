"""A safetensors file as a tree of lazy tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...errors import UsageError
from ...files import RawData, Source
from ...tree import Tensor, WeightTree
from .. import carried
from ..strict_json import shown
from .header import Entry, Header


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The file's tensors in the order of its header, none of them read.

    Names that a saver dropped because their tensor is stored under another name, and wrote down
    in the metadata, are tensors of the tree again, tied to the one that was kept.

    Raises CorruptError and FormatError as `Header` does, UsageError for any `root`.
    """
    if root is not None:
        raise UsageError(f"the file is one flat set, without a {shown(root)}", path=source.path)
    header = Header(source)
    tensors = {entry.name: _tensor(source, entry) for entry in header}
    dropped = aliases(tensors, header.metadata)
    tree = WeightTree(
        [*tensors.values(), *dropped],
        format="safetensors",
        path=source.path,
        separator=".",
        metadata=without_aliases(header.metadata, dropped),
        notes=[alias_note(dropped)] if dropped else [],
        close=source.close,
    )
    return carried.restore(tree)


def _tensor(source: Source, entry: Entry) -> Tensor:
    data = RawData(source, entry.begin, entry.shape, entry.dtype)
    return Tensor(entry.name, entry.shape, entry.dtype.name, data, storage=data.storage())


def aliases(tensors: Mapping[str, Tensor], metadata: Mapping[str, object]) -> list[Tensor]:
    """The tied tensors that `safetensors.torch.save_model` and huggingface_hub leave out.

    Both write `metadata[dropped name] = kept name`. An entry counts as such only if its value is
    a tensor and its key is none.
    """
    return [
        replace(tensors[kept], name=name, stored=kept, facts={"alias_of": kept})
        for name, kept in metadata.items()
        if isinstance(kept, str) and kept in tensors and name not in tensors
    ]


def without_aliases(metadata: Mapping[str, Any], dropped: list[Tensor]) -> dict[str, Any]:
    """The metadata without what they say of tied tensors, which is in the tree now."""
    names = {tensor.name for tensor in dropped}
    return {key: value for key, value in metadata.items() if key not in names}


def alias_note(tensors: list[Tensor]) -> str:
    names = ", ".join(f"{t.name} = {t.stored}" for t in tensors[:8])
    more = f" and {len(tensors) - 8} more" if len(tensors) > 8 else ""
    return f"tied tensors that only the metadata name: {names}{more}"
