"""The one model in the middle: a WeightTree of named, lazy Tensors.

Every format reads into these types, every analysis and conversion starts from them. Nothing
here knows a file format; a tensor's elements come from its `data`, an object with `read` and
`blocks`, when they are asked for and not before.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray

from . import dtypes
from .errors import NameNotFoundError, UsageError, printable

Array = NDArray[Any]
T = TypeVar("T")
BLOCK = 1 << 20  # bytes of one block unless asked otherwise: fits the second-level cache


class Data(Protocol):
    """Where a tensor's elements come from."""

    def read(self) -> Array:
        """All elements, in the tensor's shape; without a copy where the file allows it."""

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        """The elements in C order as flat arrays of at most `nbytes` bytes each."""


class Raw(Protocol):
    """Data whose bytes lie plainly in a file, so that threads may read any part of them."""

    @property
    def fd(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def swapped(self) -> bool: ...

    def readinto(self, buffer: Any, offset: int) -> None: ...


@dataclass(frozen=True)
class Storage:
    """The bytes a tensor occupies. `strides` (in elements) is set where they are not C order."""

    file: str
    offset: int
    nbytes: int
    strides: tuple[int, ...] | None = None


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Elements already in memory."""

    array: Array

    def read(self) -> Array:
        return self.array

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        yield from split(self.array, nbytes)


@dataclass(frozen=True, eq=False)
class LazyData:
    """Elements computed as a whole when asked for; at most one tensor is in memory."""

    compute: Callable[[], Array]

    def read(self) -> Array:
        return self.compute()

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        yield from split(self.compute(), nbytes)


@dataclass(frozen=True, eq=False)
class MappedData:
    """Elements computed from another tensor's, block by block."""

    source: Data
    function: Callable[[Array], Array]  # elementwise: maps a flat block to a flat block

    def read(self) -> Array:
        array = self.source.read()
        return self.function(array.reshape(-1)).reshape(array.shape)

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        return map(self.function, self.source.blocks(nbytes))


def split(array: Array, nbytes: int = BLOCK) -> Iterator[Array]:
    """`array` in C order as flat blocks of at most `nbytes` bytes; views where possible."""
    flat = array.reshape(-1)
    step = max(1, nbytes // max(1, array.dtype.itemsize))
    for start in range(0, flat.size, step):
        yield flat[start : start + step]


@dataclass(frozen=True, eq=False)
class Quantization:
    """How integers stand for real numbers: real = (stored - zero_point) * scale.

    `scale` and `zero_point` are scalars or 1-D along `axis`, or, with `block_size`, one value
    for each run of that many elements along `axis`.
    """

    scale: Tensor
    zero_point: Tensor | None = None
    axis: int | None = None
    block_size: int | None = None

    @property
    def scheme(self) -> str:
        if self.block_size:
            return f"per-block({self.block_size}) axis {self.axis}"
        return "per-tensor" if self.axis is None else f"per-channel axis {self.axis}"

    def apply(self, array: Array) -> Array:
        """`array` (the stored integers, in the tensor's shape) as float32.

        Computed in double precision where the scales are doubles (torch's per channel), else in
        single, as the frameworks do: the results are theirs to the bit.
        """
        scale = self._spread(self.scale.read(), array)
        wide = np.float64 if scale.dtype == np.float64 else np.float32
        scale, real = scale.astype(wide), array.astype(wide)
        if self.zero_point is not None:
            real = real - self._spread(self.zero_point.read().astype(wide), array)
        return np.asarray(real * scale, np.float32)

    def _spread(self, values: Array, array: Array) -> Array:
        if self.axis is None:
            return values.reshape(()) if values.size == 1 else values
        if self.block_size:
            spread = np.repeat(values, self.block_size, axis=self.axis)
            return spread.take(range(array.shape[self.axis]), axis=self.axis)
        shape = [1] * array.ndim
        shape[self.axis] = -1
        return values.reshape(shape)


@dataclass(frozen=True, eq=False)
class Tensor:
    """One named array of a model, not read until asked for.

    name: what a person calls it and the key in its tree: the stored name where that is already
        readable, else resolved through the file's own config (`dense/kernel`).
    stored: the name exactly as the file has it; equal to `name` in most formats.
    dtype: canonical name, see `wtools.dtypes`.
    layer, kind: the layer's path and class where the file says them (`Conv2D`), else "".
    trainable: the file's flag, None where it has none.
    facts: whatever else the format knows (device, layout, the ONNX node it feeds, ...).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    data: Data
    stored: str = ""
    storage: Storage | None = None
    quantization: Quantization | None = None
    layer: str = ""
    kind: str = ""
    trainable: bool | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.stored:
            object.__setattr__(self, "stored", self.name)

    @classmethod
    def of(cls, name: str, array: Any, **fields: Any) -> Tensor:
        """A tensor over an array in memory (anything numpy understands)."""
        array = np.asarray(array)
        dtype = dtypes.of_numpy(array.dtype).name
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return cls(name, array.shape, dtype, ArrayData(native), **fields)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements as a file packs them (half a byte each for int4)."""
        return dtypes.get(self.dtype).nbytes(self.size)

    @property
    def raw(self) -> Raw | None:
        """The tensor's plain bytes in its file (C order, little-endian, packed), if they lie so."""
        data = self.data
        # not isinstance: checking a Protocol takes longer than reading a small tensor
        raw = cast(Raw, data) if hasattr(data, "readinto") else None
        return raw if raw is not None and not raw.swapped else None

    def read(self, *, copy: bool = False) -> Array:
        """All elements in this shape and dtype, native byte order.

        Without `copy` the array is read-only and may be a mapping of the file: it takes no
        memory, but the file must not be truncated while it is used.
        """
        if copy:
            out = np.empty(self.size, dtypes.get(self.dtype).numpy)
            start = 0
            for block in self.blocks():
                out[start : start + block.size] = block
                start += block.size
            return out.reshape(self.shape)
        array = self.data.read().reshape(self.shape)
        if array.flags.writeable:
            array = array.view()
            array.flags.writeable = False
        return array

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        """The elements in C order as flat arrays of at most `nbytes` bytes (one at least)."""
        return self.data.blocks(nbytes)

    def packed_blocks(self, nbytes: int = BLOCK) -> Iterator[NDArray[np.uint8]]:
        """The elements as file bytes: little-endian, C order, narrow types packed.

        Concatenated, the blocks are the `nbytes` bytes that a format stores; they are what is
        written and what is hashed.
        """
        if self.raw is not None:
            for start in range(0, self.nbytes, nbytes):
                buffer = np.empty(min(nbytes, self.nbytes - start), np.uint8)
                self.raw.readinto(buffer, start)
                yield buffer
        else:
            yield from dtypes.get(self.dtype).packed_blocks(self.blocks(nbytes))

    def dequantized(self) -> Tensor:
        """This tensor with its quantization applied, as lazy float32; itself if it has none."""
        if self.quantization is None:
            return self
        apply, read = self.quantization.apply, self.data.read
        data = LazyData(lambda: apply(read().reshape(self.shape)))
        return replace(self, dtype="float32", data=data, storage=None, quantization=None)

    def rename(self, name: str) -> Tensor:
        return replace(self, name=name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.read(copy=bool(copy))
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.shape)) or "scalar"
        kind = f" of {self.kind}" if self.kind else ""
        return f"<Tensor {printable(self.name)!r} {self.dtype} {shape}{kind}>"


class WeightTree(Mapping[str, Tensor]):
    """The weights of one model, in stored order, keyed by name. Immutable; lazy; a context.

    format, path: where it came from. variant: which kind of such a file, in words for a person
        ("legacy zip", "TorchScript", "weights-only h5").
    separator: what joins the parts of a name ("/" in Keras and ONNX, "." in torch).
    metadata: the file's own key-value notes, as strings or JSON values.
    convention: whose names and axes the tensors follow ("keras", "torch", "onnx") where that is
        not the convention of the format; "" where nothing says so.
    architecture: what the file says of its graph (a Keras config, ...), or None.
    apart: sets of tensors in the same file that are not the model's weights, by name
        ("optimizer", another state dict); each is a WeightTree and can be opened with `root=`.
    notes: what the reader wants a person to know ("1 string tensor left out").
    """

    def __init__(
        self,
        tensors: Iterable[Tensor],
        *,
        format: str = "memory",
        variant: str = "",
        path: str = "",
        separator: str = "/",
        metadata: Mapping[str, Any] | None = None,
        architecture: Any = None,
        apart: Mapping[str, WeightTree] | None = None,
        notes: Sequence[str] = (),
        convention: str = "",
        close: Callable[[], None] | None = None,
    ) -> None:
        self._tensors: dict[str, Tensor] = {}
        for tensor in tensors:
            if tensor.name in self._tensors:
                raise UsageError(f"two tensors are named {tensor.name!r}", path=path or None)
            self._tensors[tensor.name] = tensor
        self.format = format
        self.variant = variant
        self.path = path
        self.separator = separator
        self.metadata: Mapping[str, Any] = dict(metadata or {})
        self.architecture = architecture
        self.apart: Mapping[str, WeightTree] = dict(apart or {})
        self.notes: tuple[str, ...] = tuple(notes)
        self.convention = convention
        self._close = close
        self._by_stored: dict[str, str] | None = None

    # --- Mapping ---------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Tensor:
        """The tensor of that name or stored name. Raises NameNotFoundError (a KeyError)."""
        tensor = self._find(name)
        if tensor is None:
            raise NameNotFoundError(name, self._tensors, path=self.path or None)
        return tensor

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    @overload
    def get(self, name: str, /) -> Tensor | None: ...

    @overload
    def get(self, name: str, /, default: Tensor | T) -> Tensor | T: ...

    def get(self, name: str, /, default: Any = None) -> Any:
        """The tensor of that name or stored name, `default` where there is none.

        Mapping's own would have the error look for near names, which takes long.
        """
        tensor = self._find(name)
        return default if tensor is None else tensor

    def _find(self, name: str) -> Tensor | None:
        tensor = self._tensors.get(name)
        if tensor is not None:
            return tensor
        if self._by_stored is None:
            self._by_stored = {t.stored: t.name for t in self._tensors.values()}
        known = self._by_stored.get(name)
        return None if known is None else self._tensors[known]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    # --- what is in it ---------------------------------------------------------------------------

    def distinct(self) -> list[Tensor]:
        """The tensors without those tied to an earlier one, so that nothing counts twice."""
        first: dict[object, Tensor] = {}
        for tensor in self.values():
            first.setdefault(tie_key(tensor), tensor)
        return list(first.values())

    def tied(self) -> list[tuple[str, ...]]:
        """Groups of names that are one and the same tensor in the file."""
        groups: dict[object, list[str]] = {}
        for tensor in self.values():
            groups.setdefault(tie_key(tensor), []).append(tensor.name)
        return [tuple(names) for names in groups.values() if len(names) > 1]

    @property
    def size(self) -> int:
        """The number of parameters, tied tensors counted once."""
        return sum(tensor.size for tensor in self.distinct())

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, tied ones counted once."""
        return sum(tensor.nbytes for tensor in self.distinct())

    def tree(self) -> dict[str, Any]:
        """The nested view: names split at the separator, tensors as leaves.

        Where a name is also the prefix of others, its tensor stands under the key "".
        """
        root: dict[str, Any] = {}
        for tensor in self.values():
            *path, leaf = tensor.name.split(self.separator)
            node = root
            for part in path:
                below = node.setdefault(part, {})
                if isinstance(below, Tensor):
                    below = node[part] = {"": below}
                node = below
            if isinstance(node.get(leaf), dict):
                node[leaf][""] = tensor
            else:
                node[leaf] = tensor
        return root

    # --- new trees from old ----------------------------------------------------------------------

    def select(self, *patterns: str) -> WeightTree:
        """The tensors whose name or stored name matches any of the glob patterns.

        Raises NameNotFoundError when a pattern matches nothing.
        """
        kept: set[str] = set()
        for pattern in patterns:
            found = [
                t.name
                for t in self.values()
                if fnmatch.fnmatchcase(t.name, pattern) or fnmatch.fnmatchcase(t.stored, pattern)
            ]
            if not found:
                raise NameNotFoundError(pattern, self, path=self.path or None, what="tensor")
            kept.update(found)
        return self.replace(t for t in self.values() if t.name in kept)

    def map(self, function: Callable[[Tensor], Tensor]) -> WeightTree:
        """A lazy tree of `function(tensor)` for each tensor."""
        return self.replace(map(function, self.values()))

    def rename(self, rules: Mapping[str, str] | Iterable[tuple[str, str]]) -> WeightTree:
        """Each name through every rule in turn: regular expression -> replacement.

        Raises UsageError when two tensors would end under one name.
        """
        pairs = list(rules.items() if isinstance(rules, Mapping) else rules)
        compiled = [(re.compile(pattern), replacement) for pattern, replacement in pairs]

        def renamed(tensor: Tensor) -> Tensor:
            name = tensor.name
            for pattern, replacement in compiled:
                name = pattern.sub(replacement, name)
            return tensor.rename(name)

        return self.map(renamed)

    def replace(self, tensors: Iterable[Tensor], **fields: Any) -> WeightTree:
        """This tree with other tensors (and other fields); the file stays open with `self`."""
        known: dict[str, Any] = {
            "format": self.format,
            "variant": self.variant,
            "path": self.path,
            "separator": self.separator,
            "metadata": self.metadata,
            "architecture": self.architecture,
            "apart": self.apart,
            "notes": self.notes,
            "convention": self.convention,
            "close": self._close,
        }
        return WeightTree(tensors, **(known | fields))

    # --- lifetime and looks ----------------------------------------------------------------------

    def close(self) -> None:
        """Close the file. Arrays that were read stay valid."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> WeightTree:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = f" {printable(self.path)}" if self.path else ""
        return (
            f"<WeightTree {self.format}{where}: {len(self)} tensors, {self.size:,} parameters, "
            f"{self.nbytes:,} bytes>"
        )

    def _repr_html_(self) -> str:
        from .analyzers.listing import listing

        return listing(self)._repr_html_()


def tie_key(tensor: Tensor) -> object:
    """Equal for two tensors exactly when they are the same elements of the same file."""
    if tensor.storage is None or not tensor.size:
        return id(tensor)
    return tensor.storage, tensor.shape, tensor.dtype
