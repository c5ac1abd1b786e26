"""Pickles of state dicts, protocol 2, written opcode by opcode.

Opcodes as in Python's pickletools; the persistent id of a storage is torch's
("storage", class, key, location, elements).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ... import dtypes
from ...tree import Tensor

_BATCH = 1000  # items set at once, as Python's own pickler does

_CLASSES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}


@dataclass(frozen=True)
class Storage:
    """A tensor that is the whole of storage number `key`."""

    key: int
    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @classmethod
    def of(cls, tensor: Tensor, key: int) -> Storage:
        return cls(key, tensor.dtype, tensor.shape, tensor.nbytes)


def pickle_sets(sets: Mapping[str, Mapping[str, Storage]]) -> bytes:
    """The pickle of one OrderedDict of tensors (named ""), or of a dict of several."""
    pickle = Pickle()
    if set(sets) == {""}:
        pickle.ordered_dict(sets[""])
    else:
        pickle.put(b"}(")
        for name, tensors in sets.items():
            pickle.text(name)
            pickle.ordered_dict(tensors)
        pickle.put(b"u")
    return pickle.finish()


class Pickle:
    """The opcodes so far; what is used again (classes, tied tensors) is memoized."""

    def __init__(self) -> None:
        self._out = bytearray(b"\x80\x02")
        self._memo: dict[object, int] = {}

    def put(self, data: bytes) -> None:
        self._out += data

    def finish(self) -> bytes:
        return bytes(self._out + b".")

    def ordered_dict(self, tensors: Mapping[str, Storage]) -> None:
        self._new_ordered_dict()
        items = list(tensors.items())
        for start in range(0, len(items), _BATCH):
            self.put(b"(")
            for name, storage in items[start : start + _BATCH]:
                self.text(name)
                self.tensor(storage)
            self.put(b"u")

    def tensor(self, storage: Storage) -> None:
        """The tensor; the same Python object as before where its storage came before."""
        if self._again(storage):
            return
        kind = _CLASSES.get(storage.dtype)
        count = _count(storage.shape)
        self.class_("torch._utils", "_rebuild_tensor_v2" if kind else "_rebuild_tensor_v3")
        self.put(b"((")
        self.text("storage")
        self.class_(*(("torch", kind) if kind else ("torch.storage", "UntypedStorage")))
        self.text(str(storage.key))
        self.text("cpu")
        self.integer(count if kind else storage.nbytes)
        self.put(b"tQ")
        self.integer(0)  # offset in the storage
        self.tuple_(storage.shape)
        self.tuple_(_strides(storage.shape))
        self.put(b"\x89")  # requires_grad False, as in any state dict
        self._new_ordered_dict()  # no backward hooks
        if not kind:
            self.class_("torch", dtypes.get(storage.dtype).torch or storage.dtype)
        self.put(b"tR")
        self._remember(storage)

    def text(self, value: str) -> None:
        if self._again(value):
            return
        raw = value.encode("utf-8", "surrogatepass")
        self.put(b"X" + struct.pack("<L", len(raw)) + raw)
        if value in ("storage", "cpu"):
            self._remember(value)

    def integer(self, value: int) -> None:
        if 0 <= value < 1 << 8:
            self.put(b"K" + bytes([value]))
        elif 0 <= value < 1 << 16:
            self.put(b"M" + struct.pack("<H", value))
        elif value < 1 << 31:
            self.put(b"J" + struct.pack("<l", value))
        else:
            raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.put(b"\x8a" + bytes([len(raw)]) + raw)

    def tuple_(self, values: Iterable[int]) -> None:
        self.put(b"(")
        for value in values:
            self.integer(value)
        self.put(b"t")

    def class_(self, module: str, name: str) -> None:
        if not self._again((module, name)):
            self.put(f"c{module}\n{name}\n".encode())
            self._remember((module, name))

    def _new_ordered_dict(self) -> None:
        self.class_("collections", "OrderedDict")
        self.put(b")R")

    def _again(self, what: object) -> bool:
        at = self._memo.get(what)
        if at is not None:
            self.put(b"h" + bytes([at]) if at < 256 else b"j" + struct.pack("<L", at))
        return at is not None

    def _remember(self, what: object) -> None:
        at = len(self._memo)
        self.put(b"q" + bytes([at]) if at < 256 else b"r" + struct.pack("<L", at))
        self._memo[what] = at


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a contiguous tensor, in elements; axes of 0 count as 1, as in torch."""
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))
