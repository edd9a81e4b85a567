"""A student learns what a teacher sees in pictures that nobody labelled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner
from torch import Tensor, nn

from export.cli import main
from export.data.packed import pack_pictures
from export.distil.crops import Crops
from export.distil.recipe import DistilRecipe
from export.errors import ExportError
from export.report import Reporter
from export.runs.distil import distil
from export.trunk.sources import open_trunk
from export.trunk.state import save_trunk
from export.trunk.trunk import Trunk
from tests.export.helpers import SMALL_TRUNK

SIDE = 32
RECIPE = DistilRecipe(epochs=4, views=2, batch_size=8, learning_rate=3e-3, val=0.2, crop=(0.5, 1.0))
FROZEN = replace(RECIPE, frozen="layer1", frozen_epochs=2)


class MeanColour(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) * self.weight

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


def teacher() -> Trunk:
    """It sees which of red, green and blue a picture has most of."""
    grey = (127.5, 127.5, 127.5)
    classifier = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        classifier.weight.copy_(10 * torch.eye(3))
    classifier.requires_grad_(False)
    names = (("red",), ("green",), ("blue",))
    trunk = Trunk("colours", MeanColour(), 3, 24, 1, "bilinear-antialias", grey, grey)
    return replace(trunk, classifier=classifier, class_names=names)


def student(side: int = SIDE) -> Trunk:
    torch.manual_seed(5)
    return open_trunk(SMALL_TRUNK, "none", side=side)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sixty pictures of one colour each, with noise on it; one more is none."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(60):
        height, width = rng.integers(30, 60, 2)
        colour = np.full(3, 60)
        colour[i % 3] = 190
        noise = rng.integers(-50, 50, (height, width, 3))
        Image.fromarray((colour + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{i:02}.png")
    (folder / "99.png").write_bytes(b"no picture")
    return sorted(folder.iterdir())


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, done: float, total: float, note: str = "") -> None:
        pass


class Interrupt(Lines):
    """As somebody who presses Ctrl-C after so many steps of training."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def progress(self, done: float, total: float, note: str = "") -> None:  # noqa: ARG002
        self.left -= "epoch" in note
        if not self.left:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def learned(paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    work, reporter = tmp_path_factory.mktemp("work"), Lines()
    distil(student(), teacher(), paths, FROZEN, work, reporter)
    return work, reporter.lines


def test_a_student_names_what_its_teacher_names(learned: tuple[Path, list[str]], paths: list[Path]) -> None:
    work, _ = learned
    history = json.loads((work / "history.json").read_text(encoding="utf-8"))
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["val_top1"] == 1
    assert history[-1]["val_features"] > 0.5
    assert history[-1]["train_loss"] < history[0]["train_loss"]

    trunk = open_trunk(SMALL_TRUNK, str(work / "trunk.pth"), side=SIDE)
    assert trunk.classifier is not None
    assert trunk.source == "learned from colours (none)"
    pixels = np.stack([np.asarray(Image.open(path).resize((SIDE, SIDE))) for path in paths[:6]])
    mean, std = (np.array(values, np.float32) for values in (trunk.mean, trunk.std))
    with torch.inference_mode():
        features = trunk.network(torch.from_numpy((pixels - mean) / std).permute(0, 3, 1, 2))
        assert trunk.logits(features).argmax(dim=1).tolist() == [0, 1, 2, 0, 1, 2]


def test_what_cannot_be_read_is_left_out_and_said(learned: tuple[Path, list[str]], paths: list[Path]) -> None:
    _, lines = learned
    assert any(f"left out: {paths[-1]}: not a JPEG" in line for line in lines)
    assert any("view 2 of 2 of 48 pictures" in line for line in lines)


@pytest.mark.parametrize("steps", [3, 13, 24], ids=["while frozen", "while all learn", "at the end"])
def test_interrupted_it_ends_with_the_same_bits(
    learned: tuple[Path, list[str]], paths: list[Path], tmp_path: Path, steps: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        distil(student(), teacher(), paths, FROZEN, tmp_path, Interrupt(steps))
    assert not (tmp_path / "trunk.pth").exists()
    distil(student(), teacher(), paths, FROZEN, tmp_path, Lines())
    expected, found = (torch.load(work / "trunk.pth") for work in (learned[0], tmp_path))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected if key != "source")


def test_layers_stay_as_they_are_while_they_are_frozen(paths: list[Path], tmp_path: Path) -> None:
    trunk = student()
    before = {key: value.clone() for key, value in trunk.network.named_parameters()}
    distil(trunk, teacher(), paths, replace(FROZEN, epochs=2), tmp_path, Lines())
    moved = {key for key, value in trunk.network.named_parameters() if not torch.equal(value, before[key])}
    assert moved
    assert not [key for key in moved if key.startswith(("conv1", "bn1", "layer1"))]
    assert {key for key in before if key.startswith("layer2")} <= moved


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"recipe": replace(FROZEN, seed=1)}, "seed"),
        ({"student": lambda: student(side=40)}, "side"),
        ({"student": lambda: open_trunk("timm:test_vit", "none")}, "no layer 'layer1'"),
        ({"teacher": "another"}, "teacher's answers"),
    ],
    ids=["seed", "side", "student", "teacher"],
)
def test_a_checkpoint_of_another_run_is_refused_in_a_line(
    learned: tuple[Path, list[str]], paths: list[Path], changed: dict[str, object], said: str
) -> None:
    learner, knower = changed.get("student", student), teacher()
    if "teacher" in changed:
        with torch.no_grad():
            knower.network.weight.mul_(2)  # type: ignore[union-attr, operator]
    with pytest.raises(ExportError, match=said) as caught:
        distil(learner(), knower, paths, changed.get("recipe", FROZEN), learned[0], Lines())  # type: ignore[operator, arg-type]
    assert "\n" not in str(caught.value)


def test_a_teacher_without_classifier_is_refused(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"teacher colours .* has no classifier"):
        distil(student(), replace(teacher(), classifier=None), paths, RECIPE, tmp_path, Lines())


def test_a_layer_that_is_none_is_refused(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no layer 'layer9': choose one of conv1, .*layer1"):
        distil(student(), teacher(), paths, replace(FROZEN, frozen="layer9"), tmp_path, Lines())


def test_too_few_pictures_are_said(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 pictures that can be read: too few"):
        distil(student(), teacher(), [*paths[:2], paths[-1]], RECIPE, tmp_path, Lines())


def test_teacher_and_student_look_at_the_same_part(tmp_path: Path) -> None:
    paths = []
    for i in range(40):  # red rises to the right, green downwards: a pixel says where it is from
        red, green = np.meshgrid(np.linspace(0, 255, 90), np.linspace(0, 255, 60))
        picture = np.stack([red, green, np.full_like(red, 6 * i)], axis=2)
        Image.fromarray(picture.astype(np.uint8)).save(path := tmp_path / f"{i:02}.png")
        paths.append(path)
    packed = pack_pictures(paths, tmp_path, lambda _done, _total: None)
    first, other, whole = (Crops(packed, packed.readable, number, (0.2, 0.4), 0) for number in (0, 1, -1))
    places = np.arange(40)

    def centres(crops: Crops, side: int) -> np.ndarray:
        return crops.at(places, side).mean(axis=(1, 2))

    assert np.abs(centres(first, 8) - centres(first, 64)).max() < 3
    assert np.abs(centres(first, 8) - centres(other, 8))[:, :2].mean() > 12
    assert np.abs(centres(whole, 8)[:, :2] - 127).max() < 2
    assert np.array_equal(np.concatenate([*first.batches(3, 8)]), first.at(places[3:], 8))


def test_the_command_leaves_a_trunk_that_votes(paths: list[Path], tmp_path: Path) -> None:
    knower = tmp_path / "teacher.pth"
    torch.manual_seed(3)
    trunk = open_trunk(SMALL_TRUNK, "none")
    save_trunk(replace(trunk, classifier=nn.Linear(trunk.feature_dim, 1000)), knower)
    work = tmp_path / "work"
    command = ["distil", "--student", SMALL_TRUNK, "--teacher", SMALL_TRUNK, "--teacher-weights", str(knower)]
    options = ["--pictures", str(paths[0].parent), "--side", "32", "--epochs", "1", "--views", "1"]
    result = CliRunner().invoke(main, [*command, *options, "--batch-size", "8", "--work", str(work)])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(work / "trunk.pth")
    found = open_trunk(SMALL_TRUNK, str(work / "trunk.pth"))
    assert found.classifier is not None
    assert found.class_names[0] == ("tench", "Tinca tinca")


def test_wrong_folders_are_said_in_a_line(tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "none", "is no folder"), (tmp_path, "has no pictures")):
        command = [
            "distil",
            "--teacher-weights",
            "none",
            "--pictures",
            str(folder),
            "--work",
            str(tmp_path / "work"),
        ]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1
        assert said in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.output


def test_the_rate_falls_once_layers_thaw_and_is_whole_where_none_was_frozen() -> None:
    """Halfway of a run of two epochs the cosine is at one half."""
    recipe = DistilRecipe(epochs=2, learning_rate=1e-3, whole_rate=0.25, warm_up=0)
    assert recipe.rate(1000, 1000) == pytest.approx(5e-4)
    thawed = replace(recipe, frozen="layer1", frozen_epochs=1)
    assert thawed.rate(999, 1000) == pytest.approx(5e-4, rel=0.01)
    assert thawed.rate(1000, 1000) == pytest.approx(1.25e-4)
