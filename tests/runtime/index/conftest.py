"""Twelve pictures and an index of them, and a folder for what is killed over and over."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from itl_infer.index import Index
from itl_infer.ingest import embed_directory
from tests.fake_bundle import FakeBundle, write_pictures


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve pictures."""
    write_pictures(tmp_path / "photos", 12)
    return tmp_path / "photos"


@pytest.fixture
def index(tmp_path: Path, photos: Path) -> Index:
    """An index of them, beside them."""
    index = Index.open(tmp_path / "photos.itl", FakeBundle())
    embed_directory(photos, index)
    return index


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: a killed process loses none of that, and syncing costs nothing."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder).resolve()
