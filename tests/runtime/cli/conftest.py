"""Pictures, their index, and the bundle that the commands take where none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtime.cli.helpers import run
from tests.tiny_bundle import make_tiny_bundle, save_colours


@pytest.fixture(autouse=True)
def _tiny_bundle_is_the_default(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.delenv("ITL_INDEX", raising=False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    save_colours(folder, ["red", "green", "blue", "white", "purple"])
    return folder


@pytest.fixture
def index(pictures: Path, tmp_path: Path) -> Path:
    path = tmp_path / "photos.itl"
    assert run("embed-images", pictures, "-d", path).exit_code == 0
    return path


@pytest.fixture
def gallery_bundle(tmp_path: Path) -> Path:
    """A bundle with pictures of its own and their index."""
    bundle = make_tiny_bundle(tmp_path / "with_gallery", gallery=True)
    assert run("embed-images", bundle / "gallery", "-d", bundle / "index", "-m", bundle).exit_code == 0
    return bundle
