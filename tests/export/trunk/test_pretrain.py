"""Labelled pictures: how they are read and decoded, and a trunk that learns to tell them apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from click.testing import CliRunner

from export.cli import main
from export.data.labelled import read_labelled
from export.data.packed import LONGEST_SIDE, pack_pictures
from export.errors import ExportError
from export.layers import ScalePixels
from export.trunk.of_bundle import trunk_of_bundle
from export.trunk.recipe import TrunkRecipe
from export.trunk.sources import open_trunk
from export.trunk.tasks import NameClasses, change_colours, crop_at_random
from itl_infer.bundle import load_bundle
from tests.export.helpers import SMALL_TRUNK

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def silent(_done: float, _total: float) -> None:
    pass


def write_pictures(folder: Path, names: list[str], colour: tuple[int, int, int], seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        height, width = rng.integers(40, 90, 2)
        noise = rng.integers(-30, 30, (height, width, 3))
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(folder / name)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources: three colours, and light and dark."""
    folder = tmp_path_factory.mktemp("labelled")
    for number, (name, colour) in enumerate(COLOURS.items()):
        for split, count in (("train", 12), ("val", 4)):
            names = [f"{split} {i}.png" for i in range(count)]
            write_pictures(folder / "colours" / split / name, names, colour, seed=number)
    for name, colour in (("light", (230, 230, 230)), ("dark", (20, 20, 20))):
        for split, count in (("train", 6), ("val", 2)):
            write_pictures(folder / "shades" / split / name, [f"{i}.webp" for i in range(count)], colour)
    return folder


class TestReading:
    def test_sources_classes_and_splits(self, labelled: Path) -> None:
        dataset = read_labelled(labelled)
        assert dataset.labels == [
            "colours/blue",
            "colours/green",
            "colours/red",
            "shades/dark",
            "shades/light",
        ]
        assert (len(dataset.split("train")), len(dataset.split("val"))) == (48, 16)
        assert {picture.source for picture in dataset} == {"colours", "shades"}

    def test_folders_of_classes_alone_lose_a_twentieth_to_val(self, tmp_path: Path) -> None:
        for name, colour in COLOURS.items():
            write_pictures(tmp_path / "mine" / name, [f"{i:02}.jpg" for i in range(40)], colour)
        dataset = read_labelled(tmp_path / "mine")
        assert dataset.labels == ["mine/blue", "mine/green", "mine/red"]
        assert [len(dataset.split(name)) for name in ("train", "val")] == [114, 6]
        assert {p.label for p in dataset.split("val")} == set(dataset.labels)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda _: None, "no folder of labelled pictures"),
            (lambda folder: folder.mkdir(), "0 training pictures of 0 classes"),
            (lambda folder: write_pictures(folder, ["a.png"], (1, 2, 3)), "in no folder of a class"),
            (
                lambda folder: write_pictures(folder / "x" / "train" / "one", ["a.png"], (1, 2, 3)),
                "1 training pictures of 1 classes and 0 val",
            ),
            (
                lambda folder: [
                    write_pictures(folder / "x" / split / name, ["a.png"], (1, 2, 3))
                    for split, name in (("train", "a"), ("train", "b"), ("val", "c"))
                ],
                "x/c has val pictures and no training pictures",
            ),
        ],
    )
    def test_what_cannot_be_learnt_from_is_said(
        self, tmp_path: Path, make: Callable[[Path], object], message: str
    ) -> None:
        make(tmp_path / "f")
        with pytest.raises(ExportError, match=message):
            read_labelled(tmp_path / "f")


class TestPacking:
    def test_a_file_that_was_cut_is_packed_again(self, tmp_path: Path) -> None:
        write_pictures(tmp_path / "p", [f"{i}.png" for i in range(5)], (10, 200, 30))
        paths = sorted((tmp_path / "p").iterdir())
        expected = np.array(pack_pictures(paths, tmp_path / "cache", silent).pixels)
        [packed] = (tmp_path / "cache").glob("packed-*.bin")
        for damage in (lambda: packed.write_bytes(packed.read_bytes()[:-7]), packed.unlink):
            damage()
            assert np.array_equal(pack_pictures(paths, tmp_path / "cache", silent).pixels, expected)

    def test_every_picture_comes_back_and_large_ones_smaller(self, tmp_path: Path) -> None:
        sizes = [(40, 70), (300, 600), (64, 64)]
        rng = np.random.default_rng(0)
        paths, expected = [], []
        for i, (height, width) in enumerate(sizes):
            pixels = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
            paths.append(tmp_path / f"{i}.png")
            Image.fromarray(pixels).save(paths[-1])
            expected.append(pixels)
        packed = pack_pictures(paths, tmp_path / "cache", silent)
        assert np.array_equal(packed[0], expected[0])
        assert packed[1].shape == (LONGEST_SIDE // 2, LONGEST_SIDE, 3)
        assert np.array_equal(packed[2], expected[2])
        assert packed.failed == {}

    def test_a_damaged_picture_is_left_out_with_its_reason(self, tmp_path: Path) -> None:
        write_pictures(tmp_path, ["a.png", "b.png", "c.png"], (9, 9, 9))
        (tmp_path / "b.png").write_bytes(b"no picture")
        packed = pack_pictures([tmp_path / f"{n}.png" for n in "abc"], tmp_path / "cache", silent)
        assert packed.readable.tolist() == [0, 2]
        assert packed.failed == {
            str(
                tmp_path / "b.png"
            ): "not a JPEG, PNG, WebP, GIF, TIFF, BMP, JPEG 2000, AVIF, HEIC, JPEG XL or RAW picture"
        }
        assert packed[2].shape[2] == 3

    def test_they_are_decoded_once_and_again_when_they_change(self, tmp_path: Path) -> None:
        write_pictures(tmp_path, ["a.png", "b.png"], (9, 9, 9))
        paths = [tmp_path / "a.png", tmp_path / "b.png"]
        calls: list[float] = []
        for _ in range(2):
            pack_pictures(paths, tmp_path / "cache", lambda done, _total: calls.append(done))
        assert calls == [2]
        write_pictures(tmp_path, ["b.png"], (200, 9, 9), seed=5)
        assert pack_pictures(paths, tmp_path / "cache", silent)[1].mean() > 40


class TestAugmentation:
    @given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 10_000))
    def test_a_crop_is_a_part_of_the_picture(self, height: int, width: int, seed: int) -> None:
        down, across = np.mgrid[0:height, 0:width]
        pixels = np.stack([down * 255 // height, across * 255 // width, 0 * down], axis=2).astype(np.uint8)
        rng = np.random.default_rng(seed)
        cut = crop_at_random(pixels, 24, (0.35, 1.0), rng)
        assert cut.shape == (24, 24, 3)
        assert (np.diff(cut[:, :, 0].astype(int), axis=0) >= 0).all()  # never upside down
        rising = np.diff(cut[:, :, 1].astype(int), axis=1)
        assert (rising >= 0).all() or (rising <= 0).all()  # mirrored or not
        assert (cut[:, :, 2] == 0).all()

    def test_crops_have_the_share_of_the_area_that_was_asked_for(self) -> None:
        across = np.tile(np.arange(200, dtype=np.uint8), (200, 1))
        pixels = np.stack([across, across.T, across], axis=2)
        rng = np.random.default_rng(0)
        shares = []
        for _ in range(300):
            cut = crop_at_random(pixels, 50, (0.3, 0.5), rng).astype(float)
            shares.append(np.ptp(cut[:, :, 0]) * np.ptp(cut[:, :, 1]) / 200**2)
        assert 0.25 < min(shares) < max(shares) < 0.55

    def test_colours_change_by_no_more_than_asked(self) -> None:
        x = torch.rand(64, 3, 4, 4, generator=torch.manual_seed(0)) * 2 - 1
        assert torch.allclose(change_colours(x, 0.0, np.random.default_rng(0)), x, atol=1e-6)
        changed = change_colours(x, 0.3, np.random.default_rng(0))
        assert changed.abs().max() <= 1
        assert 0.05 < (changed - x).abs().mean() < 0.4


@pytest.fixture(scope="module")
def task(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> NameClasses:
    dataset = read_labelled(labelled)
    return NameClasses(
        dataset,
        pack_pictures([p.path for p in dataset], tmp_path_factory.mktemp("cache"), silent),
    )


class TestNamingClasses:
    def test_it_trains_on_train_and_measures_val_by_source(self, task: NameClasses) -> None:
        assert (len(task), task.outputs) == (48, 5)

        def knows_colours(x: torch.Tensor) -> torch.Tensor:
            """Right for the colours (blue, green, red are classes 0, 1, 2), dark for every shade."""
            means = x.mean(dim=(2, 3))
            grey = means.max(dim=1).values - means.min(dim=1).values < 0.5
            logits = torch.zeros(len(x), 5)
            logits[torch.arange(len(x)), torch.where(grey, 3, 2 - means.argmax(dim=1))] = 1
            return logits

        assert task.measure(knows_colours, 32) == {
            "val_top1": 14 / 16,
            "val_top1_colours": 1.0,
            "val_top1_shades": 0.5,
        }

    def test_targets_are_the_class_and_a_little_of_all(self, task: NameClasses) -> None:
        targets = task.targets(np.arange(48), TrunkRecipe(label_smoothing=0.1))
        assert torch.allclose(targets.sum(dim=1), torch.ones(48))
        assert torch.allclose(targets.max(dim=1).values, torch.tensor(0.92))
        assert torch.bincount(targets.argmax(dim=1)).tolist() == [12, 12, 12, 6, 6]


class TestCommand:
    def run(self, labelled: Path, work: Path, *options: str) -> tuple[int, str, str]:
        command = ["pretrain", str(labelled), "--work", str(work), *options]
        result = CliRunner().invoke(main, command)
        return result.exit_code, result.stdout, result.stderr

    def test_it_learns_resumes_and_leaves_a_trunk_for_build(self, labelled: Path, tmp_path: Path) -> None:
        options = ("--trunk", SMALL_TRUNK, "--sides", "64", "--epochs", "2", "--batch-size", "12")
        code, out, err = self.run(labelled, tmp_path, *options)
        assert code == 0, err
        assert out.strip() == str(tmp_path / "trunk.pth")
        history = json.loads((tmp_path / "history.json").read_text())
        assert [row["epoch"] for row in history] == [1, 2]
        assert {"val_top1", "val_top1_colours", "val_top1_shades"} <= set(history[0])
        assert "top1 colours" in err
        trunk = open_trunk(SMALL_TRUNK, str(tmp_path / "trunk.pth"))
        (tmp_path / "trunk.pth").unlink()
        code, _, err = self.run(labelled, tmp_path, *options)
        assert code == 0, err  # goes on behind the last epoch: nothing is left to do
        assert open_trunk(SMALL_TRUNK, str(tmp_path / "trunk.pth")).weights_sha256 == trunk.weights_sha256

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--trunk-weights", "nowhere.pth"), "no trunk weights at nowhere.pth"),
            (("--sides", "60"), "side 60 is too small for inception_v3"),
        ],
    )
    def test_bad_settings_end_in_one_line(
        self, labelled: Path, tmp_path: Path, options: tuple[str, ...], message: str
    ) -> None:
        code, _, err = self.run(labelled, tmp_path, *options)
        assert code == 1
        assert message in err.splitlines()[-1]

    def test_sides_that_are_no_numbers_are_a_matter_of_usage(self, labelled: Path, tmp_path: Path) -> None:
        code, _, err = self.run(labelled, tmp_path, "--sides", "96,large")
        assert code == 2
        assert "give whole numbers" in err

    def test_some_epochs_are_left_for_the_rate_to_fall(self, labelled: Path, tmp_path: Path) -> None:
        code, _, err = self.run(labelled, tmp_path, "--epochs", "2", "--steady", "2")
        assert code == 2
        assert "--steady 2: fewer than the 2 of --epochs" in err


def test_the_trunk_of_a_bundle_is_what_it_was_made_of_and_can_be_trained() -> None:
    """The starter's graph is int8: the cosine to what was published is what that costs."""
    bundle = load_bundle()
    pixels = torch.from_numpy(np.load(bundle.path / "golden.npz")["pixel_values"])
    trunk = trunk_of_bundle(bundle.path)
    assert (trunk.name, trunk.image_rules) == ("efficientnet_lite0", bundle.image_rules)
    scaled = ScalePixels(trunk.mean, trunk.std)(pixels)
    with torch.no_grad():
        features = trunk.network.eval()(scaled)
        in_training = trunk.network.train()(scaled)
    assert torch.allclose(features, in_training, atol=1e-2)  # its norms know these pictures
    try:
        published = open_trunk("efficientnet_lite0", "imagenet", side=trunk.side)
    except ExportError as error:
        pytest.skip(str(error))
    with torch.no_grad():
        exact = published.network.eval()(scaled)
    assert torch.nn.functional.cosine_similarity(features, exact).min() > 0.95
