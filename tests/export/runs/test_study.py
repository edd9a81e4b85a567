"""Recipes are compared over seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")

from export.branches.data import TrainingData
from export.report import Reporter
from export.runs.study import TRIED, format_study, short_query_map, study
from itl_infer.captions import CaptionDataset
from tests.export.helpers import SETTINGS


def test_recipes_are_compared_over_seeds(
    dataset: CaptionDataset, small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(SETTINGS, trunk_weights=str(small_weights))
    names = ("original", "+ cosine schedule = best")
    monkeypatch.setattr("export.runs.study.TRIED", {name: replace(TRIED[name], epochs=3) for name in names})
    found = study(dataset, settings, tmp_path, Reporter(), seeds=2, names=names)
    assert {name: len(runs) for name, runs in found.items()} == dict.fromkeys(names, 2)
    first, second = found["original"]
    assert first != second
    header, _, row, best = format_study(found).splitlines()
    assert header.startswith("| recipe | t2i R@1 | R@5 | R@10 | i2t R@1 |")
    mean, half_range = (first["rsum"] + second["rsum"]) / 2, abs(first["rsum"] - second["rsum"]) / 2
    assert (
        f"| {mean:.1f} ± {half_range * 2**0.5:.1f} |" in row
    )  # of two values, that is the standard deviation
    assert best.startswith("| + cosine schedule = best |")
    again = study(dataset, settings, tmp_path, Reporter(), seeds=2, names=names)
    assert again == found  # from the checkpoints


class Words(torch.nn.Module):
    """Query (a, b) -> the sum of the two stems' directions."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return torch.eye(4)[input_ids].sum(dim=1)


def test_short_query_precision_by_hand() -> None:
    data = TrainingData(
        images=np.eye(4, dtype=np.float32)[:3],
        input_ids=np.array([[1, 2], [1, 2], [3, 0]]),  # the third caption has one stem only
        owners=np.array([0, 1, 2]),
        ids_sha256="by hand",
    )
    model = SimpleNamespace(text_encoder=Words(), parameters=lambda: iter([torch.zeros(1)]))
    images = np.eye(4, dtype=np.float32)[[1, 3, 0]]
    # "1 2" finds pictures 0 (score 1), then 1 and 2 (score 0, the wrong one first): places 1 and 3, asked twice.
    # "3" with padding finds 1 and 2 (scores 1, 1; the wrong one first) before 0: the relevant one at place 2, 1/2.
    assert short_query_map(model, data, images) == pytest.approx((5 / 6 + 5 / 6 + 1 / 2) / 3)
