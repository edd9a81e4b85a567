"""Assembles a bundle: graphs, vocabulary, golden embeddings, gallery, index, and what was measured of them.

Everything is built in a folder of its own and takes the bundle's place when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.bundle.carry import carry_if_possible
from export.bundle.folder import new_folder, take_place
from export.bundle.gallery import Gallery, copy_gallery, index_gallery
from export.errors import ExportError
from export.graphs.quantize import drift_between, int8_graph
from export.graphs.to_onnx import export_image_encoder, export_text_encoder
from export.graphs.weights import quantize_rows
from export.report import Reporter
from export.trunk.trunk import Trunk
from itl_infer.bundle import Bundle, load_bundle
from itl_infer.bundle.manifest import (
    CARD,
    FORMS,
    GALLERY,
    GOLDEN,
    IMAGE_GRAPH,
    TEXT_GRAPH,
    VOCABULARY,
    WORDS,
    describe_text,
    write_manifest,
)
from itl_infer.captions import CaptionDataset
from itl_infer.evaluation import Evaluation, evaluate_dataset
from itl_infer.evaluation.metrics import Figures
from itl_infer.image import ImageRules, load_pixels
from itl_infer.text import TextProcessor, format_spellings, format_vocabulary

GOLDEN_PICTURES, GOLDEN_CAPTIONS = 8, 32
CALIBRATION_PICTURES = 256
# Int8 kernels differ between processors: what `bundle verify` allows beyond the drift measured here.
INT8_SLACK = 0.02
FLOAT_MIN_COSINE = 0.9999
ROWS_MIN_COSINE = 0.999  # of texts, with rows of int8


@dataclass(frozen=True)
class Trained:
    """A trained model with the rules that its inputs were made by."""

    image_encoder: nn.Module  # uint8 (N, S, S, 3) -> unit rows (N, D)
    text_encoder: nn.Module  # int64 (N, T) -> unit rows (N, D)
    trunk: Trunk  # that of the image encoder, at the side of the bundle
    processor: TextProcessor

    @property
    def image_rules(self) -> ImageRules:
        return self.trunk.image_rules


def make_bundle(
    out: Path,
    trained: Trained,
    dataset: CaptionDataset,
    *,
    name: str,
    domain: str,
    training: dict[str, Any],
    precision: str = "int8",
    text_precision: str = "float32",
    shown: CaptionDataset | None = None,
    gallery: Gallery | None = None,
    also_measure: Callable[[Bundle], dict[str, Any]] | None = None,
    card: Callable[[dict[str, Any]], str] | None = None,
    carry: bool = False,
    reporter: Reporter,
) -> Figures:
    """Write the bundle `out`, replacing one that is there; returns its figures on the test split of `dataset`.

    `precision` is "int8" or "float32", of the image graph; `text_precision` likewise, of the rows of the text graph.
    `shown` are pictures that may go along with the bundle, by default those of the test split: golden ones, and the
    gallery. With `carry` it reads unknown words as known ones, where what that takes is installed. What `also_measure`
    finds, in every precision, goes into the manifest as `measured`; `card` writes CARD.md, for people, from the
    manifest. Raises ExportError where a graph does not compute what torch does; `out` is then as it was.
    """
    test, train = dataset.split("test"), dataset.split("train")
    if len(test) < GOLDEN_PICTURES or not len(train):
        raise ExportError(f"{dataset.name} has {len(test)} test pictures: expected {GOLDEN_PICTURES} or more")
    shown = test if shown is None else shown
    building = new_folder(out)
    reporter.say("Exporting the graphs and comparing them with torch")
    golden = pixels_across(shown, trained.image_rules, GOLDEN_PICTURES)
    written = {
        "name": name,
        "domain": domain,
        **_write_float32(building, trained, golden, shown.captions[:GOLDEN_CAPTIONS]),
        "training": training,
    }
    write_manifest(building, written)
    if carry:
        carry_if_possible(building, reporter)
    measured = {"float32": _measure(building, test, also_measure, reporter)}
    if precision == "int8":
        reporter.say("Quantising the image graph to int8")
        calibration, held_out = (
            pixels_across(part, trained.image_rules, CALIBRATION_PICTURES) for part in (train, test)
        )
        written |= _write_int8(building, written, calibration, held_out, golden, text_precision == "int8")
        write_manifest(building, written)
        measured["int8"] = _measure(building, test, also_measure, reporter)
    manifest = _with_measured(written, measured)
    if card:
        (building / CARD).write_text(card(manifest), encoding="utf-8")
    if gallery:
        copy_gallery(shown, gallery, building / GALLERY)
    write_manifest(building, manifest)
    if gallery:
        index_gallery(load_bundle(building))
    take_place(building, out)
    return measured[precision].recall.figures


def measure_recall(folder: Path, test: CaptionDataset, reporter: Reporter) -> Evaluation:
    """What the bundle in `folder`, the graphs that people will run, makes of the test pictures."""
    bundle = load_bundle(folder)
    reporter.say(f"Measuring {bundle.name} on {len(test)} pictures and {len(test.captions)} captions")
    return evaluate_dataset(bundle, test, "test", lambda state: reporter.progress(state.done, state.total))


@dataclass(frozen=True)
class _Measured:
    """What a bundle in one precision makes of the test pictures, and what else was found of it."""

    recall: Evaluation
    also: dict[str, Any] | None


def _measure(
    building: Path,
    test: CaptionDataset,
    also_measure: Callable[[Bundle], dict[str, Any]] | None,
    reporter: Reporter,
) -> _Measured:
    recall = measure_recall(building, test, reporter)
    return _Measured(recall, also_measure(load_bundle(building)) if also_measure else None)


def _with_measured(written: dict[str, Any], measured: dict[str, _Measured]) -> dict[str, Any]:
    """The whole manifest: what was written, and what was measured of each precision, the last being the bundle's."""
    quantization = written["quantization"]
    if quantization:
        recalls = {precision: found.recall.recalls for precision, found in measured.items()}
        quantization = {**quantization, "recall": recalls}
    *_, final = measured.values()
    also = {precision: found.also for precision, found in measured.items() if found.also is not None}
    return {
        **written,
        "quantization": quantization,
        "recall": final.recall.summary(),
        **({"measured": also} if also else {}),
    }


def make_bundle_without_data(
    out: Path, trained: Trained, *, name: str, domain: str, training: dict[str, Any], reporter: Reporter
) -> None:
    """Write the float32 bundle `out` of a model that came without pictures: nothing is measured on any.

    What the graphs are compared with torch on is made up: patches of colour, and the commonest stems in fours.
    """
    building = new_folder(out)
    reporter.say("Exporting the graphs and comparing them with torch")
    patches = np.random.default_rng(0).integers(0, 256, (GOLDEN_PICTURES, 16, 16, 3), dtype=np.uint8)
    rows = np.arange(trained.image_rules.side) * 16 // trained.image_rules.side
    stems = trained.processor.stems
    captions = [" ".join(stems[(4 * i + j) % len(stems)] for j in range(4)) for i in range(GOLDEN_CAPTIONS)]
    written = _write_float32(building, trained, patches[:, rows][:, :, rows], captions)
    write_manifest(building, {"name": name, "domain": domain, **written, "training": training})
    take_place(building, out)


def _write_float32(
    building: Path, trained: Trained, pixels: np.ndarray[Any, Any], captions: list[str]
) -> dict[str, Any]:
    """Write graphs, vocabulary and golden embeddings; returns what the manifest says of them."""
    input_ids = trained.processor.input_ids(captions)
    parity = {
        "image_encoder": asdict(export_image_encoder(trained.image_encoder, pixels, building / IMAGE_GRAPH)),
        "text_encoder": asdict(export_text_encoder(trained.text_encoder, input_ids, building / TEXT_GRAPH)),
    }
    (building / VOCABULARY).write_bytes(format_vocabulary(trained.processor.stems))
    if trained.processor.words != trained.processor.stems:  # a model that came without captions has no words
        (building / WORDS).write_bytes(format_spellings(trained.processor.spellings))
    rules = trained.processor.rules
    if rules.forms:
        (building / FORMS).write_bytes(rules.forms.content)
    with torch.inference_mode():
        golden_images = trained.image_encoder.cpu().eval()(torch.from_numpy(pixels)).numpy()
        golden_texts = trained.text_encoder.cpu().eval()(torch.from_numpy(input_ids)).numpy()
    np.savez_compressed(
        building / GOLDEN,
        pixel_values=pixels,
        image_embeddings=golden_images,
        captions=np.array(captions),
        input_ids=input_ids,
        text_embeddings=golden_texts,
    )
    return {
        "embed_dim": golden_images.shape[1],
        "image": asdict(trained.image_rules),
        "text": describe_text(rules),
        "trunk": trained.trunk.describe(),
        "precision": {"image_encoder": "float32", "text_encoder": "float32"},
        "golden": {"image_min_cosine": FLOAT_MIN_COSINE, "text_min_cosine": FLOAT_MIN_COSINE},
        "parity": parity,
        "quantization": None,
    }


def _write_int8(
    building: Path,
    written: dict[str, Any],
    calibration: np.ndarray[Any, Any],
    held_out: np.ndarray[Any, Any],
    golden: np.ndarray[Any, Any],
    text_rows: bool,
) -> dict[str, Any]:
    """Make the float32 graphs int8, that of texts where asked; returns what the manifest says otherwise than before.

    `calibration`, `held_out` and `golden` are uint8 (N, S, S, 3).
    """
    image_graph, float_graph = building / IMAGE_GRAPH, building / "float32.onnx"
    image_graph.replace(float_graph)
    drift = int8_graph(float_graph, image_graph, calibration, held_out)
    golden_drift = drift_between(float_graph, image_graph, golden)
    float_graph.unlink()
    precision = {"image_encoder": "int8"}
    min_cosines = {"image_min_cosine": round(golden_drift.min_cosine - INT8_SLACK, 3)}
    if text_rows:
        quantize_rows(building / TEXT_GRAPH)
        precision["text_encoder"] = "int8 rows"
        min_cosines["text_min_cosine"] = ROWS_MIN_COSINE
    return {
        "precision": {**written["precision"], **precision},
        "golden": {**written["golden"], **min_cosines},
        "quantization": {
            "method": "static QDQ, weights int8 per channel, activations uint8",
            "calibration_pictures": len(calibration),
            **asdict(drift),
        },
    }


def pixels_across(dataset: CaptionDataset, rules: ImageRules, count: int) -> np.ndarray[Any, Any]:
    """uint8 (count, side, side, 3) of pictures spread over the whole data set."""
    paths = dataset.paths
    chosen = np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)
    return np.stack([load_pixels(paths[i], rules) for i in chosen])
