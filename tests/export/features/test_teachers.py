"""What teaches: detectors, taggers, and a sentence encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.features.scores import COCO_NAMES, detector_scores, read_scores
from itl_infer.captions import CaptionDataset, CaptionedImage
from tests.export.colours import colour_pictures, quiet
from tests.places import SHARED


def fake_yolox(path: Path, classes: int = 80, heads: int = 3) -> Path:
    """A graph of YOLOX's shape: its scores are the mean colours, as maps of places."""
    nodes, outputs = [], []
    weights = {
        "one": np.full((1, 3, 1, 1), 1 / 765, np.float32),
        "many": np.zeros((classes, 3, 1, 1), np.float32),
        "box": np.zeros((4, 3, 1, 1), np.float32),
    }
    weights["many"][0, 2], weights["many"][min(16, classes - 1), 1] = 1 / 255, 1 / 255  # BGR: red; green
    for head in range(heads):
        nodes += [
            helper.make_node("Conv", ["images", "box"], [f"/head/reg_preds.{head}/out"], strides=[8, 8]),
            helper.make_node("Conv", ["images", "one"], [f"o{head}"], strides=[8, 8]),
            helper.make_node("Conv", ["images", "many"], [f"c{head}"], strides=[8, 8]),
            helper.make_node(
                "Concat", [f"/head/reg_preds.{head}/out", f"o{head}", f"c{head}"], [f"y{head}"], axis=1
            ),
        ]
        outputs.append(f"y{head}")
    nodes.append(helper.make_node("Concat", outputs, ["output"], axis=1))
    graph = helper.make_graph(
        nodes,
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 416, 416])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_detectors_scores_are_the_largest_over_all_places(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 8)
    detector = fake_yolox(tmp_path / "detector.onnx")
    scores = detector_scores(detector, pictures, tmp_path / "cache", quiet)
    assert scores.names == COCO_NAMES
    assert (COCO_NAMES[0], COCO_NAMES[16], COCO_NAMES[-1]) == ("person", "dog", "toothbrush")
    red, green, _, yellow = (scores.of[str(path)] for path in pictures.paths[4:8])  # those without a ball
    assert red[0] == pytest.approx(1 / 3, abs=0.02)
    assert red[16] == pytest.approx(0, abs=0.02)
    assert green[16] == pytest.approx(1 / 3, abs=0.02)
    assert (yellow[0], yellow[16]) == pytest.approx((2 / 3, 2 / 3), abs=0.04)
    again = detector_scores(fake_yolox(tmp_path / "same.onnx"), pictures, tmp_path / "cache", quiet)
    assert len(list((tmp_path / "cache").glob("things-*.npy"))) == 1  # known by what is in it
    assert np.array_equal(again.of[str(pictures.paths[4])], red)


def test_what_is_no_detector_is_refused_in_one_line(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 2)
    whole = fake_yolox(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.onnx").write_text("no graph")
    fake_yolox(tmp_path / "other.onnx", classes=20)
    fake_yolox(tmp_path / "none.onnx", heads=0)
    for name, message in (
        ("missing.onnx", "No such file or directory: give the ONNX file of a YOLOX detector"),
        ("cut.onnx", "is not the ONNX file of a YOLOX detector"),
        ("text.onnx", "is not the ONNX file of a YOLOX detector"),
        ("none.onnx", "is not the ONNX file of a YOLOX detector"),
        ("other.onnx", "tells 20 things apart, expected COCO's 80"),
    ):
        with pytest.raises(ExportError, match=message) as caught:
            detector_scores(tmp_path / name, pictures, tmp_path / "cache", quiet)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_yolox_sees_what_the_photographs_show(tmp_path: Path) -> None:
    detector, photos = SHARED / "weights" / "yolox_nano.onnx", SHARED / "photos"
    if not detector.exists() or not photos.is_dir():
        pytest.skip("no ../shared/weights and ../shared/photos beside the checkout")
    objects = json.loads((photos / "objects.json").read_text(encoding="utf-8"))
    names = ("zebra", "elephant", "pizza", "bear", "bus", "toilet")
    files = sorted({file for name in names for file in objects[name]})
    dataset = CaptionDataset("photos", photos, tuple(CaptionedImage(file, (), "train") for file in files))
    rows, _ = detector_scores(detector, dataset, tmp_path, quiet).rows(dataset.paths)
    for name in names:
        shown = np.isin(files, objects[name])
        scores = rows[:, COCO_NAMES.index(name)]
        assert scores[shown].max() > 0.5 > scores[~shown].max(), name


def test_scores_of_ones_own_tagger(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs the extra: pip install -e .[parquet]")
    from pyarrow import parquet

    path = tmp_path / "scores.parquet"

    def write(**columns: list[Any]) -> Path:
        parquet.write_table(pa.table(columns), path)
        return path

    write(
        file=["a.png", "a.png", "b.png", "a.png"], name=["cat", "dog", "dog", "cat"], score=[0.2, 1, 0.5, 0.7]
    )
    scores = read_scores(path, tmp_path)
    assert scores.names == ("cat", "dog")
    rows, known = scores.rows([tmp_path / "b.png", tmp_path / "c.png", tmp_path / "a.png"])
    assert rows.tolist() == [[0, 0.5], [0, 0], [pytest.approx(0.7), 1]]
    assert known.tolist() == [True, False, True]
    with pytest.raises(ExportError, match=r"of none of the 1 pictures to train on: the first is of .*a\.png"):
        scores.rows([tmp_path / "z.png"])
    for columns, message in (
        ({"file": ["a.png"], "name": ["cat"]}, "give a Parquet file with the columns file, name and score"),
        (
            {"file": ["a.png"], "name": ["cat"], "score": [1.5]},
            "score 1.5 of 'cat' in a.png, expected 0 to 1",
        ),
        (
            {"file": ["a.png"], "name": ["cat"], "score": [float("nan")]},
            "score nan of 'cat' in a.png, expected 0 to 1",
        ),
        ({"file": ["a.png"], "name": ["cat"], "score": ["much"]}, "give a Parquet file with the columns"),
        ({"file": [], "name": [], "score": []}, "has no rows"),
    ):
        with pytest.raises(ExportError, match=message):
            read_scores(write(**columns), tmp_path)
    path.write_bytes(b"PAR1")
    with pytest.raises(ExportError, match="give a Parquet file with the columns"):
        read_scores(path, tmp_path)


def test_captions_that_mean_the_same_are_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from export.features import sentences

    try:
        rows = sentences.meanings_of(
            ["A puppy runs on grass.", "a young dog is running over the lawn", "the stock market fell"],
            tmp_path,
            quiet,
        )
    except ExportError as error:
        pytest.skip(str(error))
    cosines = rows.astype(np.float32) @ rows.astype(np.float32).T
    assert cosines.diagonal() == pytest.approx(1, abs=1e-2)
    assert cosines[0, 1] > 0.5 > 0.2 > cosines[0, 2]
    monkeypatch.setattr(sentences, "_GRAPH", ("no_such_module", "model.onnx", "no-such-package"))
    with pytest.raises(
        ExportError, match="needs the package no-such-package, which is not installed: pip install"
    ):
        sentences.meanings_of(["a dog"], tmp_path, quiet)
