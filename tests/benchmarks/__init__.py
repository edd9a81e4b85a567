"""What the pages say of speed, measured: no benchmark begins onnxruntime's telemetry."""

import itl_infer.telemetry  # noqa: F401 (before anything imports onnxruntime)
