"""A bundle to use, and one to change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from itl_infer.bundle import Bundle, load_bundle


@pytest.fixture
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture
def copied(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to be changed."""
    return shutil.copytree(tiny_bundle, tmp_path / "copied")
