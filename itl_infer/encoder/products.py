"""Integer products of 8-bit codes, by the instructions that onnxruntime has for them and numpy has not.

A graph of four nodes, written as protobuf writes it: the products of rows of codes with queries, and of each group of
rows the largest product, so that whoever looks for the best rows need not look at all of them.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from itl_infer.encoder.encoders import sums_of_products_overflow
from itl_infer.encoder.protobuf import as_field, as_number
from itl_infer.encoder.runtime import onnxruntime

ZERO_POINT = 128  # what a code of 0 is written as: the instructions multiply unsigned by signed bytes

_FLOAT, _UINT8, _INT8, _INT32, _INT64 = 1, 2, 3, 6, 7  # of TensorProto.DataType
_INT_ATTRIBUTE, _INTS_ATTRIBUTE = 2, 7  # of AttributeProto.AttributeType
_OPSET, _IR_VERSION = 13, 8


class Products:
    """Products with `queries` (D, Q) int8 of up to `rows` rows at a time. Not for two threads at once."""

    def __init__(self, queries: npt.NDArray[np.int8], rows: int, group: int) -> None:
        self._queries = np.ascontiguousarray(queries)
        self._group = group
        self._products = np.empty((rows, queries.shape[1]), np.int32)
        self._maxima = np.empty((rows // group, queries.shape[1]), np.float32)
        self._session = _session()
        self._bound = self._session.io_binding()
        self._bind("queries", self._queries)
        self._rows = -1

    def of(self, codes: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The products (n, Q) of rows (n, D) of codes, and the largest of each group of rows (n / group, Q).

        `codes` is contiguous, and n a multiple of the group. The next call writes over what this one gave.
        """
        rows, groups = len(codes), len(codes) // self._group
        products, maxima = self._products[:rows], self._maxima[:groups]
        if rows != self._rows:
            self._shape = np.array([groups, self._group, products.shape[1]])
            self._bind("shape", self._shape)
            for name, array in (("products", products), ("maxima", maxima)):
                self._bound.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
            self._rows = rows
        self._bind("codes", codes)
        self._session.run_with_iobinding(self._bound)
        return products, maxima

    def _bind(self, name: str, array: npt.NDArray[Any]) -> None:
        self._bound.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


@cache
def products_are_fast() -> bool:
    """Whether this CPU has instructions for products of bytes (VNNI), by which codes are read faster than floats.

    Found out by a product that comes out otherwise without them: a matter of the CPU alone, not of time. Of arm64
    nothing has been measured yet.
    """
    return platform.machine().lower() in ("x86_64", "amd64") and not sums_of_products_overflow()


@cache
def _session() -> Any:
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # whoever asks has threads of its own
    return onnxruntime().InferenceSession(_graph(), options, providers=["CPUExecutionProvider"])


def _graph() -> bytes:
    """maxima = Cast(ReduceMax(Reshape(products, shape))), products = MatMulInteger(codes - 128, queries)."""
    axis = _text(1, "axes") + as_number(8, 1) + as_number(20, _INTS_ATTRIBUTE)
    no_axis = _text(1, "keepdims") + as_number(3, 0) + as_number(20, _INT_ATTRIBUTE)
    to_float = _text(1, "to") + as_number(3, _FLOAT) + as_number(20, _INT_ATTRIBUTE)
    nodes = [
        _node("MatMulInteger", ["codes", "queries", "zero"], "products"),
        _node("Reshape", ["products", "shape"], "groups"),
        _node("ReduceMax", ["groups"], "integer maxima", axis, no_axis),
        _node("Cast", ["integer maxima"], "maxima", to_float),
    ]
    graph = b"".join(as_field(1, node) for node in nodes) + _text(2, "products of codes")
    graph += as_field(5, as_number(2, _UINT8) + _text(8, "zero") + as_field(9, bytes([ZERO_POINT])))
    for name, kind, rank in (("codes", _UINT8, 2), ("queries", _INT8, 2), ("shape", _INT64, 1)):
        graph += as_field(11, _value(name, kind, rank))
    for name, kind, rank in (("products", _INT32, 2), ("maxima", _FLOAT, 2)):
        graph += as_field(12, _value(name, kind, rank))
    return as_number(1, _IR_VERSION) + as_field(7, graph) + as_field(8, _text(1, "") + as_number(2, _OPSET))


def _node(op_type: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    """A NodeProto."""
    named = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, op_type)
    return named + b"".join(as_field(5, attribute) for attribute in attributes)


def _value(name: str, kind: int, rank: int) -> bytes:
    """A ValueInfoProto: a tensor whose dimensions may be of any size, but the only one of a shape, which is 3."""
    dimensions = as_field(1, as_number(1, 3)) if rank == 1 else rank * as_field(1, b"")
    return _text(1, name) + as_field(2, as_field(1, as_number(1, kind) + as_field(2, dimensions)))


def _text(number: int, text: str) -> bytes:
    return as_field(number, text.encode())
