"""Writes the int8 image graph of a bundle anew, as the exporter of today does: the same weights, a faster graph."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch

from export.branches.encoders import ImageEncoder, image_branch
from export.bundle.folder import new_folder, take_place
from export.bundle.gallery import index_gallery
from export.bundle.make import CALIBRATION_PICTURES, measure_recall, pixels_across
from export.errors import ExportError
from export.graphs.quantize import Drift, int8_graph
from export.graphs.to_onnx import export_image_encoder
from export.report import Reporter
from export.trunk.of_bundle import constants, trunk_of_bundle
from itl_infer.bundle import load_bundle
from itl_infer.bundle.manifest import GALLERY_INDEX, GOLDEN, IMAGE_GRAPH, write_manifest
from itl_infer.captions import CaptionDataset


def refresh_bundle(folder: Path, dataset: CaptionDataset, reporter: Reporter) -> Drift:
    """Replace the image graph of the int8 bundle `folder`; how far embeddings of test pictures of `dataset` moved.

    Calibrated on its train pictures, and measured anew on its test split; the bundle's own index is made again, and its
    fingerprint is another one. Raises ExportError where an embedding moves further than the drift recorded of int8
    explains; the bundle is then as it was.
    """
    bundle = load_bundle(folder)
    if not (quantization := bundle.manifest.get("quantization")):
        raise ExportError(f"{folder} is float32: nothing of it is quantised")
    test, train = dataset.split("test"), dataset.split("train")
    if not len(test) or not len(train):
        raise ExportError(f"{dataset.name} has no train or no test pictures: give it both")
    reporter.say(f"Exporting the image graph of {bundle.name} again")
    building = new_folder(folder)
    shutil.copytree(folder, building, ignore=shutil.ignore_patterns(GALLERY_INDEX), dirs_exist_ok=True)
    float_graph = building / "float32.onnx"
    with np.load(folder / GOLDEN) as golden:
        parity = export_image_encoder(image_encoder_of_bundle(folder), golden["pixel_values"], float_graph)
    calibration, held_out = (
        pixels_across(part, bundle.image_rules, CALIBRATION_PICTURES) for part in (train, test)
    )
    moved = int8_graph(
        float_graph, building / IMAGE_GRAPH, calibration, held_out, before=folder / IMAGE_GRAPH
    )
    float_graph.unlink()
    # Both graphs may be as far from the float32 one as int8 had been at first, to opposite sides: twice the angle.
    lowest = 1 - 4 * (1 - quantization["min_cosine"])
    if moved.min_cosine < lowest:
        shutil.rmtree(building)
        raise ExportError(
            f"{folder}: a picture moves to a cosine of {moved.min_cosine:.5f}, less than {lowest:.5f} and so"
            " more than two int8 graphs differ: not replaced"
        )
    manifest = {
        **bundle.manifest,
        "parity": {**bundle.manifest["parity"], "image_encoder": asdict(parity)},
    }
    write_manifest(building, manifest)
    measured = measure_recall(building, test, reporter)
    recalls = {**quantization["recall"], "int8": measured.recalls}
    quantization = {**quantization, "recall": recalls, "refreshed": asdict(moved)}
    write_manifest(building, {**manifest, "quantization": quantization, "recall": measured.summary()})
    if bundle.gallery_path:
        index_gallery(load_bundle(building))
    take_place(building, folder)
    return moved


def image_encoder_of_bundle(folder: Path) -> ImageEncoder:
    """Trunk and image branch of the bundle `folder`, with the errors of `trunk_of_bundle`."""
    trunk = trunk_of_bundle(folder)
    path = folder / IMAGE_GRAPH
    stored = constants(onnx.load(str(path)).graph)
    branch = image_branch(trunk.feature_dim)
    for name, parameter in branch.named_parameters():
        found = stored.get(f"branch.{name}")
        if found is None or found.shape != parameter.shape:
            raise ExportError(
                f"{path} has no branch.{name} of {tuple(parameter.shape)}: it was not exported here"
            )
        with torch.no_grad():
            parameter.copy_(found)
    return ImageEncoder(trunk, branch).eval()
