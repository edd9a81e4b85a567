"""From captioned pictures to a bundle that the runtime serves, with real parts throughout (small ones)."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner

from export.cli import main
from export.data.forms import text_rules
from export.errors import ExportError
from export.report import Reporter
from export.runs.build import build
from itl_infer.bundle import load_bundle, verify_bundle
from itl_infer.bundle.manifest import describe_text
from itl_infer.captions import CaptionDataset
from itl_infer.cli import main as itl_infer_main
from itl_infer.index import Index
from itl_infer.text import ORIGINAL_TEXT_RULES
from tests.export.helpers import SETTINGS, SIDE, SMALL_TRUNK
from tests.places import ROOT


def test_the_bundle_verifies_and_says_what_was_measured(
    built: tuple[Path, dict[str, dict[str, float]]],
) -> None:
    folder, figures = built
    report = verify_bundle(folder)
    assert report.ok, report.problems
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["precision"] == {"image_encoder": "int8", "text_encoder": "float32"}
    for graph in ("image_encoder", "text_encoder"):
        assert manifest["parity"][graph]["max_abs_diff"] <= 1e-4
    assert manifest["recall"]["t2i"] == figures["t2i"]
    assert (manifest["recall"]["pictures"], manifest["recall"]["captions"]) == (10, 50)
    assert set(manifest["quantization"]["recall"]) == {"float32", "int8"}
    assert manifest["quantization"]["mean_cosine"] > 0.9
    assert set(manifest["measured"]) == {"float32", "int8"}
    assert manifest["measured"]["int8"]["data"] == "labels.json"
    assert manifest["measured"]["int8"]["chance"]["precision_at_10"] == 0.3
    assert load_bundle(folder).card == "# small\n"
    assert manifest["training"]["recipe"]["margin"] == 0.5
    assert manifest["text"] == describe_text(text_rules())  # unless asked otherwise
    assert not [name for name in folder.parent.iterdir() if "building" in name.name or "old" in name.name]


def test_the_bundle_answers_queries_over_its_gallery(built: tuple[Path, dict[str, dict[str, float]]]) -> None:
    bundle = load_bundle(built[0])
    assert bundle.gallery_path is not None
    assert bundle.gallery_index_path is not None
    index = Index.open(bundle.gallery_index_path, bundle, mode="r")
    word = next(word for word in ("street", "kitchen", "beach", "two") if bundle.parse_query(word).ids)
    results = index.search(word, k=3)
    assert [Path(result.path).parent for result in results] == [bundle.gallery_path] * 3
    assert len(index) == len(list(bundle.gallery_path.iterdir())) == 5


def test_no_graph_says_where_it_was_made(built: tuple[Path, dict[str, dict[str, float]]]) -> None:
    home = str(ROOT).encode()
    for name in ("image_encoder.onnx", "text_encoder.onnx", "bundle.json"):
        content = (built[0] / name).read_bytes()
        assert home not in content
        assert b"site-packages" not in content


def test_a_second_build_trains_nothing_and_gives_the_same_bundle(
    built: tuple[Path, dict[str, dict[str, float]]],
    dataset: CaptionDataset,
    small_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = load_bundle(built[0]).fingerprint

    def never(*computed: object) -> None:
        raise AssertionError(f"computed again: {computed}")

    monkeypatch.setattr("export.loop.Loop._save", never)
    monkeypatch.setattr("export.data.pixels.decode_ahead", never)
    settings = replace(SETTINGS, trunk_weights=str(small_weights))
    figures = build(dataset, settings, built[0].parent / "work", built[0], Reporter())
    assert figures == built[1]
    assert load_bundle(built[0]).fingerprint == before


def test_evaluate_command_prints_recalls_and_chance(
    built: tuple[Path, dict[str, dict[str, float]]], dataset: CaptionDataset
) -> None:
    captions = dataset.folder / "captions.jsonl"
    result = CliRunner().invoke(
        itl_infer_main, ["evaluate", "-m", str(built[0]), "--captions", str(captions)]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0].endswith(": 10 pictures, 50 captions")
    chance = [line.split() for line in result.stdout.splitlines() if line.startswith("  by chance")]
    assert chance[0] == ["by", "chance", "10.0", "50.0", "100.0", "5", "5.5"]
    t2i = next(line.split() for line in result.stdout.splitlines() if line.startswith("text to image"))
    assert float(t2i[3]) == pytest.approx(100 * built[1]["t2i"]["recall_at_1"], abs=0.05)


def test_flickr30k_as_kaggle_has_it_becomes_a_bundle_that_is_served(
    dataset: CaptionDataset, small_weights: Path, tmp_path: Path
) -> None:
    """results.csv with its bars, the row without its second one, and pictures in two folders of one name.

    Read as the original project read them.
    """
    images = tmp_path / "flickr30k_images"
    (images / "flickr30k_images").mkdir(parents=True)
    rows = ["image_name| comment_number| comment"]
    for example, path in zip(dataset, dataset.paths, strict=True):
        shutil.copyfile(path, images / "flickr30k_images" / path.name)
        rows += [f"{path.name}| {i}| {caption}" for i, caption in enumerate(example.captions)]
    rows[5] = rows[5].replace("| 4| ", "| 4   ")
    captions = tmp_path / "results.csv"
    captions.write_text("\n".join(rows) + "\n", encoding="utf-8")
    out, work = tmp_path / "bundle", tmp_path / "work"
    trunk = ["--trunk", SMALL_TRUNK, "--trunk-weights", small_weights, "--side", SIDE]
    options = [*trunk, "--epochs", 1, "--work", work, "--out", out]
    command = ["build", "--captions", captions, "--images", images, "--text", "original", *options]
    result = CliRunner().invoke(main, [str(argument) for argument in command])
    assert result.exit_code == 0, result.output
    assert f"note: {captions}:6: second bar missing, read as caption 4" in result.stderr
    assert "88 pictures, 440 captions, Flickr30k table" in result.stderr

    def itl_infer(*args: object) -> str:
        answer = CliRunner().invoke(itl_infer_main, [str(arg) for arg in args])
        assert answer.exit_code == 0, answer.output
        return answer.stdout

    index = tmp_path / "photos.itl"
    itl_infer("embed-images", images, "-d", index, "-m", out)
    word = load_bundle(out).parse_text(dataset.captions[0]).used_words[0]
    found = json.loads(itl_infer("query", word, "-d", index, "-m", out, "-k", 3, "--format", "json"))
    assert len(found["results"]) == 3
    figures = json.loads(
        itl_infer("evaluate", "--captions", captions, "-d", index, "-m", out, "--format", "json")
    )
    bundle = load_bundle(out)
    assert bundle.manifest["text"] == describe_text(ORIGINAL_TEXT_RULES)
    assert bundle.text_rules == ORIGINAL_TEXT_RULES
    recall = bundle.manifest["recall"]
    same = ("split_sha256", "pictures", "captions", "t2i", "i2t", "rsum", "chance", "confidence_95")
    assert {name: figures[name] for name in same} == {name: recall[name] for name in same}


def test_a_failed_build_leaves_the_old_bundle(
    built: tuple[Path, dict[str, dict[str, float]]],
    dataset: CaptionDataset,
    small_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = load_bundle(built[0]).fingerprint
    monkeypatch.setattr("export.graphs.to_onnx.MAX_ABS_DIFF", -1.0)
    with pytest.raises(ExportError, match="differs from torch"):
        build(
            dataset,
            replace(SETTINGS, trunk_weights=str(small_weights)),
            built[0].parent / "work",
            built[0],
            Reporter(),
        )
    assert load_bundle(built[0]).fingerprint == before
    assert verify_bundle(built[0]).ok
