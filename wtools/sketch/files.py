"""Sketch files: the sketches of a model's tensors in an .npz archive, to be merged elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import CorruptError, FormatError, UsageError
from ..files import atomic
from .model import Sketch

SCHEMA = "wtools.sketch/1"


@dataclass(frozen=True)
class SketchFile:
    """Sketches by tensor name, and what is known of the file they were made from."""

    sketches: Mapping[str, Sketch]
    metadata: Mapping[str, Any] = field(default_factory=dict)


def save(
    path: str | os.PathLike[str],
    sketches: Mapping[str, Sketch],
    metadata: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Write sketches and `metadata` (JSON values) to `path`. Raises OutputError."""
    header = {
        "schema": SCHEMA,
        "metadata": dict(metadata or {}),
        "tensors": [{"name": name, "dtype": s.dtype} for name, s in sketches.items()],
    }
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for number, one in enumerate(sketches.values()):
        arrays |= {f"{number}/{key}": value for key, value in one.to_arrays().items()}
    with atomic(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str]) -> SketchFile:
    """Read a sketch file. Raises MissingError, CorruptError or FormatError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            if header.get("schema") != SCHEMA:
                raise FormatError(f"schema {header.get('schema')!r} is not known", path=path)
            sketches = {}
            for number, entry in enumerate(header["tensors"]):
                prefix = f"{number}/"
                arrays = {
                    key[len(prefix) :]: archive[key]
                    for key in archive.files
                    if key.startswith(prefix)
                }
                sketches[entry["name"]] = Sketch.from_arrays(entry["dtype"], arrays)
    except (KeyError, ValueError, OSError) as error:
        raise CorruptError(f"is not a sketch file: {error}", path=path) from error
    return SketchFile(sketches, header["metadata"])


def merge(files: list[SketchFile]) -> SketchFile:
    """Add up the sketches of equal names. Raises UsageError where dtypes differ."""
    if not files:
        raise UsageError("nothing to merge")
    merged: dict[str, Sketch] = {}
    for file in files:
        for name, one in file.sketches.items():
            merged[name] = merged[name].merge(one) if name in merged else one
    return SketchFile(merged, {"merged": [dict(file.metadata) for file in files]})
