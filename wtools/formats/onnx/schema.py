"""The messages of an ONNX model: field numbers and wire types, from onnx/onnx.proto (IR 14).

Messages that the reader keeps are parsed by `parse.py` with these tables; the others (types,
device configurations, ...) are walked by `check`, so that what protobuf would refuse is refused.
"""

from __future__ import annotations

from .wire import DEPTH, FIXED32, FIXED64, LEN, VARINT, Schema, Wire

_V, _L, _F = (VARINT,), (LEN,), (FIXED32,)
_VS, _FS, _DS = (VARINT, LEN), (FIXED32, LEN), (FIXED64, LEN)  # repeated: packed or not

MODEL: Schema = {
    1: _V,  # ir_version
    2: _L,  # producer_name
    3: _L,  # producer_version
    4: _L,  # domain
    5: _V,  # model_version
    6: _L,  # doc_string
    7: _L,  # graph
    8: _L,  # opset_import
    14: _L,  # metadata_props
    20: _L,  # training_info
    25: _L,  # functions
    26: _L,  # configuration
}
GRAPH: Schema = {
    1: _L,  # node
    2: _L,  # name
    5: _L,  # initializer
    10: _L,  # doc_string
    11: _L,  # input
    12: _L,  # output
    13: _L,  # value_info
    14: _L,  # quantization_annotation
    15: _L,  # sparse_initializer
    16: _L,  # metadata_props
}
NODE: Schema = {
    1: _L,  # input
    2: _L,  # output
    3: _L,  # name
    4: _L,  # op_type
    5: _L,  # attribute
    6: _L,  # doc_string
    7: _L,  # domain
    8: _L,  # overload
    9: _L,  # metadata_props
    10: _L,  # device_configurations
}
ATTRIBUTE: Schema = {
    1: _L,  # name
    2: _F,  # f
    3: _V,  # i
    4: _L,  # s
    5: _L,  # t
    6: _L,  # g
    7: _FS,  # floats
    8: _VS,  # ints
    9: _L,  # strings
    10: _L,  # tensors
    11: _L,  # graphs
    13: _L,  # doc_string
    14: _L,  # tp
    15: _L,  # type_protos
    20: _V,  # type
    21: _L,  # ref_attr_name
    22: _L,  # sparse_tensor
    23: _L,  # sparse_tensors
}
TENSOR: Schema = {
    1: _VS,  # dims
    2: _V,  # data_type
    3: _L,  # segment
    4: _FS,  # float_data
    5: _VS,  # int32_data
    6: _L,  # string_data
    7: _VS,  # int64_data
    8: _L,  # name
    9: _L,  # raw_data
    10: _DS,  # double_data
    11: _VS,  # uint64_data
    12: _L,  # doc_string
    13: _L,  # external_data
    14: _V,  # data_location
    16: _L,  # metadata_props
}
SPARSE: Schema = {1: _L, 2: _L, 3: _VS}  # values, indices, dims
FUNCTION: Schema = {
    1: _L,  # name
    4: _L,  # input
    5: _L,  # output
    6: _L,  # attribute
    7: _L,  # node
    8: _L,  # doc_string
    9: _L,  # opset_import
    10: _L,  # domain
    11: _L,  # attribute_proto
    12: _L,  # value_info
    13: _L,  # overload
    14: _L,  # metadata_props
}
TRAINING: Schema = {1: _L, 2: _L, 3: _L, 4: _L}  # initialization, algorithm, two bindings
OPSET: Schema = {1: _L, 2: _V}  # domain, version
ENTRY: Schema = {1: _L, 2: _L}  # key, value
VALUE: Schema = {1: _L, 2: _L, 3: _L, 4: _L}  # name, type, doc_string, metadata_props
TYPE: Schema = {1: _L, 4: _L, 5: _L, 6: _L, 7: _L, 8: _L, 9: _L}
TENSOR_TYPE: Schema = {1: _V, 2: _L}  # elem_type, shape
SHAPE: Schema = {1: _L}  # dim
DIM: Schema = {1: _V, 2: _L, 3: _L}  # dim_value, dim_param, denotation

# Messages that nothing is read from: their fields, and which of these are messages again.
_PLAIN: dict[str, tuple[Schema, dict[int, str]]] = {
    "entry": (ENTRY, {}),
    "value": (VALUE, {2: "type", 4: "entry"}),
    "type": (TYPE, {1: "tensor_type", 4: "nested", 5: "map", 7: "opaque", 8: "tensor_type",
                    9: "nested"}),
    "tensor_type": (TENSOR_TYPE, {2: "shape"}),
    "nested": ({1: _L}, {1: "type"}),
    "map": ({1: _V, 2: _L}, {2: "type"}),
    "opaque": ({1: _L, 2: _L}, {}),
    "shape": (SHAPE, {1: "dim"}),
    "dim": (DIM, {}),
    "annotation": ({1: _L, 2: _L}, {2: "entry"}),
    "segment": ({1: _V, 2: _V}, {}),
    "configuration": ({1: _L, 2: _V, 3: _L}, {}),
    "node_configuration": ({1: _L, 2: _L, 3: _V}, {2: "sharding"}),
    "sharding": ({1: _L, 2: _VS, 3: _L, 4: _L}, {3: "int_list", 4: "sharded_dim"}),
    "int_list": ({1: _V, 2: _VS}, {}),
    "sharded_dim": ({1: _V, 2: _L}, {2: "simple_dim"}),
    "simple_dim": ({1: _V, 2: _L, 3: _V}, {}),
}  # fmt: skip


def check(wire: Wire, message: str, start: int, end: int, depth: int) -> None:
    """Walk a message that is not kept. Raises CorruptError where protobuf would fail."""
    deeper(wire, start, depth)
    schema, inside = _PLAIN[message]
    for number, kind, a, b in wire.fields(start, end, schema):
        if kind == LEN and number in inside:
            check(wire, inside[number], a, b, depth + 1)


def deeper(wire: Wire, at: int, depth: int) -> None:
    """Raise CorruptError at a message nested deeper than protobuf allows."""
    if depth > DEPTH:
        raise wire.bad(f"messages are nested deeper than {DEPTH}", at)
