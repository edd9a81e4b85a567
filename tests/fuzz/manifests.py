"""The manifest of a bundle, and what is read beside it: a bundle, or one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from itl_infer.bundle import load_bundle
from itl_infer.errors import ItlError
from tests.fuzz.helpers import require_line, scratch
from tests.tiny_bundle import make_tiny_bundle


@cache
def _bundle() -> Path:
    return make_tiny_bundle(scratch() / "bundle")


def seeds() -> Iterator[bytes]:
    """The manifest, and some with one value of another kind."""
    content = (_bundle() / "bundle.json").read_bytes()
    yield content
    for key in json.loads(content):
        for value in (None, -1, 10**30, 1e308, "", "../x", "\ud800", [], {}, [[]], True):
            yield json.dumps({**json.loads(content), key: value}).encode(errors="replace")


def run(data: bytes) -> None:
    """Open a bundle with this manifest, and embed with it."""
    folder = scratch() / "tried"
    if not folder.exists():
        shutil.copytree(_bundle(), folder)
    (folder / "bundle.json").write_bytes(data)
    try:
        bundle = load_bundle(folder, threads=1)
        bundle.embed_texts(["red"])
        json.dumps([bundle.name, bundle.domain])
    except ItlError as error:
        require_line(error)
