"""What a Keras .h5 file holds, as plain data: no code in it is run, and no other file is read for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from export.errors import ExportError

Weights = dict[str, npt.NDArray[np.float32]]
"""The arrays of one layer by their short names: "kernel", "bias", "moving_mean"."""


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
    with _open(path) as file:
        if "model_config" not in file.attrs:
            raise ExportError(
                f"{path} has no model_config: save the whole model with model.save, not only its weights"
            )
        model = json.loads(_text(file.attrs["model_config"]))
        datasets = _datasets(file)
        layers = []
        for entry in _entries(model, path):
            name = entry["config"]["name"]
            prefix = f"model_weights/{name}/"
            inside = {key: data for key, data in datasets.items() if key.startswith(prefix)}
            weights: Weights = {}
            for key, dataset in inside.items():
                short = _short_name(key)
                if short in weights:
                    raise ExportError(f"{path}: layer {name} has two weights called {short}")
                weights[short] = _array(dataset, path)
            layers.append(KerasLayer(_class_name(entry), name, entry["config"], weights))
        return layers


def read_weights(path: Path) -> dict[str, Weights]:
    """Layer name -> its weights, from what `save_weights` or `model.save` of Keras 2 or 3 writes.

    Keras 3's `.weights.h5` numbers the weights of a layer instead of naming them ("0", "1", ...), and numbers
    the layers anew; their names, which count here, are kept in an attribute.
    """
    with _open(path) as file:
        layers: dict[str, Weights] = {}
        for key, dataset in _datasets(file).items():
            parts = key.split("/")
            if parts[0] == "optimizer_weights":
                continue
            if parts[0] == "layers" and parts[-2] == "vars":
                layer = _text(dataset.parent.attrs["name"])
            else:
                layer = parts[1] if parts[0] == "model_weights" else parts[0]
            layers.setdefault(layer, {})[_short_name(key)] = _array(dataset, path)
        return layers


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise ExportError(f"no file at {path}: give the path of a Keras .h5 file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ExportError:
        raise
    except (
        Exception
    ) as error:  # a damaged file makes h5py and the walk through its JSON raise almost anything
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"{path} is damaged or no Keras .h5 file ({type(error).__name__}: {reason}): copy it again"
        ) from error


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Every array by its full name. `visititems` follows no soft or external link, so it stays inside."""
    found: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(collect)
    return found


def _array(dataset: h5py.Dataset, path: Path) -> npt.NDArray[np.float32]:
    where = f"{path}: {dataset.name}"
    if dataset.external or dataset.is_virtual:
        raise ExportError(f"{where} lies in another file, which Keras never does: not read")
    if dataset.dtype.kind != "f":
        raise ExportError(f"{where} holds {dataset.dtype}, expected floating point weights")
    # Keras does not compress, so an array larger than its file is made up, and could be of any size.
    if dataset.nbytes > path.stat().st_size:
        raise ExportError(
            f"{where} claims {dataset.nbytes} bytes in a smaller file: damaged, or not from Keras"
        )
    array = np.asarray(dataset[()], dtype=np.float32)
    if not np.isfinite(array).all():
        raise ExportError(
            f"{where} has values that are no numbers: the training went wrong, or the file is damaged"
        )
    return array


def _entries(model: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The layers of a `model_config` as {"class_name", "config", ...}, in the order of the data."""
    kind, config = _class_name(model), model["config"]
    if kind == "Sequential":
        return (
            list(config) if isinstance(config, list) else list(config["layers"])
        )  # a bare list before Keras 2.2.3
    if kind in ("Functional", "Model"):
        return _chain(config, path)
    raise ExportError(f"{path} holds a {kind}: only Sequential and functional models can be imported")


def _chain(config: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The layers of a functional model from its input to its output, where that is all there is."""
    unused = {layer["name"]: layer for layer in config["layers"]}
    sources, chain = _sources(config["output_layers"]), []
    where = "the model has {} outputs"
    while sources:
        if len(sources) > 1:
            raise ExportError(
                f"{path}: {where.format(len(sources))}: only one chain of layers can be imported"
            )
        (name,) = sources
        if name not in unused:
            raise ExportError(
                f"{path}: layer {name} is missing or used twice: only one chain can be imported"
            )
        chain.append(unused.pop(name))
        sources = _sources(chain[-1]["inbound_nodes"])
        where = f"layer {name} has {{}} inputs"
    if unused:
        raise ExportError(f"{path}: layer {next(iter(unused))} is not on the one chain that can be imported")
    return chain[::-1]


def _sources(node: object) -> list[str]:
    """The layers that a node of the graph takes its tensors from.

    Keras 2 writes a tensor as `["dense", 0, 0, {}]`, Keras 3 as `{"class_name": "__keras_tensor__", "config":
    {"keras_history": ["dense", 0, 0]}}`; both lie in lists of nodes.
    """
    if isinstance(node, dict):
        return [source for value in node.values() for source in _sources(value)]
    if isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and all(type(index) is int for index in node[1:3]):
            return [node[0]]
        return [source for value in node for source in _sources(value)]
    return []


def _class_name(entry: dict[str, Any]) -> str:
    name = str(entry.get("registered_name") or entry["class_name"])  # registered: "Package>Class"
    module = str(entry.get("module") or "keras")
    return name if module.split(".")[0] == "keras" else f"{module}.{name}"


def _short_name(key: str) -> str:
    """ "model_weights/dense/dense/kernel:0" -> "kernel"."""
    return key.rpartition("/")[2].removesuffix(":0")


def _text(attribute: object) -> str:
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)
