"""Whether sums of 8-bit products overflow on this CPU, found out by multiplying a few."""

from __future__ import annotations

from functools import cache

import numpy as np

# An ONNX graph of one node: c = MatMulInteger(a, b), a (1, 4) uint8, b (4, 1) int8, each value of b 127.
_PRODUCT = (
    b'\x08\x04:X\n\x18\n\x01a\n\x01b\x12\x01c"\rMatMulInteger\x12\x01g*\x0f\x08\x04\x08\x01\x10\x03B\x01bJ\x04'
    b"\x7f\x7f\x7f\x7fZ\x13\n\x01a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x01\n\x02\x08\x04b\x13\n\x01c\x12\x0e"
    b"\n\x0c\x08\x06\x12\x08\n\x02\x08\x01\n\x02\x08\x01B\x04\n\x00\x10\n"
)


@cache
def sums_of_products_overflow() -> bool:
    """True on x64 without VNNI, where onnxruntime sums unsigned times signed bytes in 16 bits.

    Embeddings of an int8 bundle would then be wrong: cosines of 0.7 to what they should be were seen.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(_PRODUCT, options, providers=["CPUExecutionProvider"])
    [[[found]]] = session.run(None, {"a": np.full((1, 4), 255, np.uint8)})
    return int(found) != 4 * 255 * 127
