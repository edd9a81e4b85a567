"""Import timm, also beside a CPU build of torch."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

from export.errors import ExportError
from export.trunk.torchvision_models import torchvision_models


def timm_library() -> ModuleType:
    """The package `timm`; ExportError where it is not installed."""
    torchvision_models()  # timm imports torchvision, which this makes possible
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # what they import of torch warns of torch's own code
            return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        raise ExportError(f"the package {error.name} is not installed: pip install {error.name}") from error
