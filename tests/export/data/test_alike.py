"""Copies of pictures are found, and the same pictures are set aside always."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.data.alike import copies_among
from export.starter.photographs import set_aside


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
