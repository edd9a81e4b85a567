"""The InceptionV3 bundle of the repository is whole, small enough, and sees photographs."""

from __future__ import annotations

import pytest

import itl_infer
from itl_infer.bundle import verify_bundle
from tests.places import ROOT, SHARED

INCEPTION = ROOT / "artifacts" / "inception"
PHOTOS = SHARED / "photos" / "objects.json"


def test_it_is_whole_and_at_most_32_mb() -> None:
    report = verify_bundle(INCEPTION)
    assert report.ok, report.problems
    assert sum(file.stat().st_size for file in INCEPTION.rglob("*") if file.is_file()) <= 32e6


@pytest.mark.skipif(not PHOTOS.is_file(), reason=f"no photographs at {PHOTOS}")
def test_it_finds_things_in_photographs_that_it_never_saw() -> None:
    """By chance a right picture is among the first ten for 30 of 100 names."""
    bundle = itl_infer.load_bundle(INCEPTION)
    assert bundle.manifest["trunk"]["network"] == "inception_v3"
    figures = itl_infer.evaluate_labelled(PHOTOS, bundle).figures
    assert figures["recall_at_10"] > 0.75
    assert figures["mean_average_precision"] > 0.3
