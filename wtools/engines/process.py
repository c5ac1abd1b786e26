"""The parent's side of an engine: a child process that has one model loaded."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, MissingExtraError, WtoolsError
from ..tree import Array
from .choice import Runnable

TIMEOUT = 600.0  # seconds that a model may take to load, or to run once
_TAIL = 2000  # characters of a child's standard error that are shown
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Input:
    """What a model takes: shape with the batch, None for a size that is free; shape itself is
    None where the model does not say it. high: integers must stay below it, where that is known.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str
    high: int | None = None


@dataclass(frozen=True)
class Layer:
    """A part of a model whose output can be seen. activation: what is already applied to it."""

    name: str
    kind: str = ""
    activation: str = ""


@dataclass
class Engine:
    """A model in its framework, in its own process; a context. Raises WtoolsError where the child
    cannot load or run the model, MissingExtraError where it lacks the framework."""

    model: Runnable
    timeout: float = TIMEOUT
    version: str = ""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    _runs: int = 0
    _pending: bytes = b""
    _folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="wtools-verify-")
    )

    def __enter__(self) -> Engine:
        self._errors = open(self._path("stderr"), "w+b")
        child = Path(__file__).with_name("child.py")
        command = [sys.executable, str(child), self.model.engine, self.model.path]
        self._process = subprocess.Popen(
            [*command, self.model.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **_QUIET},
        )
        self._send({"do": "describe"})
        return self

    def ready(self) -> Engine:
        """Wait until the model is loaded. Entering a context only starts the child, so that two
        models can load at the same time."""
        if not self.version:
            self._describe(self._answer())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def _path(self, name: str) -> str:
        return str(Path(self._folder.name) / name)

    def _describe(self, answer: Mapping[str, Any]) -> None:
        self.version = answer["version"]
        self.outputs = tuple(answer["outputs"])
        self.layers = tuple(Layer(**layer) for layer in answer["layers"])
        self.inputs = tuple(
            Input(
                one["name"],
                None if one["shape"] is None else tuple(one["shape"]),
                one["dtype"],
                one.get("high"),
            )
            for one in answer["inputs"]
        )

    def run(
        self, arrays: Sequence[Array], layers: Sequence[str] = ()
    ) -> tuple[list[Array], dict[str, dict[str, list[Array]]]]:
        """(outputs, layer -> {"output": arrays, "input": arrays}) of the model on these inputs.

        What stands under "output" are candidates for what other frameworks call its output: a
        recurrent layer's series, its last states.
        """
        self.ready()
        self._runs += 1
        files = []
        for number, array in enumerate(arrays):
            files.append(self._path(f"run{self._runs}-in{number}.npy"))
            np.save(files[-1], array, allow_pickle=False)
        stem = self._path(f"run{self._runs}-")
        request = {"do": "run", "inputs": files, "layers": list(layers), "stem": stem}
        self._send(request)
        answer = self._answer()
        outputs = [self._take(file) for file in answer["outputs"]]
        seen = {
            name: {side: [self._take(file) for file in files] for side, files in sides.items()}
            for name, sides in answer["layers"].items()
        }
        for file in files:
            os.unlink(file)
        return outputs, seen

    def _take(self, file: str) -> Array:
        array: Array = np.load(file, allow_pickle=False)
        os.unlink(file)
        return array

    # --- the line -------------------------------------------------------------------------------

    def _send(self, request: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def _answer(self) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = json.loads(self._line())
        if "missing" in answer:
            raise MissingExtraError(answer["missing"], advice=answer["advice"])
        if "error" in answer:
            raise FormatError(
                f"{self.model.engine} cannot {answer['when']} it: {answer['error']}",
                path=self.model.shown,
            )
        return answer

    def _line(self) -> bytes:
        """The next line of the child. Raises where it ends or takes too long."""
        stream = self._process.stdout
        assert stream is not None
        deadline = time.monotonic() + self.timeout
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._pending:
                left = deadline - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise FormatError(
                        f"{self.model.engine} took more than {self.timeout:g} seconds",
                        path=self.model.shown,
                        advice="--timeout SECONDS allows more.",
                    )
                block = os.read(stream.fileno(), 1 << 16)
                if not block:
                    raise self._died()
                self._pending += block
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _died(self) -> WtoolsError:
        code = self._process.wait()
        self._errors.flush()
        said = Path(self._path("stderr")).read_text("utf-8", "replace").strip()[-_TAIL:]
        how = f"ended with code {code}" if code >= 0 else f"was killed by signal {-code}"
        return FormatError(
            f"the process of {self.model.engine} {how}" + (f": {said}" if said else ""),
            path=self.model.shown,
        )
