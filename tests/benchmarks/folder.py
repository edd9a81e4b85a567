"""`embed-images` over a folder, beside what decoding and the bare graph leave possible."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from itl_infer.bundle import load_bundle
from itl_infer.image import load_pixels
from tests.benchmarks.ground import CORES, Ground
from tests.benchmarks.report import Table, spread
from tests.benchmarks.timing import run

SIDE = 256
PHOTOS, LARGE, LARGE_SCENES = 1024, 256, 16
_ROUNDS = 3
_HUGE = (10_000, 10_000)


def tables(ground: Ground) -> Iterator[Table]:
    bundle = load_bundle(ground.bundle(SIDE), threads=1)
    large = ground.large(LARGE_SCENES)
    photos = ground.many(PHOTOS, ground.photos, "photos")
    folders = {
        f"{PHOTOS} photographs": (ground.photos, photos),
        f"{LARGE} of 12 megapixels": (large, ground.many(LARGE, large, "large")),
    }
    table = Table(
        f"`embed-images` at {SIDE} px, int8, against {CORES} cores / (t_model + t_pixels)",
        (
            "folder",
            "t_model, ms",
            "t_pixels, ms",
            "possible, images/s",
            "images/s, as printed",
            "share",
            "CPU, ms",
            "peak, MB",
        ),
    )
    pixels = np.stack([load_pixels(path, bundle.image_rules) for path in ground.photos[:64]])
    bundle.embed_pixels(pixels)
    for name, (pictures, folder) in folders.items():
        pixel_times, model_times, rates, costs, peaks = [], [], [], [], []
        for turn in range(_ROUNDS):
            for times, work, count in (
                (
                    pixel_times,
                    lambda p=pictures: [load_pixels(q, bundle.image_rules) for q in p],
                    len(pictures),
                ),
                (model_times, lambda: bundle.embed_pixels(pixels), len(pixels)),
            ):
                times.append(_cpu_seconds(work) / count)
            index = ground.folder / f"{folder.name}-{turn}.itl"
            done = run(*_embed(folder, index, bundle.path))
            report = json.loads(done.output)
            assert not report["failed"], report["failed"]
            rates.append(report["images_per_second"])
            costs.append(1000 * done.cpu_seconds / report["embedded"])
            peaks.append(done.peak_mb)
        possible = CORES / (np.array(model_times) + pixel_times)
        table.add(
            name,
            spread(1000 * np.array(model_times), 1),
            spread(1000 * np.array(pixel_times), 1),
            spread(possible, 1),
            spread(rates, 1),
            share := spread(rates / np.median(possible)),
            spread(costs, 1),
            float(max(peaks)),
        )
        table.at_least(f"{name}, share of what is possible", 0.9, share)
        table.at_most(f"{name}, peak MB", 1000, max(peaks))
    yield table

    table = Table(
        "JPEG decoded at a fraction of its size (draft), 12 megapixels",
        ("decoding", "ms a picture", "lowest cosine to decoding in full", "mean"),
    )
    full, fast = [], []
    seconds = [
        _cpu_seconds(lambda: full.extend(_decoded_in_full(path, bundle.image_rules) for path in large)),
        _cpu_seconds(lambda: fast.extend(load_pixels(path, bundle.image_rules) for path in large)),
    ]
    exact = bundle.embed_pixels(np.stack(full))
    for name, taken, found in zip(("in full", "draft"), seconds, (full, fast), strict=True):
        cosines = (bundle.embed_pixels(np.stack(found)) * exact).sum(axis=1)
        table.add(name, 1000 * taken / len(large), f"{cosines.min():.5f}", f"{cosines.mean():.5f}")
    table.at_least("draft, lowest cosine to decoding in full", 0.999, float(cosines.min()))
    yield table

    mixed = ground.many(64, ground.photos, "mixed")
    Image.effect_noise((64, 64), 50).resize(_HUGE).convert("RGB").save(mixed / "huge.png", compress_level=1)
    done = run(*_embed(mixed, ground.folder / "mixed.itl", bundle.path))
    report = json.loads(done.output)
    table = Table("A PNG of 100 megapixels among 64 photographs", ("embedded", "failed", "peak, MB"))
    table.add(str(report["embedded"]), str(len(report["failed"])), float(done.peak_mb))
    table.at_most("100 megapixels, peak MB", 1000, done.peak_mb)
    yield table


def _decoded_in_full(path: Path, rules: object) -> np.ndarray:
    with Image.open(path) as image:
        return load_pixels(image, rules)


def _embed(folder: Path, index: Path, bundle: Path) -> list[str]:
    options = ["-d", str(index), "-m", str(bundle), "--format", "json"]
    return ["-m", "itl_infer", "embed-images", str(folder), *options]


def _cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
