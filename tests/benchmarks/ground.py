"""What is measured with: photographs, bundles for several sides, and what this machine can do at best."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, shape_inference
from PIL import Image

from export.branches.encoders import ImageEncoder, image_branch
from export.graphs.quantize import quantize_image_encoder
from export.graphs.to_onnx import export_image_encoder
from export.trunk.of_bundle import trunk_of_bundle
from itl_infer.bundle import Bundle, load_bundle
from itl_infer.bundle.manifest import IMAGE_GRAPH, MANIFEST, write_manifest
from itl_infer.image import IMAGE_SUFFIXES, ImageRules, load_pixels
from tests.benchmarks.timing import sample

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_CALIBRATED_ON = 32  # photographs
# Rows, inner, columns: large and square, and as convolutions are.
_GEMMS = ((2048, 2048, 2048), (8192, 576, 192), (4096, 1152, 192), (4096, 768, 768), (1024, 1728, 384))


@dataclass(frozen=True)
class Graphs:
    """The image encoder for pictures of one side: in torch, and its two graphs."""

    side: int
    encoder: ImageEncoder
    float32: Path
    int8: Path
    pixels: np.ndarray[Any, Any]  # uint8 (32, side, side, 3)

    @cached_property
    def products(self) -> float:
        """Multiplications of convolutions and dense layers for one picture."""
        model = onnx.load(str(self.float32))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        graph = shape_inference.infer_shapes(model).graph
        shapes = {
            value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*graph.value_info, *graph.output)
        }
        kernels = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        count = 0
        for node in graph.node:
            if node.op_type == "Conv":
                count += int(np.prod(shapes[node.output[0]]) * np.prod(kernels[node.input[1]][1:]))
            elif node.op_type == "Gemm":
                count += int(np.prod(kernels[node.input[1]]))
        return count


@dataclass
class Ground:
    """A folder for what is made on the way, photographs of any kind, and how many pixels graphs take a side."""

    folder: Path
    photos: list[Path]
    sides: tuple[int, ...] = (256, 299)

    @cached_property
    def starter(self) -> Bundle:
        return load_bundle()

    def graphs(self, side: int) -> Graphs:
        return _graphs(self.folder, tuple(self.photos), side)

    def bundle(self, side: int) -> Path:
        """The starter with an image graph for pictures of this side, int8."""
        folder, graphs = self.folder / f"bundle-{side}", self.graphs(side)
        if not folder.is_dir():
            shutil.copytree(self.starter.path, folder, ignore=shutil.ignore_patterns("gallery", "index"))
            shutil.copy(graphs.int8, folder / IMAGE_GRAPH)
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            manifest["image"]["side"] = side
            manifest.pop("gallery", None)
            write_manifest(folder, manifest)
        return folder

    def many(self, count: int, photos: list[Path], name: str) -> Path:
        """A folder of `count` files: the photographs again and again, each with a content hash of its own."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for i in range(count):
            photo = photos[i % len(photos)]
            (folder / f"{i:05}{photo.suffix}").write_bytes(photo.read_bytes() + i.to_bytes(4, "big"))
        return folder

    def large(self, count: int) -> list[Path]:
        """`count` of the photographs as JPEGs of 12 megapixels."""
        paths = []
        for i, photo in enumerate(self.photos[:count]):
            paths.append(self.folder / f"large-{i:03}.jpg")
            with Image.open(photo) as image:
                image.convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC).save(
                    paths[-1], quality=90
                )
        return paths


def find_photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def open_graph(path: Path, threads: int = CORES) -> onnxruntime.InferenceSession:
    """As the package opens it."""
    return _open(path.read_bytes(), threads)


def _open(graph: bytes, threads: int = CORES) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@cache
def _graphs(folder: Path, photos: tuple[Path, ...], side: int) -> Graphs:
    pixels = np.stack([load_pixels(path, ImageRules(side=side)) for path in photos[:_CALIBRATED_ON]])
    torch.manual_seed(0)
    # Weights do not change the speed: the trunk of the starter, and a branch of chance.
    trunk = trunk_of_bundle(load_bundle().path)
    encoder = ImageEncoder(trunk, image_branch(trunk.feature_dim)).eval()
    float32, int8 = folder / f"float32-{side}.onnx", folder / f"int8-{side}.onnx"
    export_image_encoder(encoder, pixels[:5], float32)
    quantize_image_encoder(float32, int8, pixels)
    return Graphs(side, encoder, float32, int8, pixels)


@cache
def products_per_second(kind: Literal["float32", "int8"]) -> float:
    """The most multiplications a second that onnxruntime's matrix products reach, of some shapes, on all cores.

    int8: unsigned with signed bytes.
    """
    rng = np.random.default_rng(0)
    best = 0.0
    for rows, inner, columns in _GEMMS:
        if kind == "float32":
            node, types = "MatMul", (TensorProto.FLOAT, TensorProto.FLOAT)
            a, b = (rng.standard_normal(n, dtype=np.float32) for n in ((rows, inner), (inner, columns)))
        else:
            node, types = "MatMulInteger", (TensorProto.UINT8, TensorProto.INT32)
            a = rng.integers(0, 256, (rows, inner), dtype=np.uint8)
            b = rng.integers(-127, 128, (inner, columns), dtype=np.int8)
        graph = helper.make_graph(
            [helper.make_node(node, ["a", "b"], ["c"])],
            "gemm",
            [helper.make_tensor_value_info("a", types[0], a.shape)],
            [helper.make_tensor_value_info("c", types[1], [rows, columns])],
            [onnx.numpy_helper.from_array(b, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        session = _open(model.SerializeToString())
        fastest = min(sample(lambda s=session, a=a: s.run(None, {"a": a})) for _ in range(3))
        best = max(best, rows * inner * columns / fastest * 1000)
    return best


@cache
def bytes_per_second() -> float:
    """Read from memory, by the dot product of a long vector with itself on all cores."""
    a = np.ones(2**28, np.float32)
    return a.nbytes / min(sample(lambda: a @ a) / 1000 for _ in range(5))
