"""A bundle that knows the words."""

from __future__ import annotations

import numpy as np
import pytest

from itl_infer import Bundle, load_bundle
from itl_infer.text import format_spellings
from tests.runtime.text.helpers import KNOWING, RULES
from tests.tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real one that knows the words of `PAIRS`, each by a colour of its own."""
    rng = np.random.default_rng(0)
    colours = {stem: tuple(rng.uniform(0, 1, 3).tolist()) for stem in KNOWING.stems}
    folder = tmp_path_factory.mktemp("forms") / "bundle"
    folder.mkdir()
    (folder / "words.txt").write_bytes(format_spellings(KNOWING.spellings))
    captions = ("two feet", "a grey t-shirt")
    return load_bundle(make_tiny_bundle(folder, rules=RULES, colours=colours, captions=captions))
