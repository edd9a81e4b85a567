"""A real bundle that can be worked out by hand: pictures are their mean colour, words are colours.

The first three of 128 dimensions are red, green and blue. A picture's embedding is its mean colour, a text's
the sum of its words' colours, both over a constant 0.01 in the fourth dimension and of unit length.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from itl_infer.bundle.manifest import describe_text, write_manifest
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor, TextRules, format_vocabulary

SIDE = 16
EMBED_DIM = 128
COLOURS: dict[str, tuple[float, float, float]] = {  # stem -> red, green, blue
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "bright": (1, 1, 1),
    "surfer": (0, 0, 1),
    "wave": (0, 0.5, 1),
}


def make_tiny_bundle(
    folder: Path,
    *,
    name: str = "tiny",
    embed_dim: int = EMBED_DIM,
    gallery: bool = False,
    rules: TextRules = NLTK_TEXT_RULES,
    colours: dict[str, tuple[float, float, float]] = COLOURS,
    captions: Sequence[str] = ("Red surfers", "a bright green wave", "blue"),
    **changes: Any,
) -> Path:
    """Write a bundle to `folder` that reads text by `rules` and knows the stems of `colours`.

    `captions` are its golden ones; `changes` are laid over its manifest before it is hashed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = word_table(colours)
    onnx.save(image_graph(embed_dim), folder / "image_encoder.onnx")
    onnx.save(text_graph(embed_dim, table), folder / "text_encoder.onnx")
    (folder / "vocabulary.txt").write_bytes(format_vocabulary(colours))
    if rules.forms:
        (folder / "forms.txt").write_bytes(rules.forms.content)
    pixels = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    ids = TextProcessor(rules, [*colours]).input_ids(captions)
    np.savez(
        folder / "golden.npz",
        pixel_values=pixels,
        image_embeddings=unit_rows(pixels.mean(axis=(1, 2)) / 255, embed_dim),
        captions=np.array(captions),
        input_ids=ids,
        text_embeddings=unit_rows(table[ids].sum(axis=1), embed_dim),
    )
    if gallery:
        save_colours(folder / "gallery", ["red", "green", "blue"])
    manifest = {
        "name": name,
        "domain": "plain colours",
        "embed_dim": embed_dim,
        "image": {"side": SIDE, "resize": "bilinear-antialias", "pixel_scaling": "unit"},
        "text": describe_text(rules),
        "precision": {"image_encoder": "float32", "text_encoder": "float32"},
        "golden": {"image_min_cosine": 0.9999, "text_min_cosine": 0.9999},
        **changes,
    }
    write_manifest(folder, manifest)
    return folder


def save_colours(folder: Path, names: list[str]) -> list[Path]:
    """One plain picture for each colour, `<name>.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in names]
    for name, path in zip(names, paths, strict=True):
        Image.new("RGB", (20, 10), name if name != "green" else "lime").save(path)
    return paths


def word_table(
    colours: dict[str, tuple[float, float, float]] = COLOURS,
) -> npt.NDArray[np.float64]:
    """(1 + stems, 3): the colour of each id; id 0 is padding."""
    return np.array([(0, 0, 0), *colours.values()], np.float64)


def unit_rows(colours: npt.NDArray[np.float64], embed_dim: int = EMBED_DIM) -> npt.NDArray[np.float32]:
    """(N, 3) to (N, embed_dim): what the graphs below compute."""
    rows = np.zeros((len(colours), embed_dim))
    rows[:, :3] = colours
    rows[:, 3] = 0.01
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def image_graph(embed_dim: int = EMBED_DIM) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["pixel_values"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["colours"]),
    ]
    pixels = helper.make_tensor_value_info("pixel_values", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
    return _model(pixels, nodes, {"white": np.float32(255)}, embed_dim)


def text_graph(embed_dim: int, table: npt.NDArray[np.float64]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("ReduceSum", ["words", "axis"], ["colours"], keepdims=0),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "T"])
    constants = {"table": table.astype(np.float32), "axis": np.array([1], np.int64)}
    return _model(ids, nodes, constants, embed_dim)


def _model(
    source: onnx.ValueInfoProto, nodes: list[onnx.NodeProto], constants: dict[str, Any], embed_dim: int
) -> onnx.ModelProto:
    """A graph that makes "colours" (N, 3) of its input, and unit embeddings of these."""
    base = np.zeros(embed_dim, np.float32)
    base[3] = 0.01
    constants = {**constants, "widen": np.eye(3, embed_dim, dtype=np.float32), "base": base}
    nodes = [
        *nodes,
        helper.make_node("MatMul", ["colours", "widen"], ["wide"]),
        helper.make_node("Add", ["wide", "base"], ["rows"]),
        helper.make_node("ReduceL2", ["rows"], ["lengths"], axes=[1], keepdims=1),
        helper.make_node("Div", ["rows", "lengths"], ["embeddings"]),
    ]
    output = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", embed_dim])
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [source], [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
