"""One PyTorch file from its container to a WeightTree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ...errors import CorruptError, FormatError, UnsafeError, WtoolsError
from ...files import Source
from ...notes import UNSAFE_PICKLE, Note
from ...tree import Tensor, WeightTree
from .. import carried, zips
from . import constructors, metadata, roots
from .archive import Archive
from .legacy import Legacy
from .pickle_machine import Machine
from .reader import Reader
from .recognize import is_legacy
from .structure import Entry, Structure, layer_of
from .tensors import Builder
from .torchscript import Script
from .values import FileBytes, StorageValue

_TOTAL_FLOOR, _TOTAL = 4 << 30, 64  # bytes that tensors may stand for, times the file's
# Modules whose functions do something when called; naming one in a pickle is no accident.
_DANGEROUS = frozenset(
    """os posix nt subprocess sys shutil socket pty runpy importlib ctypes code codeop webbrowser
    commands popen2 multiprocessing threading asyncio http urllib requests pip _posixsubprocess
    signal platform pdb bdb timeit cProfile profile trace tempfile pathlib io pickle _pickle
    operator functools types copyreg""".split()  # noqa: SIM905
)
_DANGEROUS_BUILTINS = frozenset(
    """eval exec compile open getattr setattr delattr __import__ globals locals vars input map
    filter apply breakpoint""".split()  # noqa: SIM905
)
_HARMLESS = frozenset(
    """argparse.Namespace pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath
    functools.partial datetime.datetime datetime.date datetime.timedelta builtins.range
    builtins.slice numpy.scalar torch.fx._symbolic_trace.Tracer""".split()  # noqa: SIM905
)
_ESTIMATOR = "Save an estimator with skops (skops.io.dump), or give it to wtools.from_estimator"


def read(source: Source, root: str | None) -> WeightTree:
    """The tree of the file; see the package's `read`."""
    try:
        return _read(source, root)
    except WtoolsError as error:
        error.path = error.path or source.path
        raise


def _read(source: Source, root: str | None) -> WeightTree:
    file = _Checkpoint(source)
    structure = file.structure
    if not file.leaves and (file.unknown() or not file.may_be_empty):
        raise file.without_tensors()
    if root is None and file.frozen:
        root = "constants"
    if root is not None and root in file.more:
        more = file.more[root]
        return file.tree(more, roots.Part((root,), more.value), source.close)
    parts = roots.find(structure, root, source.path)
    weights = file.tree(structure, parts.weights, source.close)
    apart = {name: file.tree(structure, part) for name, part in parts.apart.items()}
    for name, more in file.more.items():
        apart[name] = file.tree(more, roots.Part((name,), more.value))
    _check_total(source, [weights, *apart.values()])
    tree = weights.replace(
        weights.values(),
        metadata={**file.metadata(parts), **file.texts},
        apart={name: tree for name, tree in apart.items() if len(tree)},
        notes=(*weights.notes, *file.notes()),
    )
    return carried.restore(tree) if file.texts else tree


class _Checkpoint:
    """The file's pickles, interpreted."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.machines: list[Machine] = []
        self.more: dict[str, Structure] = {}
        self.texts: dict[str, str] = {}
        self.trailing = 0
        self.classes: set[str] = set()  # of the modules whose tensors are listed
        self._depth = 0
        head = source.pread(0, min(source.size, 64))
        if zips.is_zip(source):
            self.structure = self._zip()
        elif is_legacy(head):
            self.structure = Structure(self._legacy(Reader(source)))
        else:
            self.structure = Structure(self._bare())

    @property
    def leaves(self) -> int:
        """How many tensors there are in all."""
        return sum(s.leaves for s in (self.structure, *self.more.values()))

    @property
    def may_be_empty(self) -> bool:
        """Is it a model that has no weights, or the state dict of one?"""
        return bool(self.more) or self.structure.value == {}

    @property
    def frozen(self) -> bool:
        """Has TorchScript made all weights constants (torch.jit.freeze)?"""
        has_constants = "constants" in self.more and self.more["constants"].leaves > 0
        return has_constants and not self.structure.entries(self.structure.value)

    def _zip(self) -> Structure:
        archive = Archive(self.source)
        self.machines = archive.machines
        self._place = archive.place
        self.texts = archive.texts()
        if not archive.is_script:
            self.variant = "zip, big-endian" if archive.swapped else "zip"
            return Structure(archive.load("data.pkl", "data/", self._load_from_bytes))
        self.variant = "TorchScript"
        script = Script(archive.zip, archive.folder)
        value = archive.load("data.pkl", "data/", self._load_from_bytes)
        constants = archive.load("constants.pkl", "constants/", self._load_from_bytes)
        self.more = {
            "attributes": Structure(value, replace(script, attributes=True)),
            "constants": Structure(constants),
        }
        return Structure(value, script)

    def _legacy(self, reader: Reader) -> Any:
        file = Legacy(self.source, reader, self._load_from_bytes)
        self.machines = file.machines
        self._place = file.place
        self.variant = "legacy"
        value = file.load()
        self.trailing = file.trailing
        return value

    def _bare(self) -> Any:
        self.variant = "plain pickle"
        self._place = self._nowhere
        reader = Reader(self.source)
        table = constructors.table(self._load_from_bytes)
        machine = Machine(reader, table, constructors.build)
        self.machines.append(machine)
        try:
            value = machine.load()
        except CorruptError:
            if any(name.startswith("joblib.") for name in machine.names):
                raise FormatError(
                    "a joblib file, whose arrays lie between the opcodes of its pickle",
                    path=self.source.path,
                    advice=f"Load it with joblib, if you trust it. {_ESTIMATOR}.",
                ) from None
            raise
        self.trailing = reader.remaining
        return value

    def _nowhere(self, storage: StorageValue) -> Any:
        raise CorruptError(f"the storage {storage.key!r} is nowhere", path=self.source.path)

    def _load_from_bytes(self, raw: Any) -> Any:
        """The storage inside a tensor pickled without torch.save (torch/storage.py)."""
        if self._depth:
            raise ValueError("a torch file inside one inside another")
        if isinstance(raw, FileBytes):
            reader = Reader(self.source, raw.offset, raw.offset + raw.nbytes)
        elif isinstance(raw, bytes | bytearray):
            reader = Reader(self.source, data=bytes(raw))
        else:
            raise TypeError("not bytes")
        self._depth += 1
        try:
            file = Legacy(self.source, reader, self._load_from_bytes)
            value = file.load()
            self.machines += file.machines
        finally:
            self._depth -= 1
        if isinstance(value, StorageValue):
            return replace(value, place=file.place(value))
        return value

    # --- what is told ---------------------------------------------------------------------------

    def tree(
        self, structure: Structure, part: roots.Part, close: Callable[[], None] | None = None
    ) -> WeightTree:
        """One set of tensors."""
        left_out: list[str] = []
        tensors = list(self._tensors(structure.entries(part.value, part.without), left_out))
        self.classes |= structure.classes
        notes = [f"{_few(left_out)} without numbers left out"] if left_out else []
        told = metadata.plain(structure, part.value) if part.optimizer else {}
        return WeightTree(
            tensors,
            format="pytorch",
            variant=self.variant,
            path=self.source.path,
            separator=".",
            metadata={"root": part.name, **told} if part.name else told,
            notes=(*notes, *_shown_otherwise(tensors)),
            close=close,
        )

    def _tensors(self, entries: Iterable[Entry], left_out: list[str]) -> Iterable[Tensor]:
        builder = Builder(self.source, self._place)
        for entry in entries:
            fields: dict[str, Any] = {
                "layer": entry.layer or layer_of(entry.name),
                "kind": entry.kind,
            }
            if entry.trainable is not None:
                fields["trainable"] = entry.trainable
            tensor = builder.make(entry.name, entry.value, **fields)
            if tensor is None:
                left_out.append(entry.name)
            else:
                yield tensor

    def metadata(self, parts: roots.Parts) -> dict[str, Any]:
        """The checkpoint's plain values, the weights' place, the names that its pickle calls."""
        told = metadata.plain(self.structure, self.structure.value)
        if parts.weights.name:
            told = {"root": parts.weights.name, **told}
        unknown = self.unknown()
        return {**told, "globals": unknown} if unknown else told

    def unknown(self) -> list[str]:
        """Names that the pickles call and wtools does not know, modules of the model aside."""
        names = dict.fromkeys(name for m in self.machines for name in m.unknown)
        return [name for name in names if not name.startswith("__torch__.")]

    def notes(self) -> list[str]:
        """What the pickle would have done, and what of the file was not read."""
        notes: list[str] = []
        unknown = self.unknown()
        danger = [name for name in unknown if dangerous(name)]
        if danger:
            told = f"unpickling this file would call {_few(danger)}; wtools did not"
            notes.append(Note(told, UNSAFE_PICKLE))
        known = {*danger, *self.classes, *_HARMLESS}
        others = [n for n in unknown if n not in known and not n.startswith("torch.nn.")]
        estimators = [name for name in others if name.startswith("sklearn.")]
        if estimators:
            notes.append(f"only arrays are read of {_few(estimators)}. {_ESTIMATOR}")
            others = [name for name in others if name not in estimators]
        if others:
            what = "constructor" if len(others) == 1 else "constructors"
            notes.append(f"names {len(others)} {what} that wtools does not know: {_few(others)}")
        if self.trailing:
            notes.append(f"{self.trailing} bytes after the end of the data were not read")
        return notes

    def without_tensors(self) -> Exception:
        """The error for a file without a tensor: it says what the file would do instead."""
        unknown = self.unknown()
        danger = [name for name in unknown if dangerous(name)]
        path = self.source.path
        if danger:
            return UnsafeError(
                f"holds no tensor, and unpickling it would call {_few(danger)}", path=path
            )
        named = f"; its pickle calls {_few(unknown)}" if unknown else ""
        advice = _ESTIMATOR if any(name.startswith("sklearn.") for name in unknown) else None
        return FormatError(f"holds no tensor{named}", path=path, advice=advice)


def dangerous(name: str) -> bool:
    """Would a call of that name do more than build an object?"""
    if name in _HARMLESS:
        return False
    module, _, attribute = name.rpartition(".")
    if module == "builtins":
        return attribute in _DANGEROUS_BUILTINS
    return module.partition(".")[0] in _DANGEROUS


def _shown_otherwise(tensors: Sequence[Tensor]) -> list[str]:
    notes = []
    values = [t.name for t in tensors if "dense_shape" in t.facts]
    if values:
        notes.append(f"too sparse to show in full, stored values only: {_few(values)}")
    nested = [t.name for t in tensors if t.facts.get("layout") == "nested"]
    if nested:
        notes.append(f"nested, shown as one row of values: {_few(nested)}")
    parts = [t.name for t in tensors if "whole_shape" in t.facts]
    if parts:
        notes.append(f"one rank's part of a larger tensor each: {_few(parts)}")
    classes = sorted({str(t.facts["class"]) for t in tensors if "class" in t.facts})
    if classes:
        notes.append(f"subclasses of Tensor shown as plain ones: {_few(classes)}")
    return notes


def _check_total(source: Source, trees: Sequence[WeightTree]) -> None:
    total = sum(tree.nbytes for tree in trees)
    if total > max(_TOTAL_FLOOR, _TOTAL * source.size):
        raise UnsafeError(
            f"a file of {source.size} bytes with tensors of {total} bytes that overlap",
            path=source.path,
        )


def _few(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
