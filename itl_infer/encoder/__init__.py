"""Run the graphs of a bundle on the CPU: pixels or ids in, unit embeddings out. Nothing else imports onnxruntime."""

from itl_infer.encoder.encoders import (
    ImageEncoder,
    TextEncoder,
    WeightedTextEncoder,
    require_unit_rows,
    sums_of_products_overflow,
)
from itl_infer.encoder.graph import LONGEST_GRAPH
from itl_infer.encoder.products import Products, products_are_fast
from itl_infer.encoder.runtime import onnxruntime

__all__ = [
    "LONGEST_GRAPH",
    "ImageEncoder",
    "Products",
    "TextEncoder",
    "WeightedTextEncoder",
    "onnxruntime",
    "products_are_fast",
    "require_unit_rows",
    "sums_of_products_overflow",
]
