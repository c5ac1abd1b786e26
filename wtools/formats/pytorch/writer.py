"""Write a PyTorch state dict as the zip archive that torch.save makes, without torch.

The pickle says only what torch.load(weights_only=True) lets through: an OrderedDict of tensors,
each rebuilt from a storage by `_rebuild_tensor_v2`, or `_rebuild_tensor_v3` for the dtypes that
have no storage class (torch/_tensor.py, `_reduce_ex_internal`). Storages begin at multiples of
64 bytes, so that torch.load(mmap=True) maps them. `.format_version` is left out: it would
promise torch's own layout of the members, from which torch may compute offsets unseen.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ... import dtypes
from ...errors import UsageError
from ...outputs import Output
from ...tree import Tensor, WeightTree, tie_key
from .. import carried
from ..drafts import Draft, aliases, unsupported
from ..zip_writer import ZipWriter
from .pickles import Storage, pickle_sets

HOLDS = frozenset(d.name for d in dtypes.BY_TORCH.values()) - {"float4_e2m1fn"}
OPTIONS: frozenset[str] = frozenset()
KEEPS = {
    "ties": "",
    "metadata": "beside the pickle, where only wtools looks",
    "layers": "beside the pickle",
    "apart": "as dicts of tensors, without what is no tensor",
}
EXTRA = "wtools.json"  # a member beside data.pkl: metadata as a JSON object of strings
_MAIN_KEYS = ("state_dict", "model", "model_state_dict", "weights")


def draft(tree: WeightTree, name: str, *, like: str | None = None) -> Draft:
    """`tree` as a .pt file `name`: an OrderedDict, or a dict of several where there are any.

    Sets of tensors that stand apart (an optimizer's) are kept under their names, the weights then
    under "state_dict". Tied tensors share one storage.
    Raises UsageError for a `like`: nothing in this format could serve as a template.
    """
    if like is not None:
        raise UsageError("pytorch takes no template", advice="Leave --like out.")
    sets: dict[str, WeightTree] = {"": tree}
    lost, problems = [], unsupported(tree, "pytorch", HOLDS)
    if tree.apart:
        key = next(key for key in (*_MAIN_KEYS, "") if key not in tree.apart)
        sets = {key: tree, **tree.apart}
        lost = [f"{name}: values that are not tensors (steps, rates)" for name in tree.apart]
        for apart in tree.apart.values():
            problems += unsupported(apart, "pytorch", HOLDS)
    tied = aliases(tree)
    texts = carried.metadata(tree, separator=".", convention="torch")
    return Draft(
        name,
        lambda output: _write(output, Path(name).stem, sets, texts),
        aliases=tied,
        lost=tuple(lost),
        problems=tuple(problems),
    )


def _write(
    output: Output, stem: str, sets: Mapping[str, WeightTree], texts: Mapping[str, str]
) -> None:
    tensors, keys = _storages(tensor for tree in sets.values() for tensor in tree.values())
    storages = {
        name: {tensor.name: Storage.of(tensor, keys[tie_key(tensor)]) for tensor in tree.values()}
        for name, tree in sets.items()
    }
    names = []
    with ZipWriter(output.main, output.advance) as archive:

        def add(name: str, data: bytes) -> None:
            names.append(name)
            archive.add(f"{stem}/{name}", data)

        add("data.pkl", pickle_sets(storages))
        add("byteorder", b"little")
        if texts:
            add(EXTRA, json.dumps(texts, ensure_ascii=False).encode())
        for key, tensor in enumerate(tensors):
            names.append(f"data/{key}")
            archive.tensor(f"{stem}/data/{key}", tensor)
        add("version", b"3\n")
        # As torch's: 20 digits for the members' names, 20 for what is in them.
        identity = f"{zlib.crc32(chr(10).join(names).encode()):020}{archive.crc():020}"
        add(".data/serialization_id", identity.encode())


def _storages(tensors: Iterable[Tensor]) -> tuple[Sequence[Tensor], dict[object, int]]:
    """The tensors without tied ones, and the number of each one's storage by its tie key."""
    kept: list[Tensor] = []
    keys: dict[object, int] = {}
    for tensor in tensors:
        if tie_key(tensor) not in keys:
            keys[tie_key(tensor)] = len(kept)
            kept.append(tensor)
    return kept, keys
