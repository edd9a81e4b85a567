"""`itl-infer evaluate --taught`: what a few examples find, and what marks do for a name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from itl_infer import load_bundle
from itl_infer.captions import CaptionDataset, CaptionedImage
from itl_infer.cli import main
from itl_infer.evaluation.taught import classes_of_captions, measure_taught


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """A folder for each of two classes: reds and greens, eight pictures each."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(("red", "green")):
        (tmp_path / "classes" / name).mkdir(parents=True)
        for number in range(8):
            colour = rng.integers(0, 90, 3)
            colour[place] += 150
            Image.new("RGB", (20, 20), tuple(colour.tolist())).save(
                tmp_path / "classes" / name / f"{number}.png"
            )
    return tmp_path / "classes"


def test_a_folder_a_class(classes: Path, tiny_bundle: Path) -> None:
    args = ["evaluate", "--labelled", str(classes), "--taught", "-m", str(tiny_bundle)]
    found = json.loads(CliRunner().invoke(main, [*args, "--format", "json"]).stdout)
    assert (found["pictures"], found["classes"]) == (16, 2)
    assert [*found["examples"]] == ["1", "3", "5"]  # ten have no picture left to find
    assert found["examples"]["5"]["classes"] == 2
    assert found["examples"]["5"]["taught"] > 0.9
    assert found["words"] == {"mean_average_precision": 1.0, "known": 2}
    assert found["marks"]["queries"] == 2
    table = CliRunner().invoke(main, args).stdout
    assert "mAP, taught" in table
    refused = CliRunner().invoke(main, [*args, "--ranks", "ranks.csv"])
    assert refused.exit_code == 2


def test_a_class_is_what_three_captions_name(tiny_bundle: Path) -> None:
    captions = [["red"] * 3 + ["blue"] * 2, ["a red wave"] * 2 + ["blue"] * 3, ["green"]]
    dataset = CaptionDataset(
        "mine",
        Path(),
        tuple(CaptionedImage(f"{n}.png", tuple(said), "test") for n, said in enumerate(captions)),
    )
    found = classes_of_captions(load_bundle(tiny_bundle), dataset, "red blue green zebra")
    assert {name: rows.tolist() for name, rows in found.items()} == {"red": [0], "blue": [1]}


def test_examples_are_drawn_the_same_each_time(tiny_bundle: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((40, 128)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    bundle, of_class = load_bundle(tiny_bundle), {"red": np.arange(12)}
    one, two = (measure_taught(bundle, of_class, rows, "mine").to_json() for _ in range(2))
    assert one == two
