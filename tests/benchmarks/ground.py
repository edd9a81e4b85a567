"""What is measured with: photographs, bundles for several sides, and what this machine can do at best."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, shape_inference
from PIL import Image

from export.from_bundle import trunk_of_bundle
from export.model import ImageEncoder, image_branch
from export.quantize import quantize_image_encoder
from export.to_onnx import export_image_encoder
from itl_infer.bundle import Bundle, load_bundle
from itl_infer.image import IMAGE_SUFFIXES, ImageRules, load_pixels
from itl_infer.manifest import GOLDEN, IMAGE_GRAPH, MANIFEST, write_manifest
from tests.benchmarks.timing import sample

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_CALIBRATED_ON = 32  # photographs
_GEMM = 2048  # rows and columns


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
    """A folder for what is made on the way, and photographs of any kind."""

    folder: Path
    photos: list[Path]

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
            (folder / GOLDEN).unlink()
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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@cache
def _graphs(folder: Path, photos: tuple[Path, ...], side: int) -> Graphs:
    pixels = np.stack([load_pixels(path, ImageRules(side=side)) for path in photos[:_CALIBRATED_ON]])
    torch.manual_seed(0)
    # Weights do not change the speed: the trunk of the starter, and a branch of chance.
    encoder = ImageEncoder(trunk_of_bundle(load_bundle().path), image_branch(), "inception").eval()
    float32, int8 = folder / f"float32-{side}.onnx", folder / f"int8-{side}.onnx"
    export_image_encoder(encoder, pixels[:5], float32)
    quantize_image_encoder(float32, int8, pixels)
    return Graphs(side, encoder, float32, int8, pixels)


@cache
def float_products_per_second() -> float:
    """Of a large float32 matrix product on all cores."""
    a = np.random.default_rng(0).standard_normal((_GEMM, _GEMM), dtype=np.float32)
    return _GEMM**3 / min(sample(lambda: a @ a) / 1000 for _ in range(5))


@cache
def int8_products_per_second() -> float:
    """Of a large product of unsigned with signed bytes, onnxruntime's own, on all cores."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (_GEMM, _GEMM), dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "gemm",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [_GEMM, _GEMM])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, [_GEMM, _GEMM])],
        [onnx.numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = CORES
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    a = rng.integers(0, 256, (_GEMM, _GEMM), dtype=np.uint8)
    return _GEMM**3 / min(sample(lambda: session.run(None, {"a": a})) / 1000 for _ in range(5))


@cache
def bytes_per_second() -> float:
    """Read from memory, by a dot product of two long vectors on all cores."""
    a = np.ones(2**27, np.float32)
    return 2 * a.nbytes / min(sample(lambda: a @ a) / 1000 for _ in range(5))
