"""npz: a zip archive of NumPy arrays, one `.npy` member each.

Specification: `numpy.lib.format` (NEP 1). The example of a whole format in one file: NAME, TITLE,
EXTENSIONS, `sniff` and `read` are all that a format needs, and one line in `formats.BUILTIN`.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..errors import CorruptError, UnsafeError, UsageError, WtoolsError
from ..files import RawData, Source
from ..tree import Data, LazyData, Tensor, WeightTree
from . import zips

NAME = "npz"
TITLE = "NumPy archives (.npz)"
EXTENSIONS = (".npz",)

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000  # bytes, as numpy's own reader
MAX_RANK = 64 if int(np.__version__.split(".")[0]) >= 2 else 32  # what numpy can hold
_FIELD = (
    r"""\s*['"](?:descr['"]\s*:\s*['"]([^'"]*)['"]|fortran_order['"]\s*:\s*(True|False)"""
    r"""|shape['"]\s*:\s*\(([0-9,\sL]*)\))\s*"""
)
_header = re.compile(rf"\{{{_FIELD},{_FIELD},{_FIELD},?\s*\}}\s*")
_INT = "(?:0|[1-9][0-9]{0,18})L?"  # Python 2 wrote 3L
_shape = re.compile(f"(?:{_INT},(?:{_INT},)*(?:{_INT})?)?")
_descr = re.compile(r"([<>|=]?)([a-zA-Z?])([0-9]{0,9})(?:\[[^\]]*\])?")  # dates have a unit: M8[s]
_RECORDS = "[...]"  # stands for the list that describes them
_STRANGERS = {
    "S": "byte strings",
    "U": "strings",
    "M": "dates",
    "m": "time spans",
    "V": "bytes of an unnamed type, as numpy saves bfloat16 and float8",
}


class _Header(NamedTuple):
    descr: str
    fortran: bool
    shape: tuple[int, ...]
    nbytes: int  # of the header: the elements begin here


def sniff(source: Source) -> bool:
    """A zip archive whose first member is an array, and that has no schema of skops."""
    name = zips.first_name(source)
    if name is None or not name.endswith(".npy"):
        return False
    if not zips.names_in_tail(source, zips.SCHEMA):
        return True
    try:
        return zips.SCHEMA not in zips.directory(source)
    except WtoolsError:  # damaged: as an npz file it says so
        return True


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The archive's arrays, lazily: stored ones by their place in the file, packed ones streamed.

    Arrays of strings, dates, records and unnamed types hold no numbers: they are left out, with
    a note. Raises CorruptError, UnsafeError for pickled objects, UsageError for any `root`.
    """
    if root is not None:
        raise UsageError("an npz file is one flat set of arrays", path=source.path)
    archive = zips.directory(source)
    tensors: dict[str, Tensor] = {}
    notes = []
    for member in archive:
        name = member.removesuffix(".npy")
        if name != member and name in archive:
            raise CorruptError(f"{name!r} and {member!r} are both in it", path=source.path)
        found = tensor_of(archive, member, name)
        if isinstance(found, Tensor):
            tensors[name] = found
        else:
            notes.append(f"{name} left out: {found}")
    return WeightTree(
        tensors.values(),
        format=NAME,
        path=source.path,
        separator="/" if any("/" in name for name in tensors) else ".",
        notes=notes,
        close=source.close,
    )


def tensor_of(archive: zips.Zip, member: str, name: str) -> Tensor | str:
    """The array of a member, or why it is none. Raises CorruptError, UnsafeError."""
    head = _head(archive, member)
    if not head.startswith(MAGIC):
        return "not an array"
    header = _parse(archive, member, head)
    dtype, swapped = _dtype(archive, member, header.descr)
    if isinstance(dtype, str):
        return dtype
    nbytes = dtype.nbytes(math.prod(header.shape))
    if archive[member].nbytes != header.nbytes + nbytes:
        raise _corrupt(
            archive,
            member,
            f"{dtype.name} {list(header.shape)} takes {nbytes} bytes, "
            f"{archive[member].nbytes - header.nbytes} follow its header",
        )
    storage = archive.storage(member, header.nbytes, nbytes)
    data: Data = archive.data(member, header.nbytes, header.shape, dtype, swapped=swapped)
    if header.fortran and sum(n > 1 for n in header.shape) > 1:
        data = _fortran(archive, member, header, dtype, swapped)
    return Tensor(name, header.shape, dtype.name, data, stored=member, storage=storage)


def few_values(archive: zips.Zip, member: str, most: int) -> list[Any] | None:
    """The numbers or texts of a member of at most one axis, read at once; None where they are
    more than `most` bytes, or neither. Raises CorruptError."""
    if archive[member].nbytes > most:
        return None
    content = archive.read(member, most=most)
    if not content.startswith(MAGIC):
        return None
    header = _parse(archive, member, content[: MAX_HEADER + 12])
    found = _descr.fullmatch(header.descr)
    if not found or found[2] not in "biufUS" or len(header.shape) > 1:
        return None
    try:
        dtype = np.dtype(header.descr)
        values = np.frombuffer(content, dtype, math.prod(header.shape), header.nbytes).tolist()
    except (TypeError, ValueError) as error:
        raise _corrupt(archive, member, f"{header.descr} {list(header.shape)}: {error}") from None
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in values]


def _fortran(archive: zips.Zip, member: str, header: _Header, dtype: DType, swapped: bool) -> Data:
    """Elements whose first axis varies fastest: gathered piecewise, or inflated as a whole."""
    backwards = header.shape[::-1]
    data = archive.data(member, header.nbytes, backwards, dtype, swapped=swapped)
    if not isinstance(data, RawData):
        return LazyData(lambda: data.read().transpose())
    from .pytorch.places import InFile
    from .pytorch.strided import StridedData

    strides = tuple(math.prod(header.shape[:axis]) for axis in range(len(header.shape)))
    place = InFile(data.source, data.offset, data.nbytes, swapped)
    return StridedData(place, 0, header.shape, strides, dtype)


def _head(archive: zips.Zip, member: str) -> bytes:
    """The member's first bytes, enough for the largest header."""
    head = b""
    for block in archive.blocks(member, 1 << 12):
        head += block
        if len(head) > MAX_HEADER + 12 or (head[:6] == MAGIC and _end(head) <= len(head)):
            break
    return head


def _end(head: bytes) -> int:
    """Where the header ends and the elements begin; past any end where that is not known yet."""
    if len(head) < 12:
        return MAX_HEADER + 13
    wide = head[6] > 1
    return (12 if wide else 10) + int.from_bytes(head[8 : 12 if wide else 10], "little")


def _parse(archive: zips.Zip, member: str, head: bytes) -> _Header:
    if head[6:8] not in (b"\1\0", b"\2\0", b"\3\0"):
        raise _corrupt(archive, member, f"version {'.'.join(map(str, head[6:8]))} of .npy")
    end = _end(head)
    if end > len(head):
        raise _corrupt(archive, member, f"a header of more than {len(head)} bytes")
    text = head[12 if head[6] > 1 else 10 : end].decode("utf-8", "replace")
    if re.search(r"""['"]descr['"]\s*:\s*\[""", text):
        return _Header(_RECORDS, False, (), end)
    found = _header.fullmatch(text)
    groups = found.groups() if found else ()
    descr, order, dims = (next((g for g in groups[i::3] if g is not None), None) for i in range(3))
    dims = None if dims is None else re.sub(r"\s", "", dims)
    if descr is None or order is None or dims is None or not _shape.fullmatch(dims):
        raise _corrupt(archive, member, f"its header is not understood: {text[:120]!r}")
    if dims.count(",") > MAX_RANK:
        raise _corrupt(archive, member, f"more than {MAX_RANK} axes")
    shape = tuple(int(n) for n in dims.replace("L", "").split(",") if n)
    if math.prod(n or 1 for n in shape) >= 2**59:
        raise _corrupt(archive, member, f"its shape {list(shape)} is absurd")
    return _Header(descr, order == "True", shape, end)


def _dtype(archive: zips.Zip, member: str, descr: str) -> tuple[DType | str, bool]:
    """(dtype, big-endian) of a type as numpy spells it, or why it holds no numbers."""
    if descr == _RECORDS:
        return "it holds records of several fields", False
    found = _descr.fullmatch(descr)
    if not found:
        raise _corrupt(archive, member, f"unknown type {descr[:40]!r}")
    order, kind, size = found.groups()
    if kind == "O":
        raise UnsafeError(
            "holds Python objects as a pickle, which is not run",
            path=archive.source.path,
            place=member,
        )
    if kind in _STRANGERS:
        return f"it holds {_STRANGERS[kind]}", False
    try:
        dtype = np.dtype(kind + size)
    except TypeError:
        raise _corrupt(archive, member, f"unknown type {descr!r}") from None
    if dtype.name not in dtypes.DTYPES:
        return f"it holds {dtype.name}, which is not portable", False
    return dtypes.DTYPES[dtype.name], order == ">" and dtype.itemsize > 1


def _corrupt(archive: zips.Zip, member: str, reason: str) -> CorruptError:
    return CorruptError(reason, path=archive.source.path, place=member)
