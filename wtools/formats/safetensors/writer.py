"""Write safetensors: one file, or shards with an index.

Deterministic: the same tree gives the same bytes. The header lists tensors in the tree's order;
their bytes lie by falling width, so that each is aligned, as the reference library does it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from ... import dtypes
from ...errors import UsageError
from ...outputs import Output, part_pattern
from ...streams import FileWriter
from ...tree import Tensor, WeightTree
from .. import carried
from ..drafts import Draft, aliases, unsupported
from . import MAX_HEADER

HOLDS = frozenset(d.name for d in dtypes.BY_SAFETENSORS.values())
OPTIONS = frozenset({"shard_size"})
KEEPS = {
    "ties": "written once, the other names in the metadata, as safetensors.torch.save_model does",
    "metadata": "as text",
    "layers": "in the metadata",
}
_INDEX = ".index.json"
_ENDING = ".safetensors"


def draft(
    tree: WeightTree, name: str, *, like: str | None = None, shard_size: int | None = None
) -> Draft:
    """`tree` as safetensors file `name`, or as shards of at most `shard_size` bytes of tensors.

    Shards are named `stem-00001-of-00003.safetensors` and listed in `stem.safetensors.index.json`;
    a tree that fits one shard becomes the single file. A tensor is never split.
    Raises UsageError for a `like`: nothing in this format could serve as a template.
    """
    if like is not None:
        raise UsageError("safetensors takes no template", advice="Leave --like out.")
    single = name.removesuffix(_INDEX)
    stem = single.removesuffix(_ENDING)
    tied = aliases(tree)
    groups = _shards([t for t in tree.values() if t.name not in tied], shard_size)
    texts = carried.metadata(tree, separator=".", aliases=tied)
    lost = _crowded_out(texts, tied)
    texts |= {"format": "pt"} if tree.format == "pytorch" and "format" not in texts else {}
    problems = unsupported(tree, "safetensors", HOLDS) + _problems(tree)
    companion = part_pattern(rf"{re.escape(stem)}-\d{{5}}-of-\d{{5}}\.safetensors")
    if len(groups) == 1 and not name.endswith(_INDEX):
        return Draft(
            single,
            lambda output: _single(output, groups[0], texts | tied),
            aliases=tied,
            lost=tuple(lost),
            problems=tuple(problems),
            rivals=(single + _INDEX,),
            companions=companion,
        )
    return Draft(
        single + _INDEX,
        lambda output: _sharded(output, stem, groups, texts, tied),
        aliases=tied,
        lost=tuple(lost),
        problems=tuple(problems),
        rivals=(single,),
        companions=companion,
    )


def _problems(tree: WeightTree) -> list[str]:
    found = []
    for tensor in tree.values():
        if tensor.name == "__metadata__":
            found.append("a safetensors tensor cannot be named '__metadata__': --rename it")
        bits = tensor.size * dtypes.get(tensor.dtype).bits
        if bits % 8 and tensor.dtype in HOLDS:
            found.append(
                f"{tensor.name!r}: {tensor.size} elements of {tensor.dtype} end inside a byte, "
                "which safetensors does not allow: --dtype widens them"
            )
    return found


def _crowded_out(texts: dict[str, str], tied: Mapping[str, str]) -> list[str]:
    return [
        f"metadata {key!r}: its key is the name of a tied tensor" for key in texts if key in tied
    ]


def _shards(tensors: Sequence[Tensor], most: int | None) -> list[list[Tensor]]:
    """The tensors in order, cut where a shard would exceed `most` bytes."""
    groups: list[list[Tensor]] = [[]]
    held = 0
    for tensor in tensors:
        if most is not None and groups[-1] and held + tensor.nbytes > most:
            groups.append([])
            held = 0
        groups[-1].append(tensor)
        held += tensor.nbytes
    return groups


def _single(output: Output, tensors: Sequence[Tensor], texts: Mapping[str, str]) -> None:
    with FileWriter(output.main, output.advance) as file:
        _write(file, tensors, texts)


def _sharded(
    output: Output,
    stem: str,
    groups: Sequence[Sequence[Tensor]],
    texts: Mapping[str, str],
    tied: Mapping[str, str],
) -> None:
    names = output.free(
        [f"{stem}-{i:05}-of-{len(groups):05}{_ENDING}" for i in range(1, len(groups) + 1)]
    )
    where: dict[str, str] = {}
    for name, tensors in zip(names, groups, strict=True):
        here = {tensor.name for tensor in tensors}
        where |= dict.fromkeys((tensor.name for tensor in tensors), name)
        own = {alias: kept for alias, kept in tied.items() if kept in here}
        with FileWriter(output.part(name), output.advance) as file:
            plain = {key: text for key, text in texts.items() if key != carried.KEY}
            _write(file, tensors, plain | own)
    total = sum(tensor.nbytes for tensors in groups for tensor in tensors)
    index = {"metadata": {"total_size": total} | dict(texts), "weight_map": where}
    with FileWriter(output.main) as file:
        file.put(json.dumps(index, indent=2, ensure_ascii=False).encode() + b"\n")


def _write(file: FileWriter, tensors: Sequence[Tensor], texts: Mapping[str, str]) -> None:
    laid_out = sorted(tensors, key=lambda tensor: -dtypes.get(tensor.dtype).bits)
    offsets: dict[str, tuple[int, int]] = {}
    at = 0
    for tensor in laid_out:
        offsets[tensor.name] = (at, at + tensor.nbytes)
        at += tensor.nbytes
    header: dict[str, object] = {"__metadata__": dict(texts)} if texts else {}
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": dtypes.get(tensor.dtype).safetensors,
            "shape": list(tensor.shape),
            "data_offsets": offsets[tensor.name],
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise UsageError(
            f"the header would take {len(text)} bytes, the format allows {MAX_HEADER}",
            advice="Write shards (--shard-size).",
        )
    file.put(len(text).to_bytes(8, "little") + text)
    for tensor in laid_out:
        file.tensor(tensor)
