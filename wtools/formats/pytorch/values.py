"""What an interpreted pickle is made of: plain Python values and these inert records.

Nothing here does anything. A `Global` is a name, an `Object` is what a call of an unknown
constructor would have made: kept, shown by name, never run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Refused(ValueError):
    """What is wrong with a value of the pickle, in words; the machine adds where."""


@dataclass(frozen=True)
class Global:
    """A module's attribute that the pickle names. It is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Object:
    """The inert result of an unknown call: the constructor and all it was given."""

    __slots__ = ("args", "constructor", "items", "pairs", "state")

    def __init__(self, constructor: object, args: tuple[Any, ...] = (), state: Any = None) -> None:
        self.constructor = constructor
        self.args = args
        self.state = state
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []

    @property
    def class_name(self) -> str:
        """`Conv2d` for torch.nn.modules.conv.Conv2d."""
        name = self.constructor
        return name.name.rpartition(".")[2] if isinstance(name, Global) else "object"

    @property
    def attributes(self) -> dict[Any, Any]:
        """The instance's attributes, as far as its state is a dict (or one with slots)."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            first = state[0] if isinstance(state[0], dict) else {}
            return {**first, **state[1]}
        return state if isinstance(state, dict) else {}


class Dict(dict[Any, Any]):
    """A collections.OrderedDict or its like; `state` is what was set on it as attributes."""

    __slots__ = ("state",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.state: Any = None


class Text(str):
    """A name with a meaning of its own in torch: a device, a layout."""

    __slots__ = ()


class OddKey:
    """A dict key beyond the first thousands that could collide on purpose; equal to itself only."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


@dataclass(frozen=True)
class FileBytes:
    """A long bytes object of the pickle, left in the file."""

    offset: int
    nbytes: int


Buffer = bytes | bytearray | FileBytes


@dataclass(frozen=True, eq=False)
class StorageValue:
    """A persistent id: the storage `key`, seen as `dtype` (None: untyped bytes).

    numel: elements it claims. start: elements to skip (views in files of old torch).
    place: its bytes where the pickle itself carries them, else None.
    """

    key: str
    dtype: str | None
    location: str
    numel: int
    start: int = 0
    place: Any = None


@dataclass(eq=False)
class TensorValue:
    """A tensor as its `_rebuild` call describes it; nothing is checked yet.

    dtype: torch's name ("qint8", "float32"). layout: "strided", "sparse_coo", ..., "nested",
    "meta" (no data), "empty" (a shell whose state never came). parts: the tensors that a sparse
    or nested one is made of. wrapper: attributes of a subclass that has no data of its own.
    whole: the size of the tensor of which this is one rank's part.
    """

    layout: str = "strided"
    storage: StorageValue | None = None
    offset: Any = 0
    size: Any = ()
    stride: Any = ()
    dtype: str = ""
    requires_grad: bool = False
    parameter: bool = False
    conj: bool = False
    neg: bool = False
    device: str = ""
    subclass: str = ""
    quantizer: tuple[Any, ...] = ()
    parts: tuple[Any, ...] = ()
    wrapper: dict[Any, Any] = field(default_factory=dict)
    whole: Any = ()

    def fill(self, other: TensorValue) -> None:
        """Become `other`, keeping what is known of this one."""
        parameter = self.parameter
        self.__dict__.update(other.__dict__)
        self.parameter = parameter or other.parameter


@dataclass(eq=False)
class ArrayValue:
    """A numpy array: `buffer` as stored, `dtype` in numpy's spelling ("<f4")."""

    dtype: str = ""
    shape: Any = ()
    fortran: bool = False
    buffer: Buffer | None = None


@dataclass(eq=False)
class NumpyDType:
    """A numpy.dtype under construction: "f4" and, once its state came, the byte order."""

    code: str
    order: str = "="

    @property
    def spelling(self) -> str:
        return (self.order if self.order in "<>" else "<") + self.code
