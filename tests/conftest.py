"""What every test may use: the data shared beside the checkout, and hypothesis without a stopwatch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("itl-infer", deadline=None, print_blob=True)
settings.load_profile("itl-infer")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the checkout; without it, the test is skipped."""
    folder = Path(__file__).parents[1] / ".." / "shared"
    if not (folder / "seed").is_dir():
        pytest.skip("no ../shared/seed beside the checkout")
    return folder
