"""Tensors from HDF5 datasets: which dtype, what is left out, what quantization stands for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ...dtypes import DTYPES, DType
from ...errors import printable
from ...tree import Array, MappedData, Quantization, Tensor
from ..hdf5 import Dataset

OPAQUE = {1: "uint8", 2: "uint16"}


@dataclass
class Notes:
    """What the reader wants a person to know, alike things counted together."""

    texts: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unmarked: Counter[str] = field(default_factory=Counter)

    def say(self, text: str) -> None:
        """Note `text`, once."""
        if text not in self.texts:
            self.texts.append(text)

    def all(self) -> list[str]:
        said = list(self.texts)
        for what, count in self.left_out.items():
            said.append(f"{count} dataset{'s' * (count != 1)} left out: {printable(what)}")
        for what, count in self.unmarked.items():
            said.append(f"{count} tensor{'s' * (count != 1)} {what}")
        return said


def element_type(dataset: Dataset, policy: str, notes: Notes) -> DType | None:
    """The dtype of a dataset's elements; None, and a note, where they are not numbers.

    Keras writes bfloat16 as opaque elements: marked by an attribute in `.weights.h5`, unmarked
    in the older layout, where only the layer's dtype `policy` can tell.
    """
    if dataset.type.dtype is not None:
        return dataset.type.dtype
    size = dataset.type.size
    if not dataset.type.opaque or size not in OPAQUE:
        notes.left_out[dataset.type.what] += 1
        return None
    if size == 2 and dataset.attributes.get("dtype") == "bfloat16":
        return DTYPES["bfloat16"]
    if size == 2 and policy == "bfloat16":
        notes.unmarked["are opaque in the file; read as bfloat16 by their layer's dtype"] += 1
        return DTYPES["bfloat16"]
    guess = "bfloat16" if size == 2 else "a float8 type"
    notes.unmarked[f"are opaque, probably {guess}; shown as {OPAQUE[size]}"] += 1
    return DTYPES[OPAQUE[size]]


def tensor(
    dataset: Dataset,
    name: str,
    notes: Notes,
    *,
    policy: str = "",
    layer: str = "",
    kind: str = "",
    trainable: bool | None = None,
) -> Tensor | None:
    """The dataset as a Tensor; None where it holds no numbers."""
    dtype = element_type(dataset, policy, notes)
    if dtype is None:
        return None
    return Tensor(
        name,
        dataset.shape,
        dtype.name,
        dataset.data(dtype),
        stored=dataset.path,
        storage=dataset.storage(),
        layer=layer,
        kind=kind,
        trainable=trainable,
    )


def distinct(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, those whose name another one has already renamed to their stored one."""
    counts = Counter(t.name for t in tensors)
    taken = {name for name, count in counts.items() if count == 1}
    found = []
    for one in tensors:
        name = one.name
        if counts[name] > 1:
            name = one.stored
            while name in taken:
                name += "'"
            taken.add(name)
        found.append(one if name == one.name else one.rename(name))
    return found


def quantized(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors, int8 ones with the scale that stands beside them.

    Keras multiplies by `kernel_scale` to quantize and divides by it to come back
    (keras/src/quantizers: `abs_max_quantize`): here it is the other way round.
    """
    by_name = {t.name: t for t in tensors}
    found = []
    for one in tensors:
        scale = by_name.get(f"{one.name}_scale")
        leaf = one.name.rpartition("/")[2]
        axis = {"kernel": one.ndim - 1, "embeddings": 0}.get(leaf)
        if one.dtype != "int8" or scale is None or axis is None:
            found.append(one)
        elif scale.shape == one.shape[axis : axis + 1] and one.ndim == 2:
            back = replace(scale, data=MappedData(scale.data, _reciprocal), storage=None)
            found.append(replace(one, quantization=Quantization(back, axis=axis)))
        else:
            facts = {**one.facts, "quantization": f"packed or grouped; scale {scale.shape}"}
            found.append(replace(one, facts=facts))
    return found


def _reciprocal(block: Array) -> Array:
    with np.errstate(divide="ignore"):
        inverse: Array = (1 / block.astype(np.float32)).astype(block.dtype)
        return inverse
