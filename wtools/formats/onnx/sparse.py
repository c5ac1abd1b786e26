"""Sparse tensors: shown dense where that is in proportion to the file, else by their values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import dtypes
from ...errors import CorruptError, WtoolsError
from ...files import Source
from ...tree import Array, LazyData
from .graph import StoredSparse
from .tensors import Elements, Tensors, element_count

_DENSE = 32 << 20  # bytes of a dense tensor that any file may ask for


def sparse_elements(
    tensors: Tensors, stored: StoredSparse, name: str
) -> tuple[Elements, dict[str, Any]]:
    """The tensor's elements and, as facts, its sparse form.

    It is dense (zeros between the values) unless that would take more memory than 32 MB or
    twice the file; then it has the shape [nnz] of its values, and facts["dense"] is False.
    The indices are checked when the tensor is read: in range, ascending, none twice.

    Raises CorruptError and what `Tensors.elements` raises.
    """
    values = tensors.elements(stored.values, f"{name}.values")
    indices = tensors.elements(stored.indices, f"{name}.indices")
    try:
        count = element_count(stored.dims)
        _check_shapes(stored, values, indices)
    except WtoolsError as error:
        error.path, error.place = tensors.source.path, f"{name!r} (byte {stored.at})"
        raise
    nbytes = count * dtypes.get(values.dtype).numpy.itemsize
    dense = nbytes <= max(_DENSE, 2 * tensors.source.size)
    facts = {"sparse": {"shape": list(stored.dims), "nnz": values.shape[0], "dense": dense}}
    compute = _compute(tensors.source, stored, values, indices, name, dense)
    shape = stored.dims if dense else values.shape
    return Elements(shape, values.dtype, LazyData(compute), None), facts


def _check_shapes(stored: StoredSparse, values: Elements, indices: Elements) -> None:
    rank = len(stored.dims)
    if len(values.shape) != 1:
        raise CorruptError(f"sparse values of shape {list(values.shape)}, not [nnz]")
    if indices.dtype != "int64":
        raise CorruptError(f"sparse indices of type {indices.dtype}, not int64")
    nnz = values.shape[0]
    if indices.shape not in ((nnz,), (nnz, rank)):
        raise CorruptError(
            f"sparse indices of shape {list(indices.shape)} for {nnz} values of a tensor "
            f"with {rank} dimensions"
        )


def _compute(
    source: Source,
    stored: StoredSparse,
    values: Elements,
    indices: Elements,
    name: str,
    dense: bool,
) -> Callable[[], Array]:
    def compute() -> Array:
        at = indices.data.read().reshape(indices.shape)
        content = values.data.read().reshape(-1)
        try:
            flat = _linear(at, stored.dims)
        except ValueError as error:
            raise CorruptError(str(error), path=source.path, place=repr(name)) from None
        if not dense:
            return content
        out = np.zeros(math.prod(stored.dims), content.dtype)
        out[flat] = content
        return out.reshape(stored.dims)

    return compute


def _linear(indices: NDArray[np.int64], dims: tuple[int, ...]) -> NDArray[np.int64]:
    """Indices [nnz] or [nnz, rank] as offsets into the dense tensor, in C order.

    Raises ValueError unless they are in range, ascending and distinct.
    """
    if indices.ndim == 2:
        size = np.array(dims, np.int64)
        if ((indices < 0) | (indices >= size)).any():
            raise ValueError(f"a sparse index outside of shape {list(dims)}")
        steps = [math.prod(dims[k + 1 :]) for k in range(len(dims))]
        indices = indices @ np.array(steps, np.int64)
    elif indices.size and (indices.min() < 0 or int(indices.max()) >= math.prod(dims)):
        raise ValueError(f"a sparse index outside of shape {list(dims)}")
    if (np.diff(indices) <= 0).any():
        raise ValueError("sparse indices that do not ascend, or one twice")
    return indices
