"""A process that reads Keras .h5 files for another one, within limits.

No code in a file is run, and no other file is read for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from export.errors import ExportError
from export.limited.reader import answer_with

Arrays = dict[str, npt.NDArray[np.float32]]  # of a layer, by their short names


def main() -> None:
    """What it does all its life."""
    answer_with(read)


def read(question: dict[str, Any], path: Path) -> tuple[dict[str, Any], list[memoryview]]:
    """The layers of a file, and the bytes of their arrays, one behind the other. Raises ExportError."""
    said, parts = [], []
    for layer, arrays in _read_stack(path) if question["is_stack"] else _read_weights(path):
        said.append({**layer, "arrays": [[name, array.shape] for name, array in arrays.items()]})
        parts += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    return {"layers": said}, parts


def _read_stack(path: Path) -> list[tuple[dict[str, Any], Arrays]]:
    """The layers of a model that was saved whole, in data order: class, name and config, and their arrays."""
    with _open(path) as file:
        if "model_config" not in file.attrs:
            raise ExportError(
                f"{path} has no model_config: save the whole model with model.save, not only its weights"
            )
        model = json.loads(_text(file.attrs["model_config"]))
        datasets = _datasets(file, path)
        layers = []
        for entry in _entries(model, path):
            name, kind = entry["config"]["name"], _class_name(entry)
            if not (isinstance(name, str) and name.isprintable() and kind.isprintable()):
                raise ExportError(f"{path}: layer {name!r:.100} has no proper name: save the model again")
            prefix = f"model_weights/{name}/"
            inside = {key: data for key, data in datasets.items() if key.startswith(prefix)}
            arrays: Arrays = {}
            for key, dataset in inside.items():
                short = _short_name(key)
                if short in arrays:
                    raise ExportError(f"{path}: layer {name} has two weights called {short}")
                arrays[short] = _array(dataset, path)
            layer = {"class_name": kind, "name": name, "config": entry["config"]}
            layers.append((layer, arrays))
        return layers


def _read_weights(path: Path) -> list[tuple[dict[str, Any], Arrays]]:
    """The names of layers, and their arrays."""
    with _open(path) as file:
        layers: dict[str, Arrays] = {}
        for key, dataset in _datasets(file, path).items():
            parts = key.split("/")
            if parts[0] == "optimizer_weights":
                continue
            if parts[0] == "layers" and parts[-2] == "vars":
                layer = _text(dataset.parent.attrs["name"])
            else:
                layer = parts[1] if parts[0] == "model_weights" else parts[0]
            layers.setdefault(layer, {})[_short_name(key)] = _array(dataset, path)
        return [({"name": name}, arrays) for name, arrays in layers.items()]


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
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


def _datasets(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Every array by its full name. `visititems` follows no soft or external link, so it stays inside."""
    found: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(collect)
    # Keras does not compress: arrays that are larger than their file are made up, and could be of any size.
    size = path.stat().st_size
    for where, claimed in (
        *((f"{path}: {dataset.name}", dataset.nbytes) for dataset in found.values()),
        (path, sum(dataset.nbytes for dataset in found.values())),
    ):
        if claimed > size:
            raise ExportError(f"{where} claims {claimed} bytes in a smaller file: damaged, or not from Keras")
    return found


def _array(dataset: h5py.Dataset, path: Path) -> npt.NDArray[np.float32]:
    where = f"{path}: {dataset.name}"
    if dataset.external or dataset.is_virtual:
        raise ExportError(f"{where} lies in another file, which Keras never does: not read")
    if dataset.dtype.kind != "f":
        raise ExportError(f"{where} holds {dataset.dtype}, expected floating point weights")
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
