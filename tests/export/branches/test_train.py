"""Training: it learns, resumes to the same weights, ends early, and says so when the model collapses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.data import TrainingData, epoch_batches, shorten
from export.branches.train import embed, train
from export.errors import ExportError
from export.layers import weights_sha256
from export.loop import LoopProgress
from itl_infer.evaluation.metrics import evaluate_retrieval
from tests.export.training import RECIPE, Stopped, stop_at

FEATURE_DIM = 128


def toy_data(pictures: int, seed: int, *, words: int = 24) -> TrainingData:
    """Features that are a noisy sum of the directions of the words in their captions, of any number each."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(words + 1, FEATURE_DIM)).astype(np.float32)
    features, ids, owners = [], [], []
    for picture in range(pictures):
        shown = rng.choice(np.arange(1, words + 1), size=3, replace=False)
        noise = rng.normal(size=FEATURE_DIM).astype(np.float32)
        features.append(np.abs(directions[shown].sum(axis=0) + noise))
        for _ in range(rng.integers(1, 4)):
            ids.append(rng.permutation(shown))
            owners.append(picture)
    return TrainingData(
        np.stack(features), np.stack(ids).astype(np.int64), np.array(owners), f"toy {pictures} {seed}"
    )


@pytest.fixture(scope="module")
def toy() -> tuple[TrainingData, TrainingData]:
    return toy_data(320, 1), toy_data(80, 2)


def test_it_learns_pictures_it_has_not_seen(toy: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    model, history = train(*toy, 24, RECIPE, tmp_path)
    images, texts = embed(model, toy[1])
    recall = evaluate_retrieval(texts, images, toy[1].owners.tolist())["t2i"]["recall_at_10"]
    assert recall > 3 * 10 / 80  # three times chance
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    best = max(history, key=lambda row: row["val_rsum"])
    assert recall == best["val_t2i_recall_at_10"]  # what is returned is the best epoch, not the last


def test_loss_curve_is_written_as_numbers_and_as_a_picture(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    _, history = train(*toy, 24, replace(RECIPE, epochs=2), tmp_path)
    assert json.loads((tmp_path / "loss_curve.json").read_text()) == history
    assert [row["epoch"] for row in history] == [1, 2]
    with Image.open(tmp_path / "loss_curve.png") as picture:
        assert picture.width > 600


def test_same_seed_same_weights_other_seed_others(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=1)
    hashes = [
        weights_sha256(train(*toy, 24, replace(recipe, seed=seed), tmp_path / str(i))[0])
        for i, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize("step", [5, 20, 21, 33])  # within an epoch, at its end, just after
def test_resumed_run_ends_as_one_in_one_piece(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    recipe = replace(RECIPE, epochs=2)
    whole, history = train(*toy, 24, recipe, tmp_path / "whole")
    monkeypatch.setattr("export.loop.CHECKPOINT_SECONDS", 0)  # a checkpoint after every step
    with pytest.raises(Stopped):
        train(*toy, 24, recipe, tmp_path / "parts", progress=stop_at(step))
    resumed, resumed_history = train(*toy, 24, recipe, tmp_path / "parts")
    assert weights_sha256(resumed) == weights_sha256(whole)
    assert resumed_history == history


def test_a_finished_run_is_not_trained_again(toy: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    recipe = replace(RECIPE, epochs=1)
    first, _ = train(*toy, 24, recipe, tmp_path)

    def never(state: LoopProgress) -> None:
        raise AssertionError(f"trained again: {state}")

    again, _ = train(*toy, 24, recipe, tmp_path, progress=never)
    assert weights_sha256(again) == weights_sha256(first)


def test_it_ends_early_on_the_best_val(toy: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    frozen = replace(RECIPE, learning_rate=0.0, epochs=50, patience=3, collapse_steps=10**9)
    _, history = train(*toy, 24, frozen, tmp_path)
    assert len(history) == 4  # the first is the best, three more bring nothing
    _, again = train(*toy, 24, frozen, tmp_path)
    assert again == history


def test_a_checkpoint_of_another_run_is_refused(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    train(*toy, 24, replace(RECIPE, epochs=1), tmp_path)
    with pytest.raises(
        ExportError, match=r"checkpoint\.pt is of a run with other settings \(epochs, margin\)"
    ):
        train(*toy, 24, replace(RECIPE, epochs=2, margin=0.2), tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"cut short")
    with pytest.raises(ExportError, match=r"cannot be read .* delete it to start over"):
        train(*toy, 24, replace(RECIPE, epochs=1), tmp_path)


def test_a_collapsed_run_stops_with_a_clear_message(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    same = replace(toy[0], images=np.zeros_like(toy[0].images), input_ids=np.ones_like(toy[0].input_ids))
    with pytest.raises(
        ExportError, match=r"collapsed: for 30 steps the loss stood at 15\.00 = 2 x margin x \(n - 1\)"
    ):
        train(same, toy[1], 24, replace(RECIPE, collapse_steps=30), tmp_path)


def test_fewer_pictures_than_a_batch_are_one_batch(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    _, history = train(*toy, 24, replace(RECIPE, batch_size=512, epochs=2), tmp_path)
    assert history[1]["train_loss"] < history[0]["train_loss"]
    with pytest.raises(ExportError, match="1 training pictures"):
        train(toy_data(1, 1), toy[1], 24, RECIPE, tmp_path / "one")


def test_the_batches_of_an_epoch_are_different_pictures_and_of_other_epochs_others() -> None:
    data, recipe = toy_data(30, 1), replace(RECIPE, batch_size=8)
    batches = epoch_batches(data, recipe, 3)
    assert batches.shape == (3, 8)
    assert len(set(batches.ravel())) == 24
    assert (np.diff(batches, axis=1) > 0).all()
    assert np.array_equal(batches, epoch_batches(data, recipe, 3))
    assert not np.array_equal(batches, epoch_batches(data, recipe, 4))


def test_a_text_holds_for_every_picture_whose_captions_have_its_words() -> None:
    data = TrainingData(
        images=np.zeros((3, FEATURE_DIM), np.float32),
        input_ids=np.array([[1, 2], [3, 0], [2, 1], [4, 5]]),  # the first picture has two captions
        owners=np.array([0, 0, 1, 2]),
        ids_sha256="by hand",
    )
    texts = np.array([[2, 0, 0], [1, 3, 0], [5, 4, 0], [6, 0, 0], [0, 0, 0]])
    assert data.relevance(np.array([0, 2, 1]), texts).tolist() == [
        [True, True, False, False, True],  # words of two captions of one picture count together
        [False, False, True, False, True],
        [True, False, False, False, True],
    ]


def test_the_softmax_loss_learns_too(toy: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    _, history = train(*toy, 24, replace(RECIPE, temperature=0.1, short_captions=0.8), tmp_path)
    assert history[-1]["val_loss"] < history[0]["val_loss"]
    assert max(row["val_t2i_recall_at_10"] for row in history) > 3 * 10 / 80


def test_cosine_schedule_ends_at_nothing(toy: tuple[TrainingData, TrainingData], tmp_path: Path) -> None:
    recipe = replace(RECIPE, cosine=True, epochs=3)
    rates = [recipe.rate(step, 60) for step in range(60)]
    assert rates[:6] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
    assert rates[33] == pytest.approx(0.5)  # half way down
    assert rates[-1] < 0.01
    _, history = train(*toy, 24, recipe, tmp_path)
    at_full_rate, at_nothing = history[0], history[2]
    assert at_nothing["train_loss"] < at_full_rate["train_loss"]
    assert recipe.rate(0, 60) != replace(recipe, cosine=False).rate(0, 60) == 1


def test_a_run_on_other_features_does_not_go_on_from_this_one(
    toy: tuple[TrainingData, TrainingData], tmp_path: Path
) -> None:
    recipe = replace(RECIPE, epochs=1)
    train(*toy, 24, recipe, tmp_path)
    with pytest.raises(ExportError, match=r"run with other settings \(images\)"):
        train(replace(toy[0], images=toy[0].images * 2), toy[1], 24, recipe, tmp_path)


def test_one_caption_each_is_the_pictures_own() -> None:
    data = toy_data(50, 3)
    rows = np.arange(0, 50, 3)
    rng = np.random.default_rng(0)
    drawn = np.stack([data.one_caption_each(rows, rng) for _ in range(60)])
    assert (data.owners[drawn] == rows).all()
    assert set(drawn.ravel()) == {
        i for i, owner in enumerate(data.owners) if owner in set(rows)
    }  # each, in time


def test_shortened_captions_keep_some_of_their_own_words() -> None:
    ids = np.array([[5, 9, 2, 0], [7, 0, 0, 0], [0, 0, 0, 0]] * 200)
    short = shorten(ids, 1.0, np.random.default_rng(0))
    left = (short > 0).sum(axis=1)
    assert set(left[::3]) == {1, 2, 3}  # never none of the words
    assert set(left[1::3]) == {1}
    assert ((short == ids) | (short == 0)).all()
    assert np.array_equal(shorten(ids, 0.0, np.random.default_rng(0)), ids)
    assert 0.2 < (shorten(ids, 0.5, np.random.default_rng(0))[::3] != ids[::3]).any(axis=1).mean() < 0.5
