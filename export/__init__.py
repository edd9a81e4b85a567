"""The training side: pictures and captions in, a bundle out."""

import itl_infer.encoder.runtime as _runtime  # before onnxruntime is, whose telemetry it ends

__all__: list[str] = []
del _runtime
