"""One module per file format, found by content.

A format is a module with

    NAME: str                       "safetensors"
    TITLE: str                      one line for `wtools formats`
    EXTENSIONS: tuple[str, ...]     usual file endings, for hints only: content decides
    sniff(source) -> bool           is this file ours? reads a few bytes, leaves no trace
    read(source, *, root=None) -> WeightTree      reads headers only

and, where it can be written, beside it a module `writer` (`npz_writer` beside `npz`), imported
only when something is written, with

    HOLDS: frozenset[str]           the canonical dtypes it can hold
    OPTIONS: frozenset[str]         keyword options of its `draft`
    KEEPS: Mapping[str, str]        which of FEATURES a file of it keeps, and how where not plainly
    draft(tree, name, *, like=None, **options) -> Draft

`draft` sees headers only and says what it would write, what that loses and what stands in the
way; the Draft's own `write` then fills the files of an `Output`, block by block, under names
that appear only when all is well. Nothing else of a writer is needed: whoever calls it verifies
the output by reading it back. See `drafts.py`, `../outputs.py`, `../streams.py`.

Listed below in one tuple; third parties join through the entry-point group `wtools.formats`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast

from ..errors import FormatError, UsageError
from ..files import Source
from ..tree import WeightTree

if TYPE_CHECKING:
    from .drafts import Draft

BUILTIN: tuple[str, ...] = (
    "keras",
    "safetensors",
    "npz",
    "skops",
    "pytorch",
    "shards",
    "onnx",
)


class Format(Protocol):
    """What a format module offers; see the package docstring."""

    NAME: str
    TITLE: str
    EXTENSIONS: tuple[str, ...]

    def sniff(self, source: Source) -> bool: ...

    def read(self, source: Source, *, root: str | None = None) -> WeightTree: ...


# What a tree can know beyond names, dtypes, shapes and bits, which every format keeps.
FEATURES = {
    "ties": "tied tensors",
    "metadata": "metadata",
    "layers": "layer classes and trainable flags",
    "apart": "optimizers and other sets apart",
    "architecture": "the architecture",
    "quantization": "which scales belong to which quantized tensors",
}


class Writer(Protocol):
    """What the writer beside a format offers; see the package docstring."""

    HOLDS: frozenset[str]
    OPTIONS: frozenset[str]
    KEEPS: Mapping[str, str]

    def draft(
        self, tree: WeightTree, name: str, *, like: str | None = None, **options: Any
    ) -> Draft: ...


def formats() -> tuple[Format, ...]:
    """All formats: the built-in ones, then those of other packages."""
    return builtin() + foreign()


@cache
def builtin() -> tuple[Format, ...]:
    """The formats of this package."""
    return tuple(cast(Format, import_module(f".{name}", __name__)) for name in BUILTIN)


@cache
def foreign() -> tuple[Format, ...]:
    """The formats of other packages. Looking for them takes longer than opening a small file."""
    from importlib.metadata import entry_points

    return tuple(cast(Format, point.load()) for point in entry_points(group="wtools.formats"))


def named(name: str) -> Format:
    """The format of that NAME. Raises UsageError."""
    for known_formats in (builtin, foreign):
        for format in known_formats():
            if name == format.NAME:
                return format
    known = ", ".join(format.NAME for format in formats())
    raise UsageError(f"no format named {name!r}", advice=f"Known: {known}")


def writer(name: str) -> Writer | None:
    """The writer of the format of that NAME, None where it can only be read. Raises UsageError."""
    module = cast(Any, named(name))
    beside = f"{module.__name__}{'.' if hasattr(module, '__path__') else '_'}writer"
    if find_spec(beside) is None:
        return None
    return cast(Writer, import_module(beside))


def detect(source: Source) -> Format:
    """The one format whose `sniff` claims the file; other packages' are asked where none here does.

    Raises FormatError when none does or more than one, saying what was seen.
    """
    claims = [format for format in builtin() if format.sniff(source)]
    claims = claims or [format for format in foreign() if format.sniff(source)]
    if len(claims) == 1:
        return claims[0]
    if claims:
        names = " and ".join(format.NAME for format in claims)
        raise FormatError(f"looks like {names} at once", path=source.path, advice="Use --format.")
    raise FormatError(
        f"is {what_it_is(source)}",
        path=source.path,
        advice=f"wtools reads {', '.join(format.NAME for format in formats())}.",
    )


def open(
    path: str | os.PathLike[str], *, format: str | None = None, root: str | None = None
) -> WeightTree:
    """Open a weights file or a model folder: headers only, nothing in it executed.

    format: force a format by NAME instead of looking at the content.
    root: where in the file the weights are, if the usual place is not the one meant (a key
        path such as "ema.state_dict", or "optimizer"); `WeightTree.apart` lists candidates.

    Raises MissingError, FormatError, CorruptError or UnsafeError.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        from .folders import open_folder

        return open_folder(path, format=format, root=root)
    source = Source(path)
    try:
        chosen = named(format) if format else detect(source)
        return chosen.read(source, root=root)
    except BaseException:
        source.close()
        raise


_MAGICS: Iterable[tuple[bytes, str]] = (
    (b"version https://git-lfs.github.com/", "a git-LFS pointer (run `git lfs pull` for the file)"),
    (b"<!doctype html", "an HTML page (the download went wrong)"),
    (b"<html", "an HTML page (the download went wrong)"),
    (b"<?xml", "an XML document"),
    (b"\x1f\x8b", "a gzip file (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "a zstd file (unpack it first)"),
    (b"BZh", "a bzip2 file (unpack it first)"),
    (b"\xfd7zXZ", "an xz file (unpack it first)"),
    (b"\x04\x22\x4d\x18", "an lz4 file (unpack it first)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive (unpack it first)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x93NUMPY", "a single NumPy array (.npy)"),
    (b"GGUF", "a GGUF file (not supported yet)"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a PNG picture"),
    (b"\x7fELF", "a program or shared library"),
)


def what_it_is(source: Source) -> str:
    """A phrase for the content of a file that is no weights file."""
    if source.size == 0:
        return "an empty file"
    head = source.pread(0, min(source.size, 512))
    if not head.strip(b"\0"):
        return "a file that begins with zero bytes (an interrupted download?)"
    for magic, what in _MAGICS:
        if head.lstrip().lower().startswith(magic.lower()) or head.startswith(magic):
            return what
    if head[:2] in (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        return "zlib data (a compressed joblib file? load it, if you trust it, and save anew)"
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model (not supported yet)"
    if head[257:262] == b"ustar":
        return "a tar archive (unpack it first)"
    if head.lstrip()[:1] in b"{[" and head.isascii():
        return "a JSON document"
    controls = any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)
    if not controls and "\ufffd" not in head.decode("utf-8", "replace")[:-4]:
        return "a text file"
    return f"data of an unknown kind (it begins with {head[:8].hex(' ')})"
