"""From captioned pictures, a trunk that votes and teachers to two encoders; each step resumes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.branches.curve import branch_note
from export.branches.voting.data import VotingData
from export.branches.voting.encoders import (
    CaptionBranch,
    Names,
    PictureBranch,
    VotingImageEncoder,
    VotingModel,
    centred,
)
from export.branches.voting.recipe import VotingRecipe
from export.branches.voting.train import Voters, train_voting
from export.data.words import LearnedWords
from export.errors import ExportError
from export.features.scores import NamedScores
from export.features.sentences import meanings_of
from export.features.things import ThingsHead, things_seen, train_things_head
from export.features.views import views_of
from export.loop import History
from export.report import Reporter
from export.trunk.trunk import Trunk
from itl_infer.captions import CaptionDataset, describe_faults, join_datasets
from itl_infer.text import TextProcessor, TextRules

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class VotingRun:
    """What came of a run."""

    image_encoder: VotingImageEncoder
    text_encoder: CaptionBranch
    processor: TextProcessor
    history: History
    pictures: int  # trained on
    captions: int
    unreadable: dict[str, str]  # path: reason, of the pictures that were left out


def run_voting(
    parts: Sequence[CaptionDataset],
    val: CaptionDataset,
    trunk: Trunk,
    scores: NamedScores | None,
    rules: TextRules,
    recipe: VotingRecipe,
    work: Path,
    reporter: Reporter,
    *,
    min_count: int = 2,
) -> VotingRun:
    """Train on `parts`, pictures with captions and without, and choose on the captions of `val`.

    `scores` are what a teacher says of things in the pictures, which a head on the trunk's map learns to see. Stems
    that occur less than `min_count` times in the captions are left out, but for those of names. Interrupted at any
    time, the same call goes on where it stopped. Raises ExportError for a trunk without classifier and names.
    """
    if trunk.classifier is None or not trunk.class_names:
        raise ExportError(
            f"the recipe {recipe.name} needs the votes of a classifier with names, and {trunk.name} (weights:"
            f" {trunk.source}) has none: take --trunk-weights imagenet, or another --recipe"
        )
    cache = work / "cache"
    train = join_datasets("training", *(_of_source(part, number) for number, part in enumerate(parts)))
    reporter.say(f"Looking at {len(train):,} training and {len(val):,} val pictures at {trunk.side} pixels")
    views = [
        views_of(train, trunk, cache, reporter.progress, mirrored=mirrored) for mirrored in (False, True)
    ]
    val_view = views_of(val, trunk, cache, reporter.progress)
    train, val = train.without(views[0].failed), val.without(val_view.failed)
    records = [rows.array for rows in views]

    class_names = list(trunk.class_names)
    thing_names = [(name,) for name in scores.names] if scores else []
    processor = _processor(train.captions, [*class_names, *thing_names], rules, min_count)
    without_words = train.captions_without_words(lambda caption: bool(processor.ids_of(caption)))
    lines = [train.describe(), f"  {len(processor.stems):,} stems in captions and names"]
    reporter.say("\n".join([*lines, *describe_faults(without_words)]))

    head, taught = None, np.zeros((len(train), 0), np.float32)
    if scores is not None:
        taught, known = scores.rows(train.paths)
        head = _things_head(records, taught, known, recipe, work, reporter)
    reporter.say("Reading what the captions mean")
    meanings = meanings_of(train.captions, cache, reporter.progress)
    data = VotingData(
        tuple(np.ascontiguousarray(view["features"]) for view in records),
        tuple(_seen(head, view) for view in records),
        taught,
        np.array([example.extra["source"] for example in train], dtype=np.int64),
        processor.input_ids(train.captions),
        np.array(train.caption_owners, dtype=np.int64),
        meanings,
    )
    val_data = VotingData(
        (np.ascontiguousarray(val_view.array["features"]),),
        (_seen(head, val_view.array),),
        np.zeros((len(val), taught.shape[1]), np.float32),
        np.zeros(len(val), np.int64),
        processor.input_ids(val.captions),
        np.array(val.caption_owners, dtype=np.int64),
    )
    torch.manual_seed(recipe.seed)  # a run that goes on must start from the same place
    model = VotingModel(
        CaptionBranch(len(processor.stems), recipe.stem_dim, recipe.hidden, recipe.dropout),
        PictureBranch(data.features[0][data.sources == 0], recipe.hidden, recipe.dropout, recipe.gains),
    )
    model.captions.start_from(meanings_of(list(processor.words), cache, reporter.progress))
    voters = Voters(
        trunk.classifier, _names(processor, class_names), _names(processor, thing_names) if scores else None
    )
    reporter.say("Training the branches")
    model, history = train_voting(
        model,
        data,
        val_data,
        voters,
        recipe,
        work / "branches",
        lambda state: reporter.progress(state.step, state.steps, branch_note(state)),
    )
    best = max(history, key=lambda row: row["val_rsum"])
    reporter.say(f"Best on val at epoch {best['epoch']}: rsum {best['val_rsum']:.1f}")
    with torch.no_grad():
        texts = [
            None if names is None else centred(names.texts(model.captions))
            for names in (voters.classes, voters.things)
        ]
    assert texts[0] is not None
    encoder = VotingImageEncoder(trunk, model.pictures, texts[0], recipe.vote_temperature, head, texts[1])
    return VotingRun(
        encoder.eval(),
        model.captions,
        processor,
        history,
        len(train),
        len(train.captions),
        views[0].failed | val_view.failed,
    )


def _of_source(part: CaptionDataset, number: int) -> CaptionDataset:
    examples = tuple(replace(example, extra={**example.extra, "source": number}) for example in part)
    return replace(part, examples=examples)


def _processor(
    captions: Sequence[str], names: Sequence[Sequence[str]], rules: TextRules, min_count: int
) -> TextProcessor:
    """For the words of captions that occur often enough, and for all of names."""
    texts = Counter(captions)
    for synonyms in names:
        texts.update(dict.fromkeys(synonyms, min_count))
    return LearnedWords(texts, rules, min_count=min_count)


def _things_head(
    records: list[Array],
    taught: Array,
    known: Array,
    recipe: VotingRecipe,
    work: Path,
    reporter: Reporter,
) -> ThingsHead:
    rows = np.flatnonzero(known)
    reporter.say(f"Learning to see {taught.shape[1]} things in {len(rows):,} pictures")
    return train_things_head(
        records,
        rows,
        taught[rows],
        recipe.things,
        work / "things",
        lambda state: reporter.progress(state.step, state.steps, f"loss {state.loss:.3f}"),
    )


def _seen(head: ThingsHead | None, view: Array) -> Array:
    return np.zeros((len(view), 0), np.float32) if head is None else things_seen(head, view)


def _names(processor: TextProcessor, names: Sequence[Sequence[str]]) -> Names:
    owned = [(owner, name) for owner, synonyms in enumerate(names) for name in dict.fromkeys(synonyms)]
    owners = np.array([owner for owner, _ in owned], dtype=np.int64)
    return Names(processor.input_ids([name for _, name in owned]), owners, len(names))


def describe_run(run: VotingRun, recipe: VotingRecipe) -> dict[str, Any]:
    """What the manifest of a bundle says of its training."""
    best = max(run.history, key=lambda row: row["val_rsum"])
    return {
        "recipe": asdict(recipe),
        "epochs_run": len(run.history),
        "best_epoch": best["epoch"],
        "seed": recipe.seed,
        "pictures": run.pictures,
        "captions": run.captions,
    }
