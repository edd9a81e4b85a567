"""The training side: pictures and captions in, a bundle out."""

import itl_infer.telemetry  # noqa: F401 (before anything imports onnxruntime)
