"""New values for the weights of a Keras file; its architecture and all else stay as they are.

Contiguous datasets are replaced in a copy, byte for byte. Chunked and big-endian ones go through
h5py. A `.keras` archive is packed anew around its weights, since their checksum changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ... import dtypes
from ...errors import UsageError
from ...files import Source
from ...outputs import Output
from ...streams import FileWriter
from ...tree import BLOCK, Array, Tensor, WeightTree
from .. import zips
from ..drafts import Draft
from ..templates import Match, copy_patched, match, patches
from ..zip_writer import ZipWriter
from .reader import WEIGHTS, unpacked


def draft_like(tree: WeightTree, name: str, like: str, problems: Sequence[str]) -> Draft:
    """See `writer.draft`."""
    with _open(like) as template:
        found = _match(tree, template)
        more = [*found.problems, *_wrong_ending(name, template)]
        lost = [f"{n!r} is not given and stays as the template has it" for n in found.kept]
        lost += [f"{apart!r} stays as the template has it" for apart in template.apart]
    lost += [f"metadata {key!r}" for key in tree.metadata if tree.format != "keras"]
    return Draft(
        name,
        lambda output: _write(output, tree, like),
        stored=found.stored,
        found=found.found,
        partial=True,
        lost=tuple(lost),
        problems=(*problems, *more),
    )


def _open(like: str) -> WeightTree:
    from .. import open

    template = open(like)
    if template.format != "keras":
        template.close()
        raise UsageError(f"is {template.format}, not a Keras file", path=like)
    return template


def _is_archive(template: WeightTree) -> bool:
    return template.variant == ".keras archive"


def _wrong_ending(name: str, template: WeightTree) -> list[str]:
    """Keras goes by the name: the copy must be called what it is."""
    kinds = {".keras archive": ".keras", "weights.h5": ".weights.h5"}
    wanted = kinds.get(template.variant, ".h5")
    known = {".keras": ".keras", ".weights.h5": ".weights.h5", ".h5": ".h5", ".hdf5": ".h5"}
    endings = [known[ending] for ending in known if name.lower().endswith(ending)]
    if endings[:1] == [wanted]:
        return []
    return [f"the template is a {wanted} file: give the output that ending"]


def _match(tree: WeightTree, template: WeightTree) -> Match:
    def fixed(old: Tensor) -> str:
        return "compressed" if _is_archive(template) and old.raw is None and old.size else ""

    return match(tree, template, fixed=fixed)


def _write(output: Output, tree: WeightTree, like: str) -> None:
    with _open(like) as template, Source(template.path) as source:
        pairs = _match(tree, template).pairs
        if _is_archive(template):
            _pack(output, source, pairs)
            return
        with FileWriter(output.main, output.advance) as file:
            copy_patched(file, source, 0, source.size, patches(pairs))
        rest = [(new, old) for new, old in pairs if old.raw is None and old.size]
        if rest:
            _through_hdf5(output, rest)


def _pack(output: Output, source: Source, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    members = zips.directory(source)
    with ZipWriter(output.main, output.advance) as archive:
        for name, member in members.items():
            archive.begin(name, member.nbytes)
            if name == WEIGHTS and member.stored:
                first = members.offset(name)
                copy_patched(archive.file, source, first, first + member.nbytes, patches(pairs))
            elif name == WEIGHTS:  # its tensors' offsets are those in the unpacked file
                with unpacked(members) as inner:
                    copy_patched(archive.file, inner, 0, inner.size, patches(pairs))
            else:
                for block in members.blocks(name):
                    archive.file.put(block)
            archive.end()


def _through_hdf5(output: Output, pairs: Sequence[tuple[Tensor, Tensor]]) -> None:
    import h5py

    with h5py.File(output.main, "r+", locking=False) as file:
        for new, old in pairs:
            dataset = file[old.stored]
            for start, slab in _slabs(new):
                values = slab.view("V2") if new.dtype == "bfloat16" else slab
                _put(dataset, start, values)
                output.advance(slab.nbytes)


def _put(dataset: Any, start: int, values: Array) -> None:
    if dataset.shape:
        dataset[start : start + len(values)] = values
    else:
        dataset[()] = values[0]


def _slabs(tensor: Tensor) -> Iterator[tuple[int, Array]]:
    """(first row, rows) of a tensor, some megabytes at a time; a scalar is one row."""
    shape = tensor.shape or (1,)
    row = int(np.prod(shape[1:], dtype=object))
    step = max(1, 4 * BLOCK // max(1, row * dtypes.get(tensor.dtype).numpy.itemsize))
    held: list[Array] = []
    start = count = 0
    for block in tensor.blocks():
        held.append(block)
        count += block.size
        if count >= step * row:
            flat = np.concatenate(held)
            rows = flat.size // row
            yield start, flat[: rows * row].reshape(rows, *shape[1:])
            held, count, start = [flat[rows * row :]], flat.size - rows * row, start + rows
    if count:
        flat = np.concatenate(held)
        yield start, flat.reshape(-1, *shape[1:])
