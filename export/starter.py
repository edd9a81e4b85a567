"""The bundle that comes with the package: from labelled photographs and drawn pictures to artifacts/starter."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from export.build import BuildSettings, build
from export.card import write_card
from export.features import pixels_of
from export.labelled.captioned import captioned
from export.labelled.folders import read_labelled
from export.labelled.lexicon import read_lexicon
from export.labelled.measure import measure_labelled
from export.lengths import done_before, draw_lengths, lengths
from export.make_bundle import Gallery
from export.postcards import draw_postcards
from export.recipes import RECIPES
from export.report import Reporter
from export.trunk.inception import NAME as INCEPTION
from export.trunk.pretrain import pretrain
from export.trunk.recipe import TrunkRecipe
from export.trunk.tasks import NameWords
from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset, join_datasets, read_json_lines
from itl_infer.image import ImageRules
from itl_infer.manifest import MANIFEST, read_manifest
from itl_infer.metrics import Figures
from itl_infer.text import DEFAULT_TEXT_RULES, TextProcessor, build_vocabulary

TRAIN, VAL, TEST = 20_000, 1_000, 1_000

SETTINGS = BuildSettings(
    name="starter",
    domain="photographs of 346 kinds of things, sports, actions and places; and drawn scenes made of emoji",
    side=128,  # at which the trunk is trained last
    # Few: in more, the branches come to rely on what the trunk knows by heart of its own training photographs. Of the
    # val photographs, top-1 was 35.5 % after 1,600 steps, 33.4 % after 8,200; these are 3,800.
    recipe=replace(RECIPES["best"], epochs=7),
)


def postcards(
    work: Path, reporter: Reporter, *, font: str | os.PathLike[str] | None = None
) -> CaptionDataset:
    """The starter's drawn pictures, drawn into `work/postcards` unless they are there."""
    folder = work / "postcards"
    captions = folder / "captions.jsonl"
    if not captions.exists():
        reporter.say(f"Drawing {TRAIN + VAL + TEST} postcards")
        draw_postcards(folder, train=TRAIN, val=VAL, test=TEST, font=font, progress=reporter.progress)
    return read_json_lines(captions, name="postcards")


def make_starter(
    labelled: Path,
    work: Path,
    out: Path,
    reporter: Reporter,
    *,
    trunk_recipe: TrunkRecipe,
    trunk: str = INCEPTION,
    weights: str = "none",
    gallery: int,
    font: str | os.PathLike[str] | None = None,
) -> Figures:
    """Draw, train trunk and branches, measure, export, quantise, add gallery and index.

    `labelled` is the folder of the photographs; `trunk` and `weights` are where the trunk starts, as `open_trunk` takes
    them, and `trunk_recipe` is how it is trained; `gallery` is how many drawn pictures come along. Returns the recalls
    on the drawn test pictures; the figures on the photographs are in the manifest, as `measured`.
    """
    drawn = postcards(work, reporter, font=font)
    photographs, lexicon = read_labelled(labelled), read_lexicon()
    also = [_words_of(drawn, work / "cache", reporter)]
    _, history = pretrain(
        photographs, trunk_recipe, work / "pretrain", reporter, trunk=trunk, weights=weights, also=also
    )
    settings = replace(
        SETTINGS,
        name=out.resolve().name,
        trunk=trunk,
        trunk_weights=str(work / "pretrain" / "trunk.pth"),
        # Featuring what the README asks for.
        gallery=Gallery(gallery, featuring=("surfer", "surfers")) if gallery else None,
        trunk_training={
            **(started := where_from(weights)),
            "shorter": shorter_runs(out, started, epochs=len(history)),
            "recipe": asdict(trunk_recipe),
            "epochs": history,
        },
    )

    def measure(bundle: Bundle) -> dict[str, Any]:
        return measure_labelled(bundle, photographs, lexicon, reporter)

    def card(manifest: dict[str, Any]) -> str:
        return write_card(manifest, photographs, lexicon)

    taken = captioned(photographs, lexicon, name="photographs")
    dataset = join_datasets("photographs and postcards", taken, drawn)
    figures = build(dataset, settings, work, out, reporter, also_measure=measure, card=card)
    draw_lengths(lengths(read_manifest(out).content), work / "lengths.png")
    reporter.say(f"What training brought, by the hour: {work}/lengths.png")
    return figures


def where_from(weights: str) -> dict[str, Any]:
    """What a bundle says of the weights that training started from: no path of the machine it was made on.

    Of a bundle that was trained here also its `lengths`, as `before`.
    """
    if not (Path(weights) / MANIFEST).is_file():
        return {"from": weights if weights in ("none", "imagenet", "keras") else "a file", "before": []}
    manifest = read_manifest(Path(weights)).content
    return {"from": f"the trunk of the bundle {manifest['name']}", "before": lengths(manifest)}


def shorter_runs(out: Path, started: dict[str, Any], *, epochs: int) -> list[dict[str, Any]]:
    """The `lengths` of the bundle `out` that is about to be replaced, of runs `started` alike and of fewer epochs."""
    if not (out / MANIFEST).is_file():
        return []
    manifest = read_manifest(out).content
    training = manifest["training"].get("trunk_training", {})
    if any(training.get(key) != value for key, value in started.items()):
        return []
    before = started["before"]
    in_all = done_before(before)["epochs"] + epochs
    return [row for row in lengths(manifest)[len(before) :] if row["epochs"] < in_all]


def _words_of(drawn: CaptionDataset, cache: Path, reporter: Reporter) -> NameWords:
    """The trunk's second task: the words of the drawn pictures."""
    stems = build_vocabulary(drawn.split("train").captions, DEFAULT_TEXT_RULES)
    parts: list[Any] = []
    for name in ("train", "val"):
        split = drawn.split(name)
        reporter.say(f"Decoding {len(split):,} {name} postcards")
        pixels = pixels_of(split, ImageRules(side=SETTINGS.side), cache, reporter.progress)
        parts += [split.without(pixels.failed), pixels.array]
    return NameWords(*parts, TextProcessor(DEFAULT_TEXT_RULES, stems))
