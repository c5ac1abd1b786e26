"""Tensors too large to be held in memory, at which several analyses look in one pass.

What an analysis wants to see of such a tensor it says before the pass (`expect`). Each of these
looks is a function that reads a tensor's blocks; it runs on a thread of its own, and its blocks are
those that the pass reads. Afterwards `once` gives its result, and nothing is read again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..errors import WtoolsError
from ..sketch.plan import plain
from ..sketch.runner import PIECE
from ..tree import BLOCK, Array, Data, Tensor
from .elements import part

Found = TypeVar("Found")
Look = Callable[[Tensor], object]
_AHEAD = 2  # blocks that wait for a slow look


class PassingData:
    """A large tensor's data; `looks` by name is what the pass is to find out of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.source: Data = tensor.data
        self.original = tensor
        self.looks: dict[str, Look] = {}
        self.found: dict[str, object] = {}
        self.passed = False

    def read(self) -> Array:
        return self.source.read()

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        return self.source.blocks(nbytes)

    def to_sketch(self) -> Tensor:
        """What the sketch runner takes: reading it serves the looks, too."""
        return replace(self.original, data=_Shared(self)) if self.looks else self.original

    def release(self) -> None:
        self.found, self.passed = {}, False


def expect(tensor: Tensor, name: str, look: Callable[[Tensor], Found]) -> None:
    """Before the pass: let it find what `once` will be asked for, if the tensor is not held."""
    if isinstance(tensor.data, PassingData):
        tensor.data.looks[name] = look


def once(tensor: Tensor, name: str, look: Callable[[Tensor], Found]) -> Found:
    """`look(tensor)`, as it was found in the pass or else now; it is then the caller's, who may
    change it. Raises what the look raises."""
    found = tensor.data.found if isinstance(tensor.data, PassingData) else {}
    if name not in found:
        return look(tensor)
    result = found.pop(name)
    if isinstance(result, BaseException):
        raise result
    return result  # type: ignore[return-value]


class _Shared:
    """The blocks of a tensor, which go to its looks, too."""

    def __init__(self, data: PassingData) -> None:
        self.data = data

    def read(self) -> Array:
        return self.data.read()

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        looks = {name: _Watch(self.data.original, look) for name, look in self.data.looks.items()}
        error: Exception | None = _Left()
        try:
            for block in self._pieces(nbytes):
                for look in looks.values():
                    look.blocks.put(block)
                yield block
            error = None
        except WtoolsError as failure:
            error = failure
            raise
        finally:
            for look in looks.values():
                look.blocks.put(error)
            self.data.found = {name: look.result() for name, look in looks.items()}
            self.data.passed = True

    def _pieces(self, nbytes: int) -> Iterator[Array]:
        """Cut as the runner cuts the file: figures do not depend on who reads."""
        tensor = self.data.original
        if plain(tensor) is None:
            return tensor.blocks(nbytes)
        return part(tensor, 0, tensor.size, PIECE)


class _Left(Exception):
    """The pass ended before the tensor did."""


class _Watch:
    """One look at a tensor, fed with blocks: None is the end, an error is raised in it."""

    def __init__(self, tensor: Tensor, look: Look) -> None:
        self.blocks: queue.Queue[Array | Exception | None] = queue.Queue(_AHEAD)
        self._fed = _Fed(self.blocks)
        self._tensor = replace(tensor, data=self._fed)
        self._look = look
        self._found: object = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found = self._look(self._tensor)
        except BaseException as error:
            self._found = error
        self._fed.drain()

    def result(self) -> object:
        """What the look returned or raised."""
        self._thread.join()
        return self._found


class _Fed:
    """Data whose blocks come from a queue, once."""

    def __init__(self, blocks: queue.Queue[Array | Exception | None]) -> None:
        self._blocks = blocks
        self._over = False

    def read(self) -> Array:
        return np.concatenate(list(self.blocks()))

    def blocks(self, nbytes: int = BLOCK) -> Iterator[Array]:
        while not self._over:
            block = self._blocks.get()
            if block is None or isinstance(block, Exception):
                self._over = True
                if block is not None:
                    raise block
                return
            yield block

    def drain(self) -> None:
        """Take what is left, so that the pass does not wait."""
        while not self._over:
            self._over = not isinstance(self._blocks.get(), np.ndarray)
