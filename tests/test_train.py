"""Training: it learns, resumes to the same weights, ends early, and says so when the model collapses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.data import TrainingData, epoch_batches, shorten
from export.branches.recipe import Recipe
from export.branches.train import embed, train
from export.errors import ExportError
from export.layers import weights_sha256
from export.loop import LoopProgress
from export.trunk.auxiliary import AUXILIARY_SIDE
from export.trunk.inception import inception_v3
from export.trunk.recipe import TrunkRecipe, labelled_recipe
from export.trunk.tasks import NameWords, augment, stem_targets
from export.trunk.train import train_trunk
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.evaluation.metrics import evaluate_retrieval
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor

FEATURE_DIM = 2048
RECIPE = Recipe(batch_size=16, epochs=12, patience=12)


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


class Stopped(Exception):
    pass


def stop_at(step: int):
    def progress(state: LoopProgress) -> None:
        if state.step == step:
            raise Stopped

    return progress


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


# --- the trunk from nothing ---------------------------------------------------------------------------------

SIDE = 80
PROCESSOR = TextProcessor(NLTK_TEXT_RULES, ["red", "green", "blue", "squar"])


def coloured_squares(count: int, seed: int) -> tuple[CaptionDataset, np.ndarray]:
    rng = np.random.default_rng(seed)
    examples, pixels = [], np.empty((count, SIDE, SIDE, 3), np.uint8)
    for i in range(count):
        colour = rng.integers(3)
        pixels[i] = rng.integers(0, 60, (SIDE, SIDE, 3))
        pixels[i, 20:60, 20:60, colour] += 180
        name = ("red", "green", "blue")[colour]
        examples.append(CaptionedImage(f"{seed}-{i}.png", (f"A {name} square .", name), "train"))
    return CaptionDataset(f"squares {seed}", Path(), tuple(examples)), pixels


TRUNK_RECIPE = TrunkRecipe(epochs=2, batch_size=8, learning_rate=1e-3)


def run_trunk(checkpoint: Path, recipe: TrunkRecipe = TRUNK_RECIPE, **kwargs: object):
    torch.manual_seed(0)
    words = NameWords(*coloured_squares(32, 1), *coloured_squares(6, 2), PROCESSOR)
    return train_trunk(inception_v3(), [words], SIDE, recipe, checkpoint, **kwargs)


def test_trunk_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, history = run_trunk(tmp_path / "whole.pt")
    assert [row["epoch"] for row in history] == [1, 2]
    monkeypatch.setattr("export.loop.CHECKPOINT_SECONDS", 0)
    with pytest.raises(Stopped):
        run_trunk(tmp_path / "parts.pt", progress=stop_at(5))
    resumed, resumed_history = run_trunk(tmp_path / "parts.pt")
    assert resumed.weights_sha256 == whole.weights_sha256
    for row in (*history, *resumed_history):
        assert row.pop("hours") >= 0
    assert resumed_history == history


def test_a_trunk_that_starts_elsewhere_is_another_run(tmp_path: Path) -> None:
    run_trunk(tmp_path / "run.pt", replace(TRUNK_RECIPE, epochs=1))
    torch.manual_seed(1)
    words = NameWords(*coloured_squares(32, 1), *coloured_squares(6, 2), PROCESSOR)
    with pytest.raises(ExportError, match=r"other settings \(start\)"):
        train_trunk(inception_v3(), [words], SIDE, replace(TRUNK_RECIPE, epochs=1), tmp_path / "run.pt")


def test_a_longer_run_goes_on_from_where_the_rate_began_to_fall(tmp_path: Path) -> None:
    short = replace(TRUNK_RECIPE, steady=1, sides=(SIDE, SIDE + 9))
    long = replace(TRUNK_RECIPE, epochs=3, steady=2, sides=(SIDE, SIDE, SIDE + 9))
    whole, _ = run_trunk(tmp_path / "whole.pt", long)
    run_trunk(tmp_path / "parts.pt", short)
    steps: list[int] = []
    parts, history = run_trunk(tmp_path / "parts.pt", long, progress=lambda state: steps.append(state.step))
    assert parts.weights_sha256 == whole.weights_sha256
    assert steps == [*range(5, 13)]  # four steps an epoch
    assert [row["epoch"] for row in history] == [1, 2, 3]


def test_a_run_whose_rate_fell_otherwise_is_another_run(tmp_path: Path) -> None:
    run_trunk(tmp_path / "run.pt", replace(TRUNK_RECIPE, epochs=1))
    with pytest.raises(ExportError, match=r"other settings \(plan\)"):
        run_trunk(tmp_path / "run.pt", TRUNK_RECIPE)


def test_where_the_pixels_allow_an_auxiliary_head_is_trained_and_left_behind(tmp_path: Path) -> None:
    def network_after(side: int) -> torch.nn.Module:
        torch.manual_seed(0)
        words = NameWords(*coloured_squares(4, 1), *coloured_squares(2, 2), PROCESSOR)
        recipe = replace(TRUNK_RECIPE, epochs=1, batch_size=4, sides=(side,))
        return train_trunk(inception_v3(), [words], SIDE, recipe, tmp_path / f"{side}.pt")[0].network

    def has_auxiliary(side: int) -> bool:
        saved = torch.load(tmp_path / f"{side}.pt", weights_only=True)["state"]["model"]
        return any(key.startswith("auxiliary.") for key in saved)

    network = network_after(AUXILIARY_SIDE)
    assert network.state_dict().keys() == inception_v3().network.state_dict().keys()
    assert not any(module._forward_hooks for module in network.modules())
    assert has_auxiliary(AUXILIARY_SIDE)
    network_after(AUXILIARY_SIDE - 1)
    assert not has_auxiliary(AUXILIARY_SIDE - 1)


def test_the_rate_of_a_trunk_rises_stands_and_falls() -> None:
    recipe = replace(TRUNK_RECIPE, epochs=4, steady=2, warm_up=0.5)
    rates = [recipe.rate(step, 10) / recipe.learning_rate for step in range(40)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5:21] == [1.0] * 16
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[30] == pytest.approx(0.5)
    assert rates[39] < 0.01
    always_falling = replace(recipe, steady=0)
    assert always_falling.rate(0, 10) == pytest.approx(0.2 * recipe.learning_rate)
    assert always_falling.rate(39, 10) < 0.01 * recipe.learning_rate


def test_labelled_pictures_are_seen_larger_while_the_rate_falls() -> None:
    recipe = labelled_recipe(8)
    plan = recipe.plan(160)
    assert [side for side, _, _ in plan] == [107] * 6 + [128] * 2
    assert [falling for _, falling, _ in plan] == [0] * 6 + [1, 2]
    assert labelled_recipe(12).plan(160)[:6] == plan[:6]  # a longer run goes on with this one
    assert labelled_recipe(1).plan(160) == [[128, 1, 1]]
    own = labelled_recipe(3, 0, (150,), learning_rate=1e-4)
    assert (own.steady, own.sides, own.learning_rate) == (0, (150,), 1e-4)


def test_branches_and_trunk_can_be_trained_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = inception_v3()
    before = trunk.weights_sha256
    data = [TrainingData.of(*coloured_squares(count, seed), PROCESSOR) for count, seed in ((16, 1), (8, 2))]
    recipe = replace(RECIPE, batch_size=8, epochs=1)
    model, history = train(*data, len(PROCESSOR.stems), recipe, tmp_path, trunk=trunk)
    assert trunk.weights_sha256 == before  # a copy was trained
    assert model.trunk is not None
    assert weights_sha256(model.trunk) != before
    assert len(history) == 1


def test_stem_targets_are_shares_and_rare_stems_weigh_more() -> None:
    dataset = CaptionDataset(
        "d",
        Path(),
        (
            CaptionedImage("a", ("A red square .", "A square ."), "train"),
            CaptionedImage("b", ("A blue square .",), "train"),
        ),
    )
    targets = stem_targets(dataset, PROCESSOR)
    assert torch.allclose(targets.sum(dim=1), torch.ones(2))
    assert targets[0, 3] == targets[0, 0] == 0  # no blue in the first, and padding is never meant
    assert targets[1, 3] > 100 * targets[1, 4]  # "square" is said of both


def test_augment_moves_and_mirrors_but_keeps_the_picture() -> None:
    x = torch.linspace(-1, 1, 96).expand(4, 3, 96, 96).contiguous()
    still = augment(x, 48, 0.0, (1, 1), np.random.default_rng(0))
    assert still.shape == (4, 3, 48, 48)
    for picture in still:  # without movement it is the picture, or its mirror image
        row = picture[0, 24]
        assert torch.allclose(row, torch.linspace(-0.99, 0.99, 48), atol=0.02) or torch.allclose(
            row, torch.linspace(0.99, -0.99, 48), atol=0.02
        )
    moved = augment(x, 48, 0.2, (0.6, 1), np.random.default_rng(0))
    assert not torch.allclose(moved, still, atol=0.02)
