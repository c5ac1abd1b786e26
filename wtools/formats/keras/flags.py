"""Writing `trainable` into the config of a copy of a Keras model; all else stays as it is.

Keras keeps the flag in each layer's config and, when it builds a model anew, sets it on the
layer and on all below it (keras/src/layers/layer.py). So a model within a model is trainable where
anything in it is.

A legacy `.h5` file lists the weights of a model within a model with the trainable ones first, and
Keras loads them by their places in that list (`_legacy_weights` of
keras/src/legacy/saving/legacy_h5_format.py): with other flags the list has to be in another order.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...errors import UnsupportedError
from ...files import Source
from ...outputs import Output, staged
from ...streams import FileWriter
from ...tree import Tensor, WeightTree
from .. import zips
from ..zip_writer import ZipWriter
from .config import layer_tree
from .reader import read

_DEEPEST = 64
_ENDINGS = {".keras archive": (".keras",), "legacy h5 model": (".h5", ".hdf5")}


def write_flags(
    path: str | os.PathLike[str],
    target: str | os.PathLike[str],
    flags: Mapping[str, bool],
    *,
    overwrite: bool = False,
) -> None:
    """A copy at `target` of the Keras model at `path` with other `trainable` flags.

    flags: path of a layer ("inner/dense") -> trainable; layers that it does not name keep theirs.
    The original is not touched. Raises UnsupportedError for a file that holds no model or does
    not know one of the layers, OutputError where the target exists or cannot be written.
    """
    with Source(os.fspath(path)) as source:
        tree = read(source)
        config = tree.architecture.get("keras") if isinstance(tree.architecture, dict) else None
        if tree.variant not in _ENDINGS or not isinstance(config, dict):
            raise UnsupportedError(
                f"flags are kept by whole Keras models (.h5, .keras), not by {tree.variant}",
                path=source.path,
            )
        if not os.fspath(target).lower().endswith(_ENDINGS[tree.variant]):
            raise UnsupportedError(
                "Keras goes by a file's name",
                path=os.fspath(target),
                advice=f"Give it the ending {_ENDINGS[tree.variant][0]}.",
            )
        missing = flags.keys() - set(_set(config, flags, "", 0))
        if missing:
            raise UnsupportedError(
                f"the config has no layer {sorted(missing)[0]!r}", path=source.path
            )
        with staged(target, overwrite=overwrite, keep=(source.path,)) as output:
            text = json.dumps(config)
            if tree.variant == ".keras archive":
                _pack(output, source, text)
            else:
                with FileWriter(output.main, output.advance) as file:
                    file.copy(source, 0, source.size)
                _put(output, text)
                with Source(str(output.main)) as copy:
                    _reorder(output, tree, read(copy))


def _set(layer: dict[str, Any], flags: Mapping[str, bool], above: str, depth: int) -> Iterator[str]:
    """Sets the flags below a model; the paths that it knew."""
    config = layer.get("config")
    layers = config if isinstance(config, list) else (config or {}).get("layers")
    if not isinstance(layers, list) or depth > _DEEPEST:
        return
    known = []
    for one in layers:
        own = one.get("config") if isinstance(one, dict) else None
        if not isinstance(own, (dict, list)):
            continue
        name = own.get("name", one.get("name")) if isinstance(own, dict) else one.get("name")
        path = f"{above}{name}"
        if isinstance(own, list) or isinstance(own.get("layers"), list):
            known += list(_set(one, flags, f"{path}/", depth + 1))
        elif path in flags:
            _mark(own, flags[path], 0)
            known.append(path)
    if isinstance(config, dict) and known:
        config["trainable"] = any(flags[path] for path in known)
    yield from known


def _mark(config: dict[str, Any], flag: bool, depth: int) -> None:
    """A layer and those inside it: what it wraps, the cells of a recurrent one."""
    config["trainable"] = flag
    for value in list(config.values()):
        for inner in value if isinstance(value, list) else (value,):
            own = inner.get("config") if isinstance(inner, dict) else None
            if isinstance(own, dict) and "trainable" in own and depth < _DEEPEST:
                _mark(own, flag, depth + 1)


def _put(output: Output, text: str) -> None:
    import h5py

    with h5py.File(output.main, "r+", locking=False) as file:
        file.attrs["model_config"] = text.encode()


def _reorder(output: Output, old: WeightTree, new: WeightTree) -> None:
    """Lists the weights of each group of the copy in the order of its flags.

    old, new: the model with the flags before, and after. Raises UnsupportedError.
    """
    import h5py

    assert isinstance(new.architecture, dict)
    model = layer_tree(new.architecture["keras"])
    leaves = model.leaves() if model is not None else ()
    place = {"/".join(path): i for i, (path, _) in enumerate(leaves)}
    stored = {tensor.stored: tensor for tensor in new.values()}
    with h5py.File(output.main, "r+", locking=False) as file:
        for group in file["model_weights"].values():
            lists = [n for n in group.attrs if re.fullmatch(r"weight_names\d*", n)]
            lists.sort(key=lambda n: int(n.removeprefix("weight_names") or 0))
            names = [name for one in lists for name in group.attrs[one]]
            texts = [n.decode() if isinstance(n, bytes) else str(n) for n in names]
            found = [stored.get(f"{group.name[1:]}/{text.strip('/')}") for text in texts]
            tensors = [tensor for tensor in found if tensor is not None]
            if all(old[t.name].trainable == t.trainable for t in tensors):
                continue
            if len(tensors) < len(found) or any(t.layer not in place for t in tensors):
                raise UnsupportedError(
                    "the order of weights under other flags is not known",
                    path=old.path,
                    place=group.name,
                )
            _refuse_mixed(tensors, old)
            numbers = sorted(
                range(len(names)),
                key=lambda i: (not tensors[i].trainable, place[tensors[i].layer], i),
            )
            start = 0
            for one in lists:
                count = len(group.attrs[one])
                group.attrs[one] = [names[i] for i in numbers[start : start + count]]
                start += count


def _refuse_mixed(tensors: Sequence[Tensor], old: WeightTree) -> None:
    """Raises UnsupportedError for a layer that hides several with statistics, whose order it
    would be, frozen, that Keras does not tell.
    """
    owners: dict[str, set[str]] = {}
    for tensor in tensors:
        before = old[tensor.name].trainable
        if before == tensor.trainable is False:
            owners.setdefault(tensor.layer, set()).add(tensor.name.rpartition("/")[0])
    changed = {t.layer for t in tensors if old[t.name].trainable != t.trainable}
    for layer, parts in owners.items():
        if layer in changed and len(parts) > 1:
            raise UnsupportedError(
                f"{layer!r} holds several layers with statistics: the order of its weights under "
                "another flag is not known",
                path=old.path,
                advice="Save the model as .keras first.",
            )


def _pack(output: Output, source: Source, text: str) -> None:
    members = zips.directory(source)
    with ZipWriter(output.main, output.advance) as archive:
        for name, member in members.items():
            if name == "config.json":
                archive.add(name, text.encode())
                continue
            archive.begin(name, member.nbytes)
            for block in members.blocks(name):
                archive.file.put(block)
            archive.end()
