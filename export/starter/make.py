"""Makes the bundle that comes with the package: from photographs and drawn pictures to artifacts/starter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.allocator import keep_freed_memory
from export.branches.voting.recipe import VotingRecipe
from export.bundle.gallery import Gallery
from export.bundle.make import Trained, make_bundle
from export.data.forms import text_rules
from export.features.scores import NamedScores, detector_scores
from export.report import Reporter
from export.runs.voting import run_voting
from export.starter.card import write_card
from export.starter.drawn import postcards
from export.starter.names import JUDGE, write_names
from export.starter.photographs import read_photographs
from export.trunk.names import LITE0
from export.trunk.sources import open_trunk
from itl_infer.bundle import Bundle
from itl_infer.captions import CaptionDataset
from itl_infer.evaluation import evaluate_labelled
from itl_infer.evaluation.metrics import Figures

DOMAIN = "photographs of everyday things, animals, people and what they do; and drawn scenes made of emoji"
DRAWN = (3_000, 100, 200)  # postcards to train on, to choose by and to show
OBJECTS = "objects.json"  # in the folder of photographs to measure on: name -> files


@dataclass(frozen=True)
class StarterSettings:
    """How the bundle is made, but for where its pictures are."""

    trunk: str = LITE0
    trunk_weights: str = "imagenet"
    side: int = 288  # more than the trunk's own 224: small things are seen, and it is still fast
    recipe: VotingRecipe = field(default_factory=VotingRecipe)
    gallery: int = 140
    without_words: tuple[
        str, ...
    ] = ()  # left out of all captions and names, to measure what they are read as


def make_starter(
    photographs: Path,
    detector: Path,
    measured_on: Path | None,
    settings: StarterSettings,
    work: Path,
    out: Path,
    reporter: Reporter,
    *,
    font: str | os.PathLike[str] | None = None,
) -> Figures:
    """Look, learn, measure, export, quantise, add gallery and index. Returns the recalls on Flickr8k's test part.

    `photographs` is as for `read_photographs`, `detector` the ONNX file of a YOLOX, the teacher of small things.
    `measured_on` is a folder of photographs at their own size with objects.json, which are kept out of training.
    Interrupted at any time, the same call goes on where it stopped.
    """
    keep_freed_memory()
    trunk = open_trunk(settings.trunk, settings.trunk_weights, reporter.progress, side=settings.side)
    taken = read_photographs(photographs, work, measured_on, reporter.say)
    drawn = postcards(work, reporter, counts=DRAWN, font=font)
    parts = [*taken.train, drawn.split("train")]
    run = run_voting(
        parts,
        taken.flickr.split("val"),
        trunk,
        _scores(taken.train, detector, work, reporter),
        text_rules(),
        settings.recipe,
        work,
        reporter,
        without_words=settings.without_words,
    )
    reporter.say(f"Naming {len(taken.set_aside):,} photographs that were set aside, by {JUDGE}")
    names = write_names(taken.set_aside, work, reporter)

    def measure(bundle: Bundle) -> dict[str, Any]:
        figures = {"names": evaluate_labelled(names, bundle, images=taken.set_aside[0].parent).summary()}
        if measured_on is not None:
            figures["objects"] = evaluate_labelled(measured_on / OBJECTS, bundle).summary()
        return figures

    data = {
        "pictures": {part.name: len(part) for part in parts},
        "set_aside": [path.name for path in taken.set_aside],
        "copies_left_out": taken.copies,
        **({"words_left_out": settings.without_words} if settings.without_words else {}),
        **taken.flickr.summary(),
    }
    return make_bundle(
        out,
        Trained(run.image_encoder, run.text_encoder, trunk, run.processor),
        taken.flickr,
        name=out.resolve().name,
        domain=DOMAIN,
        training=run.record(data, settings.recipe).describe(),
        text_precision="int8",
        shown=drawn.split("test"),
        gallery=Gallery(settings.gallery, featuring=("surfer", "surfers")) if settings.gallery else None,
        also_measure=measure,
        card=write_card,
        carry=True,
        reporter=reporter,
    )


def _scores(
    photographs: Sequence[CaptionDataset], detector: Path, work: Path, reporter: Reporter
) -> NamedScores:
    """What the teacher of things says of all photographs."""
    reporter.say(f"Asking {detector.name} what is in the photographs")
    found = [detector_scores(detector, part, work / "cache", reporter.progress) for part in photographs]
    return NamedScores(found[0].names, {path: row for part in found for path, row in part.of.items()})
