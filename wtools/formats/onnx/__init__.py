"""ONNX: a protobuf ModelProto, read by our own lazy walker; nothing of onnx is imported.

recognize          is a file an ONNX model?
wire, varints      the protobuf wire format, by offset
schema, parse      the messages; tensor_proto those of tensors; graph the values they become
tensors, sparse, external   from a stored tensor to lazy data
scopes, collect    who uses a value; which values are weights
quantized, names   what the graph tells of a weight
"""

from __future__ import annotations

from ...files import Source
from ...tree import WeightTree

NAME = "onnx"
TITLE = "ONNX model: initializers, constants and learned attributes, with external data"
EXTENSIONS = (".onnx",)

# what a ModelProto may begin with: the tag of ir_version, producer_name, graph or opset_import
_FIRST = (b"\x08", b"\x12", b"\x3a", b"\x42")


def sniff(source: Source) -> bool:
    """Is it a ModelProto? See `recognize.is_onnx`."""
    if source.size < 4 or source.pread(0, 1) not in _FIRST:
        return False
    from .recognize import is_onnx

    return is_onnx(source)


def read(source: Source, *, root: str | None = None) -> WeightTree:
    """The model's weights, lazily. See `reader.read`."""
    from .reader import read

    return read(source, root=root)
