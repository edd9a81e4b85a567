"""Fuzzing, in short: the seeds, what was found before, and the same changes of both at each run."""

from __future__ import annotations

import importlib
import random
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import TARGETS
from tests.fuzz.changes import changed

CORPUS = Path(__file__).parent / "corpus"
_SEEDS = 25  # of each target; all of them in the long runs
_CHANGED = 40


@pytest.mark.parametrize("name", TARGETS)
def test_what_comes_from_elsewhere_costs_a_line(name: str) -> None:
    if name == "keras":
        pytest.importorskip("torch", reason="the training side needs the extra: pip install -e .[export]")
        pytest.importorskip("h5py")
    if name == "requests":
        pytest.importorskip("starlette")
        pytest.importorskip("uvicorn")
    target = importlib.import_module(f"tests.fuzz.{name}")
    found = [path.read_bytes() for path in sorted((CORPUS / name).glob("*"))]
    seeds = list(target.seeds())
    inputs = [*found, *islice(seeds, 0, None, max(1, len(seeds) // _SEEDS))]
    chance = random.Random(name)
    # What goes on for ever goes on for ever in most of its changes: those of Keras files are of the seeds.
    to_change = inputs[len(found) :] if name == "keras" else list(inputs)
    inputs += [changed(chance.choice(to_change), chance) for _ in range(_CHANGED)]
    for data in inputs:
        try:
            target.run(data)
        except Exception as error:
            pytest.fail(f"{data[:500]!r}: {type(error).__name__}: {error}")
