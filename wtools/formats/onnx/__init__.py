"""ONNX: a protobuf ModelProto, read by our own lazy walker; nothing of onnx is imported.

wire, varints      the protobuf wire format, by offset
schema, parse      the messages; tensor_proto those of tensors; graph the values they become
tensors, sparse, external   from a stored tensor to lazy data
scopes, collect    who uses a value; which values are weights
quantized, names   what the graph tells of a weight
"""

from __future__ import annotations

from .reader import read
from .sniff import is_onnx as sniff

NAME = "onnx"
TITLE = "ONNX model: initializers, constants and learned attributes, with external data"
EXTENSIONS = (".onnx",)

__all__ = ["EXTENSIONS", "NAME", "TITLE", "read", "sniff"]
