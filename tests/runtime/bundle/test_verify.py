"""`bundle verify` finds what is damaged, and computes the golden embeddings again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from itl_infer.bundle import verify_bundle
from tests.runtime.bundle.helpers import rehash
from tests.tiny_bundle import EMBED_DIM, SIDE, make_tiny_bundle, unit_rows


def test_verify_says_ok(tmp_path: Path) -> None:
    report = verify_bundle(make_tiny_bundle(tmp_path / "tiny", gallery=True))
    assert report.ok
    assert report.problems == ()
    assert (report.files, report.gallery_pictures) == (4, 3)
    assert report.image_min_cosine == pytest.approx(1)
    assert report.text_min_cosine == pytest.approx(1)


def test_verify_lists_every_damaged_file(tmp_path: Path) -> None:
    folder = make_tiny_bundle(tmp_path / "tiny", gallery=True)
    (folder / "gallery" / "red.png").write_bytes(b"pink")
    (folder / "text_encoder.onnx").unlink()
    report = verify_bundle(folder)
    assert not report.ok
    assert [problem.split(": ")[:2] for problem in report.problems] == [
        [str(folder / "text_encoder.onnx"), "cannot be read"],
        [str(folder / "gallery/red.png"), "damaged or replaced"],
    ]
    assert report.text_min_cosine is None


@pytest.mark.parametrize(
    ("array", "value", "problem"),
    [
        ("image_embeddings", unit_rows(np.eye(3)[[0, 1, 2, 0, 1]]), "image_encoder.onnx: min cosine"),
        ("text_embeddings", unit_rows(np.eye(3)), "text_encoder.onnx: min cosine"),
        ("input_ids", np.array([[1, 5, 0], [4, 2, 5], [3, 0, 0]]), "'a bright green wave' has other ids"),
        ("input_ids", np.array([[1, 5], [4, 2]]), "input_ids is int64 (2, 2), expected int64 (3, 2)"),
        ("captions", np.array([], str), "no golden embeddings in it"),
        ("captions", np.array([{}], object), "allow_pickle"),
        ("pixel_values", np.zeros((5, 8, 8, 3), np.uint8), "pixel_values is uint8 (5, 8, 8, 3), expected"),
        (
            "pixel_values",
            np.zeros((5, SIDE, SIDE, 3), np.float32),
            "pixel_values is float32 (5, 16, 16, 3), expected uint8",
        ),
        ("text_embeddings", np.full((3, EMBED_DIM), np.nan, np.float32), "min cosine"),
    ],
)
def test_verify_recomputes_the_golden_embeddings(
    copied: Path, array: str, value: npt.NDArray[Any], problem: str
) -> None:
    with np.load(copied / "golden.npz") as golden:
        arrays = {**golden, array: value}
    np.savez(copied / "golden.npz", **arrays)
    rehash(copied)
    report = verify_bundle(copied)
    assert len(report.problems) == 1
    assert problem in report.problems[0]
