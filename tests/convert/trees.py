"""Trees in memory for the tests of conversion, and what must be true of a file made from one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

import wtools
from wtools import dtypes
from wtools.conversion import verify_bits
from wtools.tree import ArrayData, Storage, Tensor, WeightTree

SHAPES = [(2, 3, 4), (5, 8), (16,), (1, 1, 8), (), (0, 3)]


def bits(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """An array of random bit patterns: NaNs with payloads, infinities, subnormals, both zeros."""
    kind = dtypes.get(dtype)
    count = int(np.prod(shape))
    raw = np.random.default_rng(seed).integers(0, 256, kind.nbytes(count), dtype=np.uint8)
    if dtype == "bool":
        raw &= 1
    if kind.packed and (rest := count * kind.bits % 8):
        raw[-1] &= (1 << rest) - 1
    return kind.unpack(raw, count).reshape(shape)


def tensor(name: str, dtype: str, shape: tuple[int, ...], **fields: object) -> Tensor:
    seed = sum(map(ord, name))
    return Tensor(name, shape, dtype, ArrayData(bits(dtype, shape, seed)), **fields)


def every(kinds: Iterable[str], separator: str = "/", *, tied: bool = True) -> WeightTree:
    """Each dtype in some shapes (whole bytes only), with layers, flags, metadata and a tie."""
    tensors = []
    for dtype in sorted(kinds):
        for i, shape in enumerate(SHAPES):
            if int(np.prod(shape)) * dtypes.get(dtype).bits % 8 == 0:
                layer = f"{dtype}_block{separator}{i}"
                tensors.append(
                    tensor(
                        f"{layer}{separator}kernel",
                        dtype,
                        shape,
                        layer=layer,
                        kind="Dense",
                        trainable=i % 2 == 0,
                    )
                )
    if tied and tensors:
        first = tensors[0]
        same = Storage("memory", 0, first.nbytes)
        tensors[0] = Tensor(
            first.name, first.shape, first.dtype, first.data, storage=same, trainable=True
        )
        tensors.append(
            Tensor(f"tied{separator}kernel", first.shape, first.dtype, first.data, storage=same)
        )
    metadata = {"author": "someone", "step": 3, "nested": {"a": [1, None, "ü"]}}
    return WeightTree(tensors, separator=separator, metadata=metadata)


def assert_same(tree: WeightTree, path: str | Path) -> WeightTree:
    """The file has exactly the tree's tensors: names, dtypes, shapes, bits. Its tree, closed."""
    with wtools.open(path) as found:
        report = verify_bits(tree, found)
        wrong = [(row.name, row.reason) for row in report.rows if not row.equal]
        assert not wrong
        assert [t.shape for t in found.values()] == [found[n].shape for n in found]
        return found
