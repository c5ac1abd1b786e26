"""TensorProto and SparseTensorProto to what `graph` calls stored tensors: headers only."""

from __future__ import annotations

import numpy as np

from . import schema
from .graph import StoredSparse, StoredTensor
from .schema import check, deeper
from .varints import Piece, decode
from .wire import LEN, RUN, VARINT, Wire

MOST_DIMS = 64  # of a NumPy array
TYPED = {4: "float_data", 5: "int32_data", 7: "int64_data", 10: "double_data", 11: "uint64_data"}
_WIRE = {4: 5, 5: 0, 7: 0, 10: 1, 11: 0}  # the wire type of one number


def signed(value: int) -> int:
    """A varint as the int64 it stands for."""
    return value - (1 << 64) if value >> 63 else value


def tensor(wire: Wire, start: int, end: int, depth: int) -> StoredTensor:
    """A TensorProto in [start, end). Raises CorruptError for a second raw_data, rank > 64."""
    deeper(wire, start, depth)
    wire.spend(400)
    name, data_type, location, strings = "", 0, 0, 0
    dims: list[int] = []
    raw: tuple[int, int] | None = None
    typed: dict[int, list[Piece]] = {}
    external: list[tuple[str, str]] = []
    segmented = False
    for number, form, a, b in wire.fields(start, end, schema.TENSOR, TYPED):
        if number == 1:
            _dims(wire, form, a, b, dims, start)
        elif number == 2:
            data_type = a
        elif number == 8:
            name = wire.text(a, b)
        elif number == 9:
            if raw is not None:
                raise wire.bad(f"tensor {name!r} has two raw_data fields", a)
            raw = a, b
        elif number in TYPED:
            typed.setdefault(number, []).append(_piece(wire, number, form, a, b))
        elif number == 6:
            strings += 1
        elif number == 13:
            external.append(_entry(wire, a, b))
        elif number == 14:
            location = a
        elif number in (3, 16):
            check(wire, "segment" if number == 3 else "entry", a, b, depth + 1)
            segmented |= number == 3
    return StoredTensor(
        start,
        name,
        tuple(dims),
        data_type,
        raw,
        tuple((number, tuple(pieces)) for number, pieces in typed.items()),
        tuple(external) if location == 1 else None,
        strings,
        segmented,
    )


def sparse_tensor(wire: Wire, start: int, end: int, depth: int) -> StoredSparse:
    """A SparseTensorProto. Raises CorruptError where its values or indices are missing."""
    deeper(wire, start, depth)
    wire.spend(200)
    parts: dict[int, StoredTensor] = {}
    dims: list[int] = []
    for number, form, a, b in wire.fields(start, end, schema.SPARSE):
        if number == 3:
            _dims(wire, form, a, b, dims, start)
        elif number in parts:
            raise wire.bad("a sparse tensor has two values or two indices", a)
        else:
            parts[number] = tensor(wire, a, b, depth + 1)
    if len(parts) < 2:
        what = "values" if 1 not in parts else "indices"
        raise wire.bad(f"a sparse tensor without {what}", start)
    return StoredSparse(start, parts[1], parts[2], tuple(dims))


def _dims(wire: Wire, form: int, a: int, b: int, dims: list[int], start: int) -> None:
    if form == VARINT:
        dims.append(signed(a))
    elif b > a:
        raw = np.frombuffer(wire.bytes(a, b), np.uint8)
        if raw[-1] >= 0x80:
            raise wire.bad("a packed list of dimensions is cut", a)
        try:
            dims += map(signed, decode(raw).tolist())
        except ValueError as error:
            raise wire.bad(str(error), a) from None
    if len(dims) > MOST_DIMS:
        raise wire.bad(f"a tensor of more than {MOST_DIMS} dimensions", start)


def _piece(wire: Wire, number: int, form: int, a: int, b: int) -> Piece:
    wire.spend(300)
    piece = Piece(_WIRE[number], a, b, tagged=form >= RUN)
    if form != LEN and form < RUN:  # `fields` gives whole runs unless the first is damaged
        raise wire.bad(f"{TYPED[number]} is damaged", a)
    if piece.width and piece.nbytes % piece.width:
        raise wire.bad(f"packed {TYPED[number]} of {b - a} bytes", a)
    return piece


def _entry(wire: Wire, start: int, end: int) -> tuple[str, str]:
    wire.spend(200 + 2 * (end - start))
    key = content = ""
    for number, _, a, b in wire.fields(start, end, schema.ENTRY):
        if number == 1:
            key = wire.text(a, b)
        else:  # not kept among the names: offsets are all different
            content = wire.bytes(a, b).decode("utf-8", "replace")
    return key, content
