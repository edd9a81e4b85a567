"""Import torchvision's models, also beside a CPU build of torch.

torchvision from PyPI is linked against CUDA. Beside a CPU-only torch its C++ operators do not load, and Python code
that registers something for them fails at import: "operator torchvision::nms does not exist" (then `qnms`). The
classification networks use none of these operators, so where the import fails for this reason alone, their
schemas are declared and the import is tried again. Everything else is raised as it is.
"""

from __future__ import annotations

import importlib
import re
import sys
from types import ModuleType

import torch

# Signatures of torchvision/csrc/ops; only their existence matters here.
_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_MISSING = re.compile(r"operator torchvision::(\w+) does not exist")


def torchvision_models() -> ModuleType:
    """The module `torchvision.models`."""
    for _ in range(len(_SCHEMAS) + 1):
        try:
            return importlib.import_module("torchvision.models")
        except RuntimeError as error:
            found = _MISSING.search(str(error))
            if found is None or found[1] not in _SCHEMAS:
                raise
            torch.library.define(f"torchvision::{found[1]}", _SCHEMAS[found[1]].removeprefix(found[1]))
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]  # a half-made import would be found again as it is
    raise AssertionError("unreachable: each round declares one operator more")
