"""Plain pictures, their index, and a collection of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from itl_infer import Bundle, Index, embed_directory, load_bundle, milvus
from tests.runtime.milvus.helpers import COLOURS
from tests.tiny_bundle import save_colours


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return load_bundle(tiny_bundle)


@pytest.fixture(autouse=True)
def _tiny_bundle_is_the_default(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITL_BUNDLE", str(tiny_bundle))
    monkeypatch.delenv("ITL_INDEX", raising=False)
    monkeypatch.delenv("MILVUS_TOKEN", raising=False)


@pytest.fixture
def colours(tmp_path: Path, bundle: Bundle) -> Index:
    """Eight plain pictures, and their index."""
    save_colours(tmp_path / "pictures", COLOURS)
    index = Index.open(tmp_path / "photos.itl", bundle)
    embed_directory(tmp_path / "pictures", index)
    return index


@pytest.fixture
def pushed(colours: Index) -> str:
    """The address of a collection of these."""
    milvus.push(colours.path, f"milvus:{colours.path.parent}/photos.db#photos")
    return f"milvus:{colours.path.parent}/photos.db#photos"
