"""The graph of a bundle is written anew, where its embeddings stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner

from export.cli import main
from export.errors import ExportError
from export.report import Reporter
from export.runs.refresh import refresh_bundle
from itl_infer.bundle import load_bundle, verify_bundle
from itl_infer.bundle.manifest import write_manifest
from itl_infer.captions import CaptionDataset
from itl_infer.image import load_pixels
from itl_infer.index import Index
from tests.export.helpers import RULES


def test_refresh_writes_the_graph_anew_from_the_same_weights(
    built: tuple[Path, dict[str, dict[str, float]]], dataset: CaptionDataset, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(built[0], bundle)
    graph = onnx.load(str(bundle / "image_encoder.onnx"))
    graph.producer_name = "an older exporter"
    onnx.save(graph, str(bundle / "image_encoder.onnx"))
    write_manifest(bundle, json.loads((bundle / "bundle.json").read_text(encoding="utf-8")))
    fingerprint = load_bundle(bundle).fingerprint
    captions = str(dataset.folder / "captions.jsonl")
    result = CliRunner().invoke(main, ["refresh", str(bundle), "--captions", captions])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{bundle}: cosines to the embeddings of before 0.99")
    assert verify_bundle(bundle).ok
    assert load_bundle(bundle).fingerprint != fingerprint
    pixels = np.stack([load_pixels(path, RULES) for path in dataset.paths[:8]])
    cosines = (load_bundle(bundle).embed_pixels(pixels) * load_bundle(built[0]).embed_pixels(pixels)).sum(
        axis=1
    )
    assert cosines.min() > 0.99
    assert load_bundle(bundle).manifest["quantization"]["refreshed"]["pictures"] == 10
    assert len(Index.open(bundle / "index", load_bundle(bundle), mode="r")) == 5


def test_refresh_leaves_a_bundle_alone_whose_embeddings_would_move_too_far(
    built: tuple[Path, dict[str, dict[str, float]]], dataset: CaptionDataset, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(built[0], bundle)
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["quantization"]["min_cosine"] = 1 + 1e-9
    write_manifest(bundle, manifest)
    fingerprint = load_bundle(bundle).fingerprint
    with pytest.raises(ExportError, match="more than two int8 graphs differ: not replaced"):
        refresh_bundle(bundle, dataset, Reporter())
    assert load_bundle(bundle).fingerprint == fingerprint
    assert verify_bundle(bundle).ok
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    write_manifest(bundle, manifest | {"quantization": None})
    with pytest.raises(ExportError, match="is float32"):
        refresh_bundle(bundle, dataset, Reporter())
