"""Ends onnxruntime's telemetry for this process and those that it starts; imported before anything imports that.

From 1.32 on it writes an id of the machine under the user's cache and calls an address of its maker: never here.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
