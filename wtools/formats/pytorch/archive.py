"""torch's zip archives: those of torch.save since 1.6 and TorchScript's.

Layout (torch/serialization.py, `_save`; caffe2/serialize/inline_container.h): one folder of any
name with `data.pkl`, storages as `data/<key>`, `byteorder`, `version`; TorchScript adds `code/`,
`constants.pkl` and `constants/<key>`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ...errors import CorruptError, FormatError
from ...files import Source
from .. import zips
from . import constructors, dtypes
from .pickle_machine import Machine
from .places import Deflated, InFile, Place
from .reader import Reader
from .recognize import folder_of
from .values import Global, Object, Refused, StorageValue

_MOST_PICKLE = 64 << 20  # bytes of a deflated pickle, which has to be inflated into memory


class Archive:
    """A zip archive of torch's, opened: its folder, its byte order, its members."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.zip = zips.directory(source)
        folder = folder_of(self.zip)
        if folder is None:
            raise FormatError("a zip archive without torch's data.pkl", path=source.path)
        self.folder = folder
        order = self._text("byteorder") or "little"
        if order not in ("little", "big"):
            raise CorruptError(
                f"a byte order of {order!r}", path=source.path, place=f"{folder}byteorder"
            )
        self.swapped = order == "big"
        self.is_script = f"{folder}constants.pkl" in self.zip
        self.machines: list[Machine] = []

    def _text(self, name: str) -> str | None:
        name = self.folder + name
        if name not in self.zip:
            return None
        return self.zip.read(name, most=1000).decode("utf-8", "replace").strip()

    def texts(self) -> dict[str, str]:
        """What wtools itself wrote beside the pickle: metadata as a JSON object of strings."""
        name = self.folder + "wtools.json"
        if name not in self.zip:
            return {}
        try:
            texts = json.loads(self.zip.read(name, most=_MOST_PICKLE))
        except (ValueError, RecursionError):
            return {}
        pairs = texts.items() if isinstance(texts, dict) else ()
        return {key: text for key, text in pairs if isinstance(text, str)}

    def load(self, pickle: str, storages: str, load_from_bytes: Callable[[Any], Any]) -> Any:
        """The value of the member `pickle`, its storages in the folder `storages`."""
        name = self.folder + pickle
        if self.zip[name].stored:
            self.zip.verify_crc(name)
            start = self.zip.offset(name)
            reader = Reader(self.source, start, start + self.zip[name].nbytes)
        else:
            reader = Reader(self.source, data=self.zip.read(name, most=_MOST_PICKLE))
        folder = self.folder + storages

        found: dict[str, StorageValue] = {}

        def persistent(key: Any) -> Any:
            return storage_value(key, found, self.source, folder)

        table = constructors.table(load_from_bytes)
        machine = Machine(reader, table, constructors.build, persistent)
        self.machines.append(machine)
        return machine.load()

    def place(self, storage: StorageValue) -> Place:
        """The bytes of the member that holds `storage`. Raises CorruptError."""
        name = storage.key
        if name not in self.zip:
            raise CorruptError(
                f"its storage, the member {name!r}, is missing", path=self.source.path
            )
        member = self.zip[name]
        if member.stored:
            return InFile(self.source, self.zip.offset(name), member.nbytes, self.swapped)
        return Deflated(self.zip, name, self.swapped)


def storage_value(
    key: Any, found: dict[str, StorageValue], source: Source, folder: str = ""
) -> Any:
    """A persistent id of torch.save (torch/serialization.py, `persistent_id`).

    found: the storages so far; one of them seen again as another type is refused, as torch
    refuses to save it.
    """
    if isinstance(key, tuple) and key:
        kind = key[0].decode("ascii", "replace") if isinstance(key[0], bytes) else key[0]
        if kind == "module" and len(key) == 4:
            return key[1]  # the class; its source code is not looked at
        if kind == "storage" and len(key) in (5, 6):
            value = _storage(key, folder)
            first = found.setdefault(value.key, value)
            if (first.dtype or "uint8") != (value.dtype or "uint8"):
                raise CorruptError(
                    f"the storage {value.key!r} is both of {first.dtype} and of {value.dtype}",
                    path=source.path,
                )
            return value
    raise CorruptError(
        "a persistent id that torch does not write",
        path=source.path,
        advice=f"It is {_short(key)}.",
    )


def _storage(key: tuple[Any, ...], folder: str) -> StorageValue:
    _, kind, name, location, numel, *view = key
    if not isinstance(kind, Global) or not isinstance(name, str | int):
        raise Refused("a storage id of the wrong types")
    dtype = dtypes.STORAGES.get(kind.name)
    if dtype is None and kind.name not in ("UntypedStorage", "TypedStorage"):
        raise Refused(f"a storage of the unknown kind {kind}")
    if not isinstance(numel, int) or isinstance(numel, bool) or not 0 <= numel < 1 << 62:
        raise Refused(f"a storage of {_short(numel)} elements")
    start = 0
    if view and view[0] is not None:
        _, start, _ = view[0]
        if not isinstance(start, int) or not 0 <= start < 1 << 62:
            raise Refused("a storage view with an offset out of range")
    where = location.decode("ascii", "replace") if isinstance(location, bytes) else location
    return StorageValue(f"{folder}{name}", dtype, str(where), numel, start)


def _short(value: Any) -> str:
    if isinstance(value, str | bytes | int | float | None):
        return f"{str(value)[:60]!r}"
    return f"a {type(value).__name__}" if not isinstance(value, Object) else str(value.constructor)
