"""Write npz as numpy.savez does: a zip of .npy members, not compressed, ready to be mapped."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from .. import dtypes
from ..errors import UsageError
from ..outputs import Output
from ..tree import Tensor, WeightTree
from .drafts import Draft, aliases, unsupported
from .zip_writer import ZipWriter

# What numpy itself has: bfloat16 and the smaller types would come back as raw bytes.
HOLDS = frozenset(
    d.name
    for d in dtypes.DTYPES.values()
    if d.name == "bool" or (d.bits >= 8 and hasattr(np, d.name) and d.name != "bfloat16")
)
OPTIONS: frozenset[str] = frozenset()
KEEPS: dict[str, str] = {}  # names and arrays are all there is


def draft(tree: WeightTree, name: str, *, like: str | None = None) -> Draft:
    """`tree` as the archive `name`. Raises UsageError for a `like`: npz takes no template."""
    if like is not None:
        raise UsageError("npz takes no template", advice="Leave --like out.")
    lost = [f"metadata {key!r}" for key in tree.metadata]
    lost += [f"that {alias!r} is tied to {kept!r}" for alias, kept in aliases(tree).items()]
    if any(tensor.trainable is not None for tensor in tree.values()):
        lost.append("which tensors are trainable")
    return Draft(
        name,
        lambda output: _write(output, tree),
        lost=tuple(lost),
        problems=(*unsupported(tree, "npz", HOLDS), *_bad_names(tree), *_empty(tree)),
    )


def _empty(tree: WeightTree) -> list[str]:
    return [] if tree else ["an npz file without arrays is like any empty zip archive"]


def _bad_names(tree: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name!r} cannot be the name of a zip member: --rename it"
        for name in tree
        if "\0" in name or not name or len(name.encode("utf-8", "replace")) > 65_000
    ]


def _write(output: Output, tree: WeightTree) -> None:
    with ZipWriter(output.main, output.advance) as archive:
        for tensor in tree.values():
            archive.tensor(f"{tensor.name}.npy", tensor, _header(tensor))


def _header(tensor: Tensor) -> bytes:
    """The head of an .npy file (numpy.lib.format, version 1.0), a multiple of 64 bytes."""
    descr = np.lib.format.dtype_to_descr(dtypes.get(tensor.dtype).numpy.newbyteorder("<"))
    head = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": tensor.shape}
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue()
