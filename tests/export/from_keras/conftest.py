"""What Keras computed, for all tests that compare with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.places import FIXTURES


@pytest.fixture(scope="package")
def reference() -> dict[str, Any]:
    """What Keras computed, see fixtures/keras/make_fixture.py."""
    with np.load(FIXTURES / "keras" / "reference.npz") as arrays:
        return dict(arrays)
