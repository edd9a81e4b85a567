"""Branches with votes: what a trunk votes for and a head sees counts beside what was learned of captions."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from torch import Tensor, nn

from export.branches.voting.data import VotingData
from export.branches.voting.encoders import CaptionBranch, Names, PictureBranch, VotingModel
from export.branches.voting.recipe import VotingRecipe
from export.branches.voting.train import Voters, embed, train_voting
from export.errors import ExportError
from export.features.recipe import ThingsRecipe
from export.report import Reporter
from export.runs.voting import run_voting
from tests.export.colours import ball_scores, colour_pictures, colour_trunk, toy_data
from tests.places import ROOT

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
