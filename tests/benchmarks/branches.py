"""How long the branches take to train at the size of Flickr30k: python -m tests.benchmarks.branches --epochs 20

Random features of 29,000 pictures to train on and 1,000 to validate (30,000 x 2048 float32, memory-mapped, as the
cache has them), five captions each whose words are drawn as real ones are: ~13,000 stems, a Zipf law, 4 to 14 of
them a caption. Nothing can be learnt from them, and nothing is measured but time: patience never ends the run. Needs
half a gigabyte of disk for a while, and for a true figure a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from export.allocator import keep_freed_memory
from export.branches.data import TrainingData
from export.branches.recipe import Recipe
from export.branches.train import train
from export.loop import LoopProgress

PICTURES, HELD_OUT, CAPTIONS, STEMS, FEATURE_DIM = 30_000, 1_000, 5, 13_000, 2048


def make_data(folder: Path, pictures: int, seed: int) -> TrainingData:
    """Features on disk, and captions: the stem of rank r is drawn with probability ~ 1 / (r + 2.7)."""
    rng = np.random.default_rng(seed)
    path = folder / f"features-{seed}.npy"
    features = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(pictures, FEATURE_DIM))
    for start in range(0, pictures, 1000):  # like those after a ReLU and a mean: not negative, about 0.4
        block = features[start : start + 1000]
        block[:] = rng.gamma(1.0, 0.4, block.shape)
    features.flush()
    chances = 1 / (np.arange(STEMS) + 2.7)
    chances /= chances.sum()
    count = pictures * CAPTIONS
    lengths = rng.integers(4, 15, count)
    drawn = np.sort(rng.choice(STEMS, p=chances, size=(count, lengths.max())) + 1)
    drawn[:, 1:][drawn[:, 1:] == drawn[:, :-1]] = 0  # each stem once
    input_ids = np.where(np.arange(lengths.max()) < lengths[:, None], drawn, 0)
    owners = np.repeat(np.arange(pictures), CAPTIONS)
    return TrainingData(np.load(path, mmap_mode="r"), input_ids.astype(np.int64), owners, f"random {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    epochs = parser.parse_args().epochs
    keep_freed_memory()
    # Nothing can be learnt here, which is no reason to stop.
    recipe = replace(Recipe(), epochs=epochs, patience=epochs + 1, collapse_steps=10**9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, val = make_data(folder, PICTURES - HELD_OUT, 0), make_data(folder, HELD_OUT, 1)
        print(
            f"recipe {recipe.name}: {len(data):,} pictures, {len(data.owners):,} captions, {STEMS:,} stems, batches of"
            f" {recipe.batch_size}; {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}",
            flush=True,
        )
        start, cpu_start = time.perf_counter(), time.process_time()
        seen = 0

        def report(state: LoopProgress) -> None:
            nonlocal seen
            if len(state.history) > seen:  # the first step of an epoch tells of the one before
                seen = len(state.history)
                print(f"epoch {seen}: {time.perf_counter() - start:.1f} s so far", flush=True)

        train(data, val, STEMS, recipe, folder / "branches", progress=report)
        seconds = time.perf_counter() - start
    minutes = 20 * seconds / epochs / 60
    print(
        f"{epochs} epochs, validation and checkpoints: {seconds:.1f} s ({time.process_time() - cpu_start:.1f} s of CPU)"
        f"; 20 would take {minutes:.1f} min"
    )


if __name__ == "__main__":
    main()
