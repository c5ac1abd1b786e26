"""scipy's sparse matrices, an .npz file in a member: its headers are read, its arrays are not.

scipy.sparse.save_npz: `format`, `shape`, and for csr and csc `data`, `indices`, `indptr`; for coo
`data`, `row`, `col`; for dia and bsr what is not read here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ... import dtypes
from ...errors import CorruptError, WtoolsError
from ...files import Source
from ...tree import Array, LazyData, Tensor
from .. import npz, zips

DENSE = 32 << 20  # bytes of a dense tensor that any file may ask for
_FEW = 1 << 12
_PARTS = {"csr": ("indices", "indptr"), "csc": ("indices", "indptr"), "coo": ("row", "col")}


def sparse_tensor(archive: zips.Zip, member: str, name: str) -> Tensor | str:
    """The matrix as a dense tensor (zeros between the values), or why it is none.

    It stays in its member until it is read. Facts: {"sparse": {"shape", "nnz", "format"}}.
    Raises CorruptError and UnsafeError as for any archive of arrays.
    """
    with _opened(archive, member) as inner:
        told = {key: _values(inner, key) for key in ("format", "shape")}
        form, shape = str(told["format"][0]), [int(n) for n in told["shape"]]
        if form not in _PARTS:
            return f"it is a sparse matrix of the form {form[:20]!r}"
        values, *_ = _arrays(inner, form)
    if len(shape) != 2 or min(shape) < 0 or max(shape) >= 2**40:
        raise _corrupt(archive, member, f"a sparse matrix of shape {shape}")
    nbytes = shape[0] * shape[1] * dtypes.get(values.dtype).itemsize
    if nbytes > max(DENSE, 2 * archive.source.size):
        return f"it is a sparse matrix that would take {nbytes} bytes if shown dense"
    facts = {"sparse": {"shape": shape, "nnz": values.size, "format": form}}
    data = LazyData(lambda: _dense(archive, member, form, (shape[0], shape[1])))
    return Tensor(name, tuple(shape), values.dtype, data, stored=member, facts=facts)


@contextmanager
def _opened(archive: zips.Zip, member: str) -> Iterator[zips.Zip]:
    """The archive in the member, unpacked to an unnamed file; its errors name the member."""
    path = archive.source.path
    with tempfile.TemporaryFile() as spool:
        for block in archive.blocks(member):
            spool.write(block)
        spool.flush()
        with Source(path, fd=os.dup(spool.fileno())) as source:
            try:
                yield zips.directory(source)
            except WtoolsError as error:
                error.place = f"{member}: {error.place}" if error.place else member
                raise


def _values(inner: zips.Zip, key: str) -> list[Any]:
    name = f"{key}.npy"
    found = npz.few_values(inner, name, _FEW) if name in inner else None
    if not found:
        raise CorruptError(f"no {key}: no sparse matrix of scipy", path=inner.source.path)
    return found


def _arrays(inner: zips.Zip, form: str) -> list[Tensor]:
    """data and the two lists of places, each of one axis."""
    found = []
    for key in ("data", *_PARTS[form]):
        array = npz.tensor_of(inner, f"{key}.npy", key) if f"{key}.npy" in inner else "not there"
        if isinstance(array, str) or array.ndim != 1:
            what = array if isinstance(array, str) else f"of shape {list(array.shape)}"
            raise CorruptError(f"its {key} is {what}", path=inner.source.path)
        found.append(array)
    return found


def _dense(archive: zips.Zip, member: str, form: str, shape: tuple[int, int]) -> Array:
    """Values that stand twice in one place are added up, as scipy does."""
    with _opened(archive, member) as inner:
        values, one, other = (tensor.read() for tensor in _arrays(inner, form))
    if form == "coo":
        rows, columns = one, other
    else:
        major = shape[0] if form == "csr" else shape[1]
        lengths: Array = np.diff(other.astype(np.int64))
        if other.size != major + 1 or (lengths < 0).any() or int(lengths.sum()) != one.size:
            raise _corrupt(archive, member, "its indptr does not fit its indices")
        spread = np.repeat(np.arange(major), lengths)
        rows, columns = (spread, one) if form == "csr" else (one, spread)
    if rows.size != values.size or columns.size != values.size or _outside(rows, columns, shape):
        raise _corrupt(archive, member, f"an index outside of its shape {list(shape)}")
    out = np.zeros(shape, values.dtype)
    np.add.at(out, (rows, columns), values)
    return out


def _outside(rows: Array, columns: Array, shape: tuple[int, int]) -> bool:
    if not rows.size:
        return False
    low = min(int(rows.min()), int(columns.min()))
    return low < 0 or int(rows.max()) >= shape[0] or int(columns.max()) >= shape[1]


def _corrupt(archive: zips.Zip, member: str, reason: str) -> CorruptError:
    return CorruptError(reason, path=archive.source.path, place=member)
