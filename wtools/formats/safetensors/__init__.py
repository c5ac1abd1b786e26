"""safetensors: a JSON header, then the tensors' bytes one after the other.

Specification: the section "Format" of the README of huggingface/safetensors.
"""

from __future__ import annotations

from ...files import Source
from ...tree import WeightTree

NAME = "safetensors"
TITLE = "safetensors files (.safetensors)"
EXTENSIONS = (".safetensors",)

MAX_HEADER = 100_000_000  # bytes, as in the reference library


def sniff(source: Source) -> bool:
    """Eight bytes of header length, then the `{` of a JSON object.

    A length above the format's cap is still claimed, so that the error can say so, unless the
    eight bytes are text.
    """
    if source.size < 10:
        return False
    head = source.pread(0, min(source.size, 64))
    length, text = int.from_bytes(head[:8], "little"), head[8:].lstrip(b" \t\r\n")
    if length <= MAX_HEADER:
        return text[:1] == b"{"
    return text[:2] in (b'{"', b"{}") and not all(32 <= byte < 127 for byte in head[:8])


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The file's tensors, lazily. See `reader.read`."""
    from .reader import read

    return read(source, root=root)
