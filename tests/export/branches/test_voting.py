"""Branches with votes: what a trunk votes for and a head sees counts beside what was learned of captions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageDraw

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from torch import Tensor, nn

from export.branches.voting.data import VotingData, epoch_batches
from export.branches.voting.encoders import CaptionBranch, Names, PictureBranch, VotingModel, centred
from export.branches.voting.loss import captions_loss, names_loss
from export.branches.voting.recipe import VotingRecipe
from export.branches.voting.train import Voters, embed, train_voting
from export.data.alike import copies_among
from export.errors import ExportError
from export.features.recipe import ThingsRecipe
from export.features.scores import COCO_NAMES, NamedScores, detector_scores, read_scores
from export.features.things import ThingsHead, things_seen, train_things_head
from export.features.views import maps_in, views_of
from export.graphs.to_onnx import export_text_encoder
from export.graphs.weights import quantize_rows
from export.layers import l2_normalize
from export.report import Reporter
from export.runs.voting import run_voting
from export.starter.photographs import set_aside
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset, CaptionedImage
from tests.places import ROOT, SHARED

COLOURS = ("red", "green", "blue", "yellow")
NAMES = (("red", "scarlet"), ("green",), ("blue",), ("yellow",))


def quiet(_done: float, _total: float) -> None:
    """No progress."""


class Colours(nn.Module):
    """A network whose features are the mean colour; its maps are the picture, smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.AvgPool2d(2)
        self.coarse = nn.AvgPool2d(2)
        self.pool = nn.Flatten(2)
        self.scale = nn.Parameter(torch.ones(()))  # so that there is a device

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.coarse(self.fine(x * self.scale))).mean(dim=2)  # type: ignore[no-any-return]


def colour_trunk(**changes: Any) -> Trunk:
    """It tells red, green, blue and yellow pictures apart, and is sure of it."""
    classifier = nn.Linear(3, 4)
    with torch.no_grad():
        classifier.weight.copy_(
            20 * l2_normalize(torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]]))
        )
        classifier.bias.zero_()
    trunk = Trunk(
        "colours",
        Colours().eval(),
        feature_dim=3,
        side=16,
        min_side=4,
        resize="bilinear-antialias",
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        source="made here",
        classifier=classifier,
        class_names=NAMES,
        map_layers=("fine", "coarse"),
        pool_layer="pool",
    )
    return replace(trunk, **changes)


def colour_pictures(
    folder: Path, count: int, split: str = "train", *, captioned: bool = True
) -> CaptionDataset:
    """Plain pictures in turn, on every second of which lies a small white ball."""
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for number in range(count):
        colour = COLOURS[number % 4]
        picture = Image.new("RGB", (24, 24), {"green": "lime"}.get(colour, colour))
        if number % 8 < 4:
            ImageDraw.Draw(picture).ellipse((2, 2, 8, 8), "white")
        name = f"{split}{number}.png"
        picture.save(folder / name)
        what = f"a {colour} field" + (" with a ball" if number % 8 < 4 else "")
        examples.append(CaptionedImage(name, (what, f"{colour} things") if captioned else (), split))
    return CaptionDataset(folder.name, folder, tuple(examples))


def ball_scores(*datasets: CaptionDataset) -> NamedScores:
    """What a perfect teacher says of the ball, and of an elephant, which is in none."""
    of = {}
    for dataset in datasets:
        for number, path in enumerate(dataset.paths):
            of[str(path.resolve())] = np.array([float(number % 8 < 4), 0.0], np.float32)
    return NamedScores(("ball", "elephant"), of)


# Encoders and losses, by hand


def unit(*values: float) -> Tensor:
    return l2_normalize(torch.tensor([values]))


def test_votes_that_are_spread_pull_a_picture_nowhere() -> None:
    torch.manual_seed(0)
    branch = PictureBranch(np.eye(4, dtype=np.float32), 8, 0.0, (1.0, 1.0)).eval()
    texts = centred(l2_normalize(torch.randn(5, 128)))
    features = torch.rand(2, 4)
    alone = branch(features, torch.zeros(2, 5), texts)
    spread = branch(features, torch.full((2, 5), 0.2), texts)
    assert torch.allclose(alone, spread, atol=1e-6)
    sure = branch(features, torch.eye(5)[:2], texts)
    assert ((sure * texts[:2]).sum(dim=1) > (alone * texts[:2]).sum(dim=1) + 0.1).all()
    assert torch.allclose(sure.norm(dim=1), torch.ones(2))


def test_however_much_is_seen_it_counts_no_more_than_three_things() -> None:
    torch.manual_seed(0)
    branch = PictureBranch(np.eye(4, dtype=np.float32), 8, 0.0, (0.0, 1.0)).eval()
    texts, features = l2_normalize(torch.randn(10, 128)), torch.rand(1, 4)
    votes, classes = torch.zeros(1, 1), torch.zeros(1, 128)

    def pulled(seen: Tensor) -> Tensor:
        alone = branch(features, votes, classes)
        full = branch(features, votes, classes, seen, texts)
        return full / (full @ alone.T) - alone  # what was added, at right angles to what was there

    one, twice = torch.zeros(1, 10), torch.zeros(1, 10)
    one[0, 0], twice[0, 0] = 0.5, 1.0
    assert torch.allclose(pulled(torch.zeros(1, 10)), torch.zeros(1, 128), atol=1e-6)
    assert pulled(twice).norm() > 1.5 * pulled(one).norm()  # sure things count for more
    three, all_ten = torch.zeros(1, 10), torch.ones(1, 10)
    three[0, :3] = 1.0
    assert pulled(all_ten).norm() < 1.5 * pulled(three).norm()


def test_a_name_of_several_is_their_mean() -> None:
    torch.manual_seed(0)
    branch = CaptionBranch(4, 8, 16, 0.0).eval()
    names = Names(np.array([[1, 0], [2, 3], [4, 0]]), np.array([0, 0, 1]), 2)
    texts = names.texts(branch)
    alone = branch(torch.tensor([[1, 0], [2, 3], [4, 0]]))
    assert torch.allclose(texts, l2_normalize(torch.stack([alone[:2].sum(dim=0), alone[2]])), atol=1e-6)
    drawn = {tuple(map(tuple, names.one_each(np.random.default_rng(seed)).tolist())) for seed in range(20)}
    assert drawn == {((1, 0), (4, 0)), ((2, 3), (4, 0))}


def test_stems_begin_as_what_they_mean() -> None:
    meanings = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [-1, 0, 0.2], [0, 1, 0]], np.float32)
    for width in (2, 3, 5):
        branch = CaptionBranch(4, width, 16, 0.0)
        branch.start_from(meanings)
        rows = branch.stems.weight.detach()
        assert rows[0].abs().sum() == 0
        apart = torch.cdist(rows[1:], rows[1:])
        assert apart[0, 1] < apart[0, 3] < apart[0, 2] + 1e-6


def test_captions_loss_by_hand() -> None:
    images, texts = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    scores = images @ texts.T  # [[1, 0.6], [0, 0.8]]
    expected = -(scores.log_softmax(dim=1).diagonal().mean() + scores.T.log_softmax(dim=1).diagonal().mean())
    assert captions_loss(images, texts, 1.0).item() == pytest.approx(expected.item())
    same = torch.ones(2, 1)  # captions that mean the same: half of each target lies on the other
    half = torch.full((2, 2), 0.25) + 0.5 * torch.eye(2)
    of_images, of_texts = (-(half * s.log_softmax(dim=1)).sum(dim=1).mean() for s in (scores, scores.T))
    found = captions_loss(images, texts, 1.0, same, 0.5, 1.0)
    assert found.item() == pytest.approx((of_images + of_texts).item())


def test_names_loss_by_hand() -> None:
    texts = torch.eye(2)
    says = torch.tensor([[0.7, 0.3], [0.0, 0.0]])
    images = torch.tensor([[0.8, 0.6], [1.0, 0.0]])
    logs = (images[:1] @ texts.T / 0.5).log_softmax(dim=1)[0]
    assert names_loss(images, texts, 0.5, says).item() == pytest.approx(
        (-(0.7 * logs[0] + 0.3 * logs[1]) / 2).item()
    )


# Batches


def toy_data(pictures: int, captions_each: list[int], sources: list[int]) -> VotingData:
    owners = np.repeat(np.arange(pictures), captions_each)
    return VotingData(
        (np.random.default_rng(0).normal(size=(pictures, 3)).astype(np.float32),),
        (np.zeros((pictures, 0), np.float32),),
        np.zeros((pictures, 0), np.float32),
        np.array(sources),
        np.arange(1, len(owners) + 1)[:, None],
        owners,
    )


def test_an_epoch_passes_over_the_first_data_set_once() -> None:
    data = toy_data(40, [2] * 16 + [1] * 4 + [0] * 20, [0] * 16 + [1] * 24)
    batches = epoch_batches(data, 8, 0.25, 5, np.random.default_rng(0))
    assert batches.shape == (2, 13)
    first = batches[:, :6]
    assert len(np.unique(first)) == 12
    assert first.max() < 16
    assert sorted(batches[:, 6:8].ravel().tolist()) == [16, 17, 18, 19]  # each before any comes again
    assert len(np.unique(batches[:, 8:])) == 10  # any picture
    again = epoch_batches(data, 8, 0.25, 5, np.random.default_rng(0))
    assert np.array_equal(batches, again)
    captions = data.one_caption_each(np.array([0, 15, 19]), np.random.default_rng(0))
    assert data.owners[captions].tolist() == [0, 15, 19]


# Things


def test_a_head_learns_to_see_what_is_small(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 64)
    view = views_of(pictures, colour_trunk(), tmp_path / "cache", quiet).array
    assert maps_in(view) == ["map0", "map1"]
    assert view["map0"].shape == (64, 3, 8, 8)
    scores, known = ball_scores(pictures).rows(pictures.paths)
    assert known.all()
    recipe = ThingsRecipe(epochs=30, batch_size=16, warm_up=2)
    head = train_things_head([view], np.arange(64), scores, recipe, tmp_path / "head")
    seen = things_seen(head, view)
    assert seen.shape == (64, 2)
    with_ball = scores[:, 0] > 0
    assert seen[with_ball, 0].min() > seen[~with_ball, 0].max()
    assert seen[:, 1].max() < 0.2  # no elephants


def test_a_thing_is_as_much_there_wherever_it_is() -> None:
    torch.manual_seed(0)
    head = ThingsHead([(torch.zeros(2), torch.ones(2)), (torch.zeros(3), torch.ones(3))], 4).eval()
    fine, coarse = torch.randn(1, 2, 12, 12), torch.randn(1, 3, 6, 6)
    shifted = torch.roll(fine, (4, 4), (2, 3)), torch.roll(coarse, (2, 2), (2, 3))
    inner = torch.zeros_like(fine), torch.zeros_like(coarse)  # away from the edges, which are padded
    inner[0][:, :, 4:6, 4:6], inner[1][:, :, 2, 2] = fine[:, :, 4:6, 4:6], coarse[:, :, 2, 2]
    moved = [torch.roll(m, s, (2, 3)) for m, s in zip(inner, ((2, 2), (1, 1)), strict=True)]
    assert torch.allclose(head(*inner), head(*moved), atol=1e-4)
    assert head(*shifted).shape == (1, 4)


def test_nothing_to_see_is_refused(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 8)
    view = views_of(pictures, colour_trunk(), tmp_path / "cache", quiet).array
    with pytest.raises(ExportError, match="nothing to learn"):
        train_things_head([view], np.arange(8), np.zeros((8, 2), np.float32), ThingsRecipe(), tmp_path)
    blind = colour_trunk(map_layers=(), pool_layer="")
    view = views_of(pictures, blind, tmp_path / "cache", quiet).array
    with pytest.raises(ExportError, match="it is not known which layers of the trunk have its maps"):
        train_things_head([view], np.arange(8), np.ones((8, 2), np.float32), ThingsRecipe(), tmp_path)


# Views


def test_views_are_of_one_trunk_side_and_mirror(tmp_path: Path) -> None:
    pictures = colour_pictures(tmp_path / "pictures", 12)
    (pictures.folder / pictures.examples[5].image).write_bytes(b"no picture")
    trunk = colour_trunk()
    rows = views_of(pictures, trunk, tmp_path / "cache", quiet)
    assert [Path(path).name for path in rows.failed] == [pictures.examples[5].image]
    assert len(rows.array) == 11
    features = rows.array["features"]
    red, mixed = features[0], rows.array["map0"][0].astype(np.float32)
    assert red[:3] == pytest.approx(red[6:9], abs=1e-3)  # the mean is that of the map
    assert red[3:6] == pytest.approx(
        rows.array["map1"][0].max(axis=(1, 2)), abs=1e-3
    )  # the largest comes behind it
    mirrored = views_of(pictures, trunk, tmp_path / "cache", quiet, mirrored=True).array["map0"][0]
    assert np.allclose(mirrored, mixed[:, :, ::-1], atol=1e-3)
    assert not np.allclose(mirrored, mixed, atol=1e-3)
    kept = len(list((tmp_path / "cache").glob("views-*.npy")))
    other = colour_trunk(mean=(1.0, 0.0, 0.0))
    for changed in (trunk.at(20), other, colour_trunk(map_layers=("coarse",))):
        views_of(pictures, changed, tmp_path / "cache", quiet)
        assert len(list((tmp_path / "cache").glob("views-*.npy"))) == (kept := kept + 1)
    views_of(pictures, trunk, tmp_path / "cache", quiet)
    assert len(list((tmp_path / "cache").glob("views-*.npy"))) == kept


# Teachers


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


# Copies


def test_copies_are_found_at_another_size_and_quality_and_in_a_mirror(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    originals, others = [], []
    for number in range(6):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        picture = coarse.resize((320, 240), Image.Resampling.BICUBIC)
        path = tmp_path / f"{number}.png"
        picture.save(path)
        originals.append(path)
        if number < 2:
            picture.resize((100, 100)).save(tmp_path / f"copy{number}.jpg", quality=60)
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / f"mirror{number}.webp")
        else:
            others.append(path)
    copies = sorted([*tmp_path.glob("copy*"), *tmp_path.glob("mirror*")])
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    found = copies_among([*others, *copies, tmp_path / "broken.jpg"], originals[:2])
    assert sorted(found) == copies
    assert copies_among(copies, []) == []


def test_the_same_pictures_are_set_aside_always() -> None:
    names = [f"images/{number}.webp" for number in range(3000)]
    aside = set_aside(names)
    assert len(aside) == 1000
    assert set_aside(names[::-1]) == aside
    assert set_aside([*names, "images/new.webp"]) - aside <= {"images/new.webp"}


# Int8 rows


def test_int8_rows_are_a_quarter_and_close(tmp_path: Path) -> None:
    torch.manual_seed(0)
    branch = CaptionBranch(3000, 64, 32, 0.0).eval()
    ids = np.random.default_rng(0).integers(1, 3001, (40, 5))
    ids[:, 3:] *= np.random.default_rng(1).integers(0, 2, (40, 2))
    path = tmp_path / "text.onnx"
    export_text_encoder(branch, ids, path)
    exact, size = (
        onnxruntime.InferenceSession(str(path)).run(None, {"input_ids": ids})[0],
        path.stat().st_size,
    )
    quantize_rows(path)
    found = onnxruntime.InferenceSession(str(path)).run(None, {"input_ids": ids})[0]
    assert (exact * found).sum(axis=1).min() > 0.999
    assert path.stat().st_size < 0.35 * size
    with pytest.raises(ExportError, match="2 tables of rows in the graph, expected 1"):
        quantize_rows(path)


# Training


RECIPE = VotingRecipe(
    epochs=6,
    batch_size=16,
    uncaptioned=4,
    hidden=32,
    stem_dim=16,
    dropout=0.1,
    warm_up=4,
    learning_rate=5e-3,
    meaning_weight=0.0,
    things=ThingsRecipe(epochs=6, batch_size=16, warm_up=2),
)


@pytest.fixture
def without_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words and captions that mean what their letters say, so that no package is needed."""

    def meanings(texts: list[str], *_args: object) -> np.ndarray:
        rows = np.array([[text.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts], np.float32)
        return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)).astype(np.float16)

    monkeypatch.setattr("export.runs.voting.meanings_of", meanings)


@pytest.mark.usefixtures("without_sentences")
def test_a_run_learns_captions_names_and_things_and_the_graph_has_them_all(tmp_path: Path) -> None:
    from export.data.forms import text_rules
    from export.graphs.to_onnx import export_image_encoder
    from itl_infer.image import load_pixels

    train, val = colour_pictures(tmp_path / "train", 64), colour_pictures(tmp_path / "val", 16, "val")
    more = colour_pictures(tmp_path / "more", 16, captioned=False)
    trunk = colour_trunk()
    # So few pictures need every step to count: nothing left out, and the last weights nearly alone.
    recipe = replace(RECIPE, epochs=12, patience=12, dropout=0.0, averaging=0.5, class_weight=3.0)
    run = run_voting(
        [train, more],
        val,
        trunk,
        ball_scores(train),
        text_rules(),
        recipe,
        tmp_path / "work",
        Reporter(),
        min_count=1,
    )
    assert (run.pictures, run.captions) == (80, 128)
    texts = ["red", "scarlet", "blue", "ball", "green field"]
    with torch.inference_mode():
        embedded = run.text_encoder(torch.from_numpy(run.processor.input_ids(texts))).numpy()
    pixels = np.stack([load_pixels(path, trunk.image_rules) for path in val.paths])
    parity = export_image_encoder(run.image_encoder, pixels, tmp_path / "image.onnx")
    assert parity.max_abs_diff < 1e-4
    [images] = onnxruntime.InferenceSession(str(tmp_path / "image.onnx")).run(None, {"pixel_values": pixels})
    scores = embedded @ images.T
    for text, colour in (("red", 0), ("scarlet", 0), ("blue", 2), ("green field", 1)):
        best = np.argsort(-scores[texts.index(text)])[:4]  # of four pictures of each colour
        # "scarlet" is in no caption: its class says it
        assert {int(place) % 4 for place in best} == {colour}, text
    with_ball, without = scores[texts.index("ball")].reshape(2, 2, 4).transpose(1, 0, 2)  # (which, colour)
    assert (with_ball.min(axis=0) > without.max(axis=0)).all()


@pytest.mark.usefixtures("without_sentences")
def test_a_trunk_without_votes_is_refused(tmp_path: Path) -> None:
    from export.data.forms import text_rules

    train = colour_pictures(tmp_path / "train", 8)
    for trunk in (colour_trunk(classifier=None), colour_trunk(class_names=())):
        with pytest.raises(ExportError, match="needs the votes of a classifier with names, and colours"):
            run_voting([train], train, trunk, None, text_rules(), RECIPE, tmp_path / "work", Reporter())


def training(folder: Path, stop_after: int | None = None) -> dict[str, Tensor]:
    """The weights of a small run, or an end of the process in its midst."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, 6)).astype(np.float32)
    data = VotingData(
        (features, features[:, ::-1].copy()),
        (rng.random((40, 2)).astype(np.float32),) * 2,
        rng.random((40, 2)).astype(np.float32),
        np.zeros(40, np.int64),
        rng.integers(1, 10, (80, 3)),
        np.repeat(np.arange(40), 2),
    )
    torch.manual_seed(0)
    model = VotingModel(CaptionBranch(9, 8, 16, 0.3), PictureBranch(features, 16, 0.3, (1.0, 1.0)))
    torch.manual_seed(1)
    voters = Voters(
        nn.Linear(6, 3),
        Names(np.array([[1], [2], [3]]), np.arange(3), 3),
        Names(np.array([[4], [5]]), np.arange(2), 2),
    )
    recipe = replace(RECIPE, epochs=4, batch_size=8)

    def progress(state: Any) -> None:
        if state.step == stop_after:
            os.kill(os.getpid(), 9)

    trained, history = train_voting(model, data, data, voters, recipe, folder, progress)
    assert len(history) == 4
    images, texts = embed(trained, data, voters, 1.0)
    assert (images.shape, texts.shape) == ((40, 128), (80, 128))
    return {key: value.clone() for key, value in trained.state_dict().items()}


def test_a_killed_run_ends_as_one_in_one_piece(tmp_path: Path) -> None:
    whole = training(tmp_path / "whole")
    code = (
        "from pathlib import Path\nfrom tests.export.branches.test_voting import training\n"
        f"training(Path({str(tmp_path / 'cut')!r}), 13)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    resumed = training(tmp_path / "cut")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_other_data_do_not_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    training(tmp_path)
    data = toy_data(6, [1] * 6, [0] * 6)
    model = VotingModel(CaptionBranch(9, 8, 16, 0.3), PictureBranch(data.features[0], 16, 0.3, (1.0, 1.0)))
    voters = Voters(nn.Linear(3, 2), Names(np.array([[1], [2]]), np.arange(2), 2))
    with pytest.raises(ExportError, match="is of a run with other settings"):
        train_voting(model, data, data, voters, replace(RECIPE, epochs=4, batch_size=8), tmp_path)
    with pytest.raises(ExportError, match="1 captioned training pictures: there is nothing to tell apart"):
        train_voting(model, toy_data(1, [1], [0]), data, voters, RECIPE, tmp_path / "one")


def test_branches_are_trained_without_a_teacher_of_things_too(tmp_path: Path) -> None:
    data = toy_data(6, [1] * 6, [0] * 6)
    model = VotingModel(CaptionBranch(9, 8, 16, 0.3), PictureBranch(data.features[0], 16, 0.3, (1.0, 1.0)))
    voters = Voters(nn.Linear(3, 2), Names(np.array([[1], [2]]), np.arange(2), 2))
    trained, history = train_voting(model, data, data, voters, replace(RECIPE, epochs=2), tmp_path)
    assert len(history) == 2
    images, texts = embed(trained, data, voters, 1.0)
    assert (images.shape, texts.shape) == ((6, 128), (6, 128))
