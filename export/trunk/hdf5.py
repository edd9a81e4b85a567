"""What a Keras .h5 file holds, as plain data: `export/limited/hdf5.py` reads it in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import ExportError
from export.limited.reader import LimitedReader

Weights = dict[str, npt.NDArray[np.float32]]
"""The arrays of one layer by their short names: "kernel", "bias", "moving_mean"."""

_reader = LimitedReader("from export.limited.hdf5 import main; main()", "Keras .h5 file")


@dataclass(frozen=True)
class KerasLayer:
    """One layer of a stack. A class from outside Keras has its module or package in `class_name`."""

    class_name: str
    name: str
    config: dict[str, Any]
    weights: Weights


def read_stack(path: Path) -> list[KerasLayer]:
    """The layers of a `Sequential` or one-chain functional model saved with `model.save`, in data order.

    Reads what Keras 2 and Keras 3 write. ExportError for a file that is damaged or holds something else, or a
    model that is not one chain.
    """
    return [
        KerasLayer(layer["class_name"], layer["name"], layer["config"], weights)
        for layer, weights in _read(path, is_stack=True)
    ]


def read_weights(path: Path) -> dict[str, Weights]:
    """Layer name -> its weights, from what `save_weights` or `model.save` of Keras 2 or 3 writes.

    Keras 3's `.weights.h5` numbers the weights of a layer instead of naming them ("0", "1", ...), and numbers
    the layers anew; their names, which count here, are kept in an attribute.
    """
    return {layer["name"]: weights for layer, weights in _read(path, is_stack=False)}


def _read(path: Path, *, is_stack: bool) -> Iterator[tuple[dict[str, Any], Weights]]:
    """Each layer as JSON, with its arrays. Raises ExportError."""
    if not path.is_file():
        raise ExportError(f"no file at {path}: give the path of a Keras .h5 file")
    most = 2 * path.stat().st_size  # numbers of 16 bits become some of 32
    head, content = _reader.read(path, most, is_stack=is_stack)
    return _unpack(head["layers"], content)


def _unpack(layers: list[dict[str, Any]], content: bytes) -> Iterator[tuple[dict[str, Any], Weights]]:
    place = 0
    for layer in layers:
        weights: Weights = {}
        for name, shape in layer["arrays"]:
            count = int(np.prod(shape, dtype=np.int64))
            weights[name] = np.frombuffer(content, np.float32, count, place).reshape(shape).copy()
            place += weights[name].nbytes
        yield layer, weights
