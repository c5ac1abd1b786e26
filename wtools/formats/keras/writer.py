"""Write Keras weights: the legacy layout (`.h5`), that of `.weights.h5`, or into a model (`like`).

HDF5 groups, attributes and empty datasets are made by h5py; the datasets are contiguous and
allocated at once, and their bytes are then written where HDF5 put them. Tied tensors are hard
links to one dataset. The layouts are those of keras/src/legacy/saving/legacy_h5_format.py and
keras/src/saving/saving_lib.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import dtypes
from ...outputs import Output
from ...streams import FileWriter
from ...tree import Tensor, WeightTree
from .. import carried
from ..drafts import Draft, aliases, unsupported

HOLDS = frozenset(
    d.name
    for d in dtypes.DTYPES.values()
    if d.bits >= 8 and d.name in dir(np) and d.name != "complex32"
) | {"bool", "bfloat16"}
OPTIONS: frozenset[str] = frozenset()
KEEPS = {
    "ties": "",
    "metadata": "in an attribute, where only wtools looks",
    "layers": "in that attribute",
}
_SAVED = ".weights.h5"
_MOST = 64512  # bytes of an attribute: what Keras keeps to, HDF5 allows 64 KB
_VARS = "vars"


@dataclass(frozen=True)
class Place:
    """Where a tensor goes: `group` and, within it, `name`; together the path in the file."""

    group: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.group}/{self.name}"


def draft(tree: WeightTree, name: str, *, like: str | None = None) -> Draft:
    """`tree` as the file `name`; its ending chooses the layout, `.weights.h5` or the older one.

    like: a model (`.h5`, `.keras`) or weights file with tensors of these names, shapes and
    dtypes, which is copied and gets these values. `.keras` files are written only so.
    """
    problems = unsupported(tree, "keras", HOLDS)
    if like is not None:
        from .template import draft_like

        return draft_like(tree, name, like, problems)
    if name.lower().endswith(".keras"):
        problems.append("a .keras file is a whole model: --like MODEL.keras, or write .weights.h5")
    places = saved_places(tree) if name.lower().endswith(_SAVED) else legacy_places(tree)
    problems += _bad_paths(places)
    if not tree:
        problems.append("a file of Keras weights without weights is like any empty HDF5 file")
    return Draft(
        name,
        lambda output: _write(output, tree, places, legacy=not name.lower().endswith(_SAVED)),
        stored={key: place.path for key, place in places.items()},
        aliases=aliases(tree),
        problems=tuple(problems),
    )


def legacy_places(tree: WeightTree) -> dict[str, Place]:
    """A group for each top layer, in it datasets of the tensors' full names.

    A file that came from this layout keeps its places; a name without a layer is one of its own.
    """
    kept = _from_legacy(tree)
    if kept is not None:
        return kept
    places = {}
    for name, tensor in tree.items():
        layer = tensor.layer or name.rpartition(tree.separator)[0] or name
        if tree.separator == "/":
            layer = layer.partition("/")[0]
        places[name] = Place(layer, name)
    return places


def _from_legacy(tree: WeightTree) -> dict[str, Place] | None:
    if tree.format != "keras" or not tree.variant.startswith("legacy"):
        return None
    places = {}
    for name, tensor in tree.items():
        group, _, rest = tensor.stored.removeprefix("model_weights/").partition("/")
        if not rest:
            return None
        places[name] = Place(group, rest)
    return places


def saved_places(tree: WeightTree) -> dict[str, Place]:
    """`layers/<layer>/vars/<number>`; a file that came from this layout keeps its places."""
    if tree and all(f"/{_VARS}/" in f"/{tensor.stored}" for tensor in tree.values()):
        pairs = ((name, tensor.stored.rpartition("/")) for name, tensor in tree.items())
        return {name: Place(group, number) for name, (group, _, number) in pairs}
    numbers: Counter[str] = Counter()
    places = {}
    for name, tensor in tree.items():
        layer = tensor.layer or name.rpartition(tree.separator)[0] or name
        if tree.separator != "/":
            layer = layer.replace(tree.separator, "/")
        group = f"layers/{layer}/{_VARS}"
        places[name] = Place(group, str(numbers[group]))
        numbers[group] += 1
    return places


def _bad_paths(places: Mapping[str, Place]) -> Iterator[str]:
    """A problem for each tensor whose place cannot be a path in HDF5, or is another's."""
    taken: dict[str, str] = {}
    for name, place in places.items():
        parts = place.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in place.path:
            yield f"{name!r} cannot be a path in HDF5 (empty parts, '.', NUL): --rename it"
        elif not _is_text(place.path) or len(place.path.encode()) > _MOST:
            yield f"{name[:80]!r} cannot be a name in HDF5: --rename it"
        elif place.path in taken:
            yield f"{name!r} and {taken[place.path]!r} would both be {place.path!r}: --rename one"
        taken[place.path] = name
    groups = {
        "/".join(parts[:i])
        for parts in (path.split("/") for path in taken)
        for i in range(len(parts))
    }
    for path in groups & set(taken):
        yield f"{taken[path]!r} would be a group of HDF5, too, for names that begin so: --rename it"


def _is_text(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _write(output: Output, tree: WeightTree, places: Mapping[str, Place], *, legacy: bool) -> None:
    import h5py

    tied = aliases(tree)
    offsets: dict[str, int | None] = {}
    with h5py.File(output.main, "w", locking=False) as file:
        for name, tensor in tree.items():
            if name in tied:
                file[places[name].path] = file[places[tied[name]].path]
            else:
                offsets[name] = _create(file, places[name].path, tensor)
        _describe(file, tree, places, legacy)
    with FileWriter(output.main, output.advance, keep=True) as target:
        end = target.position
        for name, offset in offsets.items():
            if offset is not None:
                target.position = offset
                target.tensor(tree[name])
        target.position = end


def _create(file: Any, path: str, tensor: Tensor) -> int | None:
    """An allocated, contiguous dataset without values; where in the file its bytes go."""
    from h5py import h5d, h5p, h5s

    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.CONTIGUOUS)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_NEVER)
    layout.set_obj_track_times(False)
    links = h5p.create(h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5s.create_simple(tensor.shape) if tensor.shape else h5s.create(h5s.SCALAR)
    dataset = h5d.create(file.id, path.encode(), _type(tensor.dtype), space, layout, links)
    if tensor.dtype == "bfloat16":  # as Keras marks it
        file[path].attrs["dtype"] = "bfloat16"
    offset: int | None = dataset.get_offset()
    return offset if tensor.size else None


def _type(dtype: str) -> Any:
    from h5py import h5t

    if dtype == "bfloat16":
        return h5t.py_create(np.dtype("V2"))
    return h5t.py_create(dtypes.get(dtype).numpy, logical=True)


def _describe(file: Any, tree: WeightTree, places: Mapping[str, Place], legacy: bool) -> None:
    """The attributes by which Keras finds the datasets, and what else the tree knows."""
    if legacy:
        version = tree.metadata.get("keras_version")
        groups: dict[str, list[Tensor]] = {}
        for name, tensor in tree.items():
            groups.setdefault(places[name].group, []).append(tensor)
        list_attribute(file, "layer_names", list(groups))
        # Without a version of 2 or later Keras 2 would take the kernels for those of Keras 1.
        file.attrs["keras_version"] = version if isinstance(version, str) else "3.0.0"
        file.attrs["backend"] = tree.metadata.get("backend", "tensorflow")
        for group, tensors in groups.items():
            # Keras goes by this order: what a layer trains, then the rest.
            tensors.sort(key=lambda tensor: tensor.trainable is False)
            list_attribute(file[group], "weight_names", [places[t.name].name for t in tensors])
    else:
        for name, tensor in tree.items():
            layer = tensor.layer or name.rpartition(tree.separator)[0] or name
            file[places[name].group].attrs["name"] = layer.rpartition(tree.separator)[2]
    known = tree.replace(
        tree.values(),
        metadata={k: v for k, v in tree.metadata.items() if k not in ("keras_version", "backend")},
    )
    names = {place.path: name for name, place in places.items()}
    texts = carried.metadata(known, separator="/", names=names, order=True, convention="keras")
    text_attribute(file, carried.KEY, json.dumps(texts))  # in ASCII, to be cut anywhere


def list_attribute(group: Any, name: str, values: Sequence[str]) -> None:
    """A list of strings, in pieces `name0`, `name1`, ... where one would be too large."""
    raw = [value.encode() for value in values]
    width = max(map(len, raw), default=1)
    step = max(1, _MOST // width)
    if len(raw) <= step:
        group.attrs[name] = np.array(raw, dtype=f"S{width}") if raw else np.array([])
        return
    for piece, start in enumerate(range(0, len(raw), step)):
        group.attrs[f"{name}{piece}"] = np.array(raw[start : start + step], dtype=f"S{width}")


def text_attribute(group: Any, name: str, text: str) -> None:
    """An ASCII text, in pieces where it would be too large for one attribute."""
    raw = text.encode("ascii")
    pieces = [raw[i : i + _MOST] for i in range(0, len(raw), _MOST)]
    for number, piece in enumerate(pieces):
        group.attrs[f"{name}{number}" if len(pieces) > 1 else name] = np.bytes_(piece)
