"""A trunk from nothing: it resumes to the same weights, and its rate rises, stands and falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.data import TrainingData
from export.branches.train import train
from export.errors import ExportError
from export.layers import weights_sha256
from export.trunk.auxiliary import AUXILIARY_SIDE, auxiliary_of
from export.trunk.inception import inception_v3
from export.trunk.recipe import TrunkRecipe, labelled_recipe
from export.trunk.sources import open_trunk
from export.trunk.tasks import NameWords, augment, stem_targets
from export.trunk.train import train_trunk
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.text import NLTK_TEXT_RULES, TextProcessor
from tests.export.helpers import SMALL_TRUNK
from tests.export.training import RECIPE, Stopped, stop_at

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
    return train_trunk(open_trunk(SMALL_TRUNK, "none"), [words], SIDE, recipe, checkpoint, **kwargs)


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
    trunk = open_trunk(SMALL_TRUNK, "none")
    with pytest.raises(ExportError, match=r"other settings \(start\)"):
        train_trunk(trunk, [words], SIDE, replace(TRUNK_RECIPE, epochs=1), tmp_path / "run.pt")


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
    words = NameWords(*coloured_squares(2, 1), *coloured_squares(2, 2), PROCESSOR)
    recipe = replace(TRUNK_RECIPE, epochs=1, batch_size=2, sides=(AUXILIARY_SIDE,))
    network = train_trunk(inception_v3(), [words], SIDE, recipe, tmp_path / "run.pt")[0].network
    assert network.state_dict().keys() == inception_v3().network.state_dict().keys()
    assert not any(module._forward_hooks for module in network.modules())
    saved = torch.load(tmp_path / "run.pt", weights_only=True)["state"]["model"]
    assert any(key.startswith("auxiliary.") for key in saved)
    assert auxiliary_of(inception_v3(), 3, AUXILIARY_SIDE - 1) is None


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
    trunk = open_trunk(SMALL_TRUNK, "none")
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
