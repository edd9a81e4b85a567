"""Bundles changed, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itl_infer.bundle.manifest import write_manifest
from itl_infer.errors import BundleError


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def rehash(folder: Path) -> None:
    """Let the manifest agree with files that a test has changed."""
    write_manifest(folder, json.loads((folder / "bundle.json").read_text(encoding="utf-8")))


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(BundleError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)
