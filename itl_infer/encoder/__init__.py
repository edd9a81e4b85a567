"""Run the graphs of a bundle on the CPU: pixels or ids in, unit embeddings out. Nothing else imports onnxruntime."""

from itl_infer.encoder.encoders import (
    ImageEncoder,
    TextEncoder,
    WeightedTextEncoder,
    sums_of_products_overflow,
)

__all__ = ["ImageEncoder", "TextEncoder", "WeightedTextEncoder", "sums_of_products_overflow"]
