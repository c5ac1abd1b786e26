"""Files of torch.save before 1.6, and plain pickles.

Layout (torch/serialization.py, `_legacy_save`): a magic number, the protocol and facts of the
machine, the object, the storages' keys, each its own pickle; then for each key eight bytes with
the number of elements, and the elements, always little-endian.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import CorruptError, FormatError
from ...files import Source
from . import constructors, dtypes
from .archive import storage_value
from .pickle_machine import Machine
from .places import InFile, InMemory, Place
from .reader import Reader
from .recognize import MAGIC
from .values import StorageValue


class Legacy:
    """The pickles of one such file (or of the bytes of one inside another pickle)."""

    def __init__(
        self, source: Source, reader: Reader, load_from_bytes: Callable[[Any], Any]
    ) -> None:
        self.source = source
        self.reader = reader
        self.machines: list[Machine] = []
        self.trailing = 0
        self._table = constructors.table(load_from_bytes)
        self._found: dict[str, StorageValue] = {}
        self._places: dict[str, Place] = {}

    def load(self) -> Any:
        """The object, with its storages located. Raises CorruptError."""
        magic, protocol = self._pickle(), self._pickle()
        if magic != MAGIC or protocol != 1001:
            raise FormatError(
                "a torch file of a protocol that nobody ever wrote", path=self.source.path
            )
        facts = self._pickle()
        if not isinstance(facts, dict):
            raise CorruptError("the header is damaged", path=self.source.path, place="byte 0")
        value = self._pickle(self._persistent)
        keys = self._pickle()
        if not isinstance(keys, list):
            raise CorruptError("the list of storages is damaged", path=self.source.path)
        for key in keys:
            self._locate(str(key)[:100])
        self.trailing = self.reader.remaining
        return value

    def _pickle(self, persistent: Callable[[Any], Any] | None = None) -> Any:
        machine = Machine(self.reader, self._table, constructors.build, persistent)
        self.machines.append(machine)
        return machine.load()

    def _persistent(self, key: Any) -> Any:
        return storage_value(key, self._found, self.source)

    def _locate(self, key: str) -> None:
        storage = self._found.get(key)
        if storage is None or key in self._places:
            raise CorruptError(
                f"the storage {key!r} is listed but no tensor uses it"
                if storage is None
                else f"the storage {key!r} is listed twice",
                path=self.source.path,
            )
        at = self.reader.position
        count = int.from_bytes(self.reader.read(8), "little", signed=True)
        if count != storage.numel:
            raise CorruptError(
                f"the storage {key!r} has {count} elements, its tensors say {storage.numel}",
                path=self.source.path,
                place=f"byte {at}",
            )
        nbytes = count * dtypes.unit(storage.dtype or "uint8")
        if nbytes > self.reader.remaining:
            raise CorruptError(
                f"the storage {key!r} has {self.reader.remaining} of its {nbytes} bytes",
                path=self.source.path,
                place=f"byte {at + 8}",
                advice="The file is probably cut short: copy or download it again.",
            )
        if self.reader.in_file:
            self._places[key] = InFile(self.source, at + 8, nbytes)
            self.reader.skip(nbytes)
        else:
            self._places[key] = InMemory(self.reader.read(nbytes))

    def place(self, storage: StorageValue) -> Place:
        """Where `load` found the storage. Raises CorruptError."""
        if storage.key not in self._places:
            raise CorruptError(f"its storage {storage.key!r} is missing", path=self.source.path)
        return self._places[storage.key]
