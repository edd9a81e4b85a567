"""Which pictures are learned from: none of those that something is measured on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.errors import ExportError
from export.starter.photographs import pictures_to_learn_from, set_aside

PARTS = {"train": 6, "dev": 2, "test": 2}


def draw(path: Path, seed: int, side: int = 60) -> None:
    """Patches by chance: pictures of different seeds are no copies of each other."""
    patches = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(patches).resize((side, side), Image.Resampling.NEAREST).save(path)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """In the layouts of Flickr8k and Visual7W, two of whose pictures have no captions."""
    flickr, visual = tmp_path / "photographs" / "flickr8k", tmp_path / "photographs" / "visual7w"
    captions, seed = [], 0
    for part, count in PARTS.items():
        names = [f"{part}{i}.jpg" for i in range(count)]
        for name in names:
            draw(flickr / "Flicker8k_Dataset" / name, seed := seed + 1)
            captions += [f"{name}#{i}\tA dog runs ." for i in range(5)]
        (flickr / f"Flickr_8k.{part}Images.txt").write_text(
            "".join(f"{name}\n" for name in names), encoding="utf-8"
        )
    (flickr / "Flickr8k.token.txt").write_text("\n".join(captions) + "\n", encoding="utf-8")
    lines = []
    for name, split in (("a", "train"), ("b", "val"), ("c", ""), ("d", "")):
        draw(visual / "images" / f"{name}.webp", seed := seed + 1)
        if split:
            lines.append({"image": f"images/{name}.webp", "captions": ["A cat ."], "split": split})
    (visual / "captions.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8"
    )
    return tmp_path / "photographs"


def test_nothing_that_is_measured_on_is_learned_from(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("export.starter.photographs.SET_ASIDE", 1)
    [aside] = set_aside(["images/c.webp", "images/d.webp"])
    found = {path.name for path in pictures_to_learn_from([photographs], tmp_path, None, print)}
    expected = {f"train{i}.jpg" for i in range(PARTS["train"])} | {"a.webp", "c.webp", "d.webp"}
    assert found == expected - {Path(aside).name}


def test_copies_of_what_is_to_be_measured_on_are_left_out(photographs: Path, tmp_path: Path) -> None:
    draw(tmp_path / "measured" / "copy of train2.png", seed=3, side=90)
    said: list[str] = []
    found = pictures_to_learn_from([photographs], tmp_path, tmp_path / "measured", said.append)
    assert {path.name for path in found} >= {"train1.jpg", "train3.jpg"}
    assert "train2.jpg" not in {path.name for path in found}
    assert "  1 left out" in said


def test_any_folder_gives_all_pictures_below_it(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "a.png", "b/c/3.webp"):
        draw(tmp_path / "mine" / name, seed=len(name))
    (tmp_path / "mine" / "notes.txt").write_text("no picture", encoding="utf-8")
    found = pictures_to_learn_from([tmp_path / "mine"], tmp_path, None, print)
    assert [path.relative_to(tmp_path / "mine").as_posix() for path in found] == [
        "a.png",
        "b/2.jpg",
        "b/c/3.webp",
    ]


@pytest.mark.parametrize(("folder", "said"), [("none", "is no folder"), ("empty", "has no pictures in it")])
def test_a_folder_without_pictures_is_said(tmp_path: Path, folder: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=said):
        pictures_to_learn_from([tmp_path / folder], tmp_path, None, print)
